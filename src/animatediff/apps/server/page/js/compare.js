/** Compare two animations side by side, frame by frame in step. */

import { exactRequest } from "./actions.js";
import { button, fill, h, uid } from "./dom.js";
import { valueText } from "./gallery.js";
import { jobs, playable, promptOf } from "./jobs.js";
import { allOptions, titleOf } from "./options.js";
import { clockOf, player } from "./player.js";
import { remember, remembered } from "./store.js";

/** Make the page. */
export function comparePage() {
  const stageArea = h("div", { class: "pair" });
  const differences = h("div", { class: "differences" });
  const scrub = h("input", { type: "range", min: 0, max: 15, step: 1, value: 0, "aria-label": "Frame of both" });
  const label = h("output", { class: "frame-label" });
  const toggle = button("Play", { glyph: "play", onclick: () => (timer ? pause() : play()) });
  let timer = 0;
  let pair = [];
  let last = "";

  const chosen = () => remembered("compare", []);
  const frames = () => Math.max(1, ...pair.map((shown) => shown.clock.frames));
  const seek = (frame) => {
    scrub.value = String(frame);
    label.textContent = `${frame + 1} / ${frames()}`;
    // A shorter one starts again while the longer one goes on.
    for (const shown of pair) shown.seek(frame % shown.clock.frames);
  };
  const face = () => fill(toggle, ...button(timer ? "Pause" : "Play", { glyph: timer ? "pause" : "play" }).childNodes);
  const pause = () => {
    clearInterval(timer);
    timer = 0;
    face();
  };
  const play = () => {
    if (pair.length < 2) return;
    timer = setInterval(() => {
      if (!stageArea.isConnected) return pause();
      return seek((Number(scrub.value) + 1) % frames());
    }, 1000 / pair[0].clock.fps);
    face();
  };
  const step = (by) => () => {
    pause();
    seek((Number(scrub.value) + by + frames()) % frames());
  };
  scrub.addEventListener("input", () => {
    pause();
    seek(Number(scrub.value));
  });

  const pickers = [0, 1].map((side) => {
    const field = h("select", { id: uid("side") });
    field.addEventListener("change", () => {
      const now = chosen();
      now[side] = field.value;
      remember("compare", now);
      draw();
    });
    return { field, element: h("div", { class: "control" }, h("label", { for: field.id }, side ? "Right" : "Left"), field) };
  });

  const draw = () => {
    const list = jobs.completed();
    if (list.length < 2) {
      fill(stageArea, h("p", { class: "empty" }, "Two finished animations are needed to compare."));
      fill(differences);
      return;
    }
    const ids = [0, 1].map((side) => (jobs.get(chosen()[side]) ? chosen()[side] : list[side].id));
    pickers.forEach(({ field }, side) => {
      fill(field, list.map((job) => h("option", { value: job.id }, `${promptOf(job).slice(0, 60)} · seed ${exactRequest(job).seed ?? 0}`)));
      field.value = ids[side];
    });
    if (last === ids.join()) return;
    last = ids.join();
    pause();
    const both = ids.map((id) => jobs.get(id));
    pair = both.map((job) => player(job, playable(job), { controls: false }));
    pair.forEach((shown, side) => {
      shown.clock = clockOf(both[side]);
      shown.video?.addEventListener("loadedmetadata", () => {
        shown.clock.frames = Math.max(1, Math.round(shown.video.duration * shown.clock.fps));
        scrub.max = String(frames() - 1);
        seek(0);
      });
    });
    fill(stageArea, pair.map((shown, side) => h("figure", {}, shown.element, h("figcaption", {}, promptOf(both[side])))));
    const loose = pair.some((shown) => !shown.video);
    fill(
      differences,
      loose && h("p", { class: "help" }, "A picture that moves by itself (GIF, WebP, PNG) cannot be stepped through; order MP4 or WebM to compare frames."),
      table(both.map(exactRequest)),
    );
    scrub.max = String(frames() - 1);
    seek(0);
  };

  jobs.addEventListener("list", draw);
  const element = h(
    "div",
    { class: "compare page" },
    h("div", { class: "page-head" }, h("h1", {}, "Compare"), h("p", {}, "Both are shown at the same frame. The arrow keys step through them.")),
    h(
      "div",
      { class: "pickers" },
      pickers[0].element,
      button("Swap sides", {
        glyph: "swap",
        iconOnly: true,
        quiet: true,
        onclick: () => {
          remember("compare", [pickers[1].field.value, pickers[0].field.value]);
          draw();
        },
      }),
      pickers[1].element,
    ),
    stageArea,
    h("div", { class: "transport" }, button("Previous frame", { glyph: "previous", iconOnly: true, quiet: true, onclick: step(-1) }), toggle, button("Next frame", { glyph: "next", iconOnly: true, quiet: true, onclick: step(1) }), scrub, label),
    differences,
  );
  element.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    step(way)();
  });
  draw();
  return element;
}

/** The settings in which two requests differ. */
function table([left, right]) {
  const rows = allOptions().filter((option) => valueText(left[option.field]) !== valueText(right[option.field]));
  if (rows.length === 0) return h("p", { class: "empty" }, "The settings are the same.");
  return h(
    "table",
    {},
    h("caption", {}, "Settings that differ"),
    h("thead", {}, h("tr", {}, ["Setting", "Left", "Right"].map((name) => h("th", { scope: "col" }, name)))),
    h(
      "tbody",
      {},
      rows.map((option) => h("tr", {}, h("th", { scope: "row" }, titleOf(option)), h("td", {}, valueText(left[option.field]) || "–"), h("td", {}, valueText(right[option.field]) || "–"))),
    ),
  );
}
