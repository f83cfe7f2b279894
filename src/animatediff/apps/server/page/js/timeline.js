/** The timeline: prompts, control frames, image prompts and scales, placed on the frames. */

import { api, uploadUrl } from "./api.js";
import { announce, append, button, fill, h, svg, uid } from "./dom.js";
import { optionOf } from "./options.js";
import { rateOf } from "./player.js";
import { draft } from "./store.js";
import { tracksOf } from "./timeline-tracks.js";

/** Frames of an animation whose request leaves the number to the motion module. */
const USUAL_FRAMES = 16;

/** How many numbers the ruler shows at most. */
const MOST_NUMBERS = 16;

/** Frames and rate of the draft. */
export function draftClock() {
  const option = optionOf("num_frames");
  const unset = Number.parseInt(option?.unset ?? "", 10);
  const frames = Number(draft.get("num_frames")) || unset || USUAL_FRAMES;
  return { frames: Math.max(1, Math.min(frames, option?.most ?? 1024)), fps: rateOf(draft.get("fps") ?? 8) };
}

/** Make the timeline of the draft. */
export function timeline() {
  const lanes = h("div", { class: "lanes" });
  const editor = h("div", { class: "item-editor", hidden: true });
  const playhead = h("input", { type: "range", class: "playhead", min: 0, max: 15, step: 1, value: 0, id: uid("playhead"), "aria-label": "Frame at which items are added" });
  const where = h("output", { class: "frame-label", for: playhead.id });
  const ruler = h("div", { class: "ruler" });
  let chosen = null;
  let own = false;

  const say = () => {
    const { fps } = draftClock();
    const frame = Number(playhead.value);
    where.textContent = `frame ${frame} · ${(frame / fps).toFixed(2)} s`;
    const { frames } = draftClock();
    element.style.setProperty("--at", String((frame + 0.5) / frames));
  };

  const write = (track, items) => {
    own = true;
    draft.set(track.write(items, draft.fields), element);
    own = false;
    draw();
  };

  const choose = (trackId, frame, focus) => {
    chosen = trackId === null ? null : { track: trackId, frame };
    draw();
    if (focus === "item") element.querySelector(".item[aria-pressed=true]")?.focus();
    if (focus === "editor") editor.querySelector(".of-item :is(textarea, input)")?.focus();
  };

  const add = async (track) => {
    const items = track.read(draft.fields);
    const frame = free(items, Number(playhead.value), draftClock().frames);
    if (frame === null) return announce("Every frame of this track has an item.");
    if (track.kind === "picture") {
      const picture = await pickPicture();
      if (!picture) return undefined;
      write(track, [...items, { frame, picture }].sort(byFrame));
    } else if (track.kind === "prompt") {
      write(track, [...items, { frame, text: "" }].sort(byFrame));
    } else {
      write(track, [...items, { frame, value: valueAt(items, frame) }].sort(byFrame));
    }
    return choose(track.id, frame, track.kind === "picture" ? "item" : "editor");
  };

  const change = (track, frame, changes) => {
    const items = track.read(draft.fields);
    const moved = "frame" in changes && changes.frame !== frame;
    if (moved && items.some((item) => item.frame === changes.frame)) return false;
    const next = items.map((item) => {
      if (item.frame !== frame) return item;
      return { ...item, ...changes, key: moved ? undefined : item.key };
    });
    if (moved) chosen = { track: track.id, frame: changes.frame };
    write(track, next.sort(byFrame));
    return true;
  };

  const remove = (track, frame) => {
    write(track, track.read(draft.fields).filter((item) => item.frame !== frame));
    choose(null);
    element.querySelector(`[data-track="${track.id}"] .add`)?.focus();
  };

  const keys = (event, track, item) => {
    const { frames } = draftClock();
    const way = { ArrowLeft: -1, ArrowRight: 1, Home: -frames, End: frames }[event.key];
    if (way) {
      event.preventDefault();
      const to = nextFree(track.read(draft.fields), item.frame, way * (event.shiftKey ? 4 : 1), frames);
      if (to !== null && change(track, item.frame, { frame: to })) element.querySelector(".item[aria-pressed=true]")?.focus();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      remove(track, item.frame);
    }
  };

  const drag = (event, track, item, lane) => {
    if (event.button !== 0) return;
    const { frames } = draftClock();
    const box = lane.getBoundingClientRect();
    let from = item.frame;
    let dragging = false;
    const move = (moved) => {
      if (!dragging && Math.abs(moved.clientX - event.clientX) < 4) return;
      dragging = true;
      const frame = Math.floor(((moved.clientX - box.left) / box.width) * frames);
      const to = Math.max(0, Math.min(frames - 1, frame));
      if (to !== from && change(track, from, { frame: to })) from = to;
    };
    const stop = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", stop);
      removeEventListener("pointercancel", stop);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop);
    addEventListener("pointercancel", stop);
  };

  const itemOf = (track, item, index, items, lane) => {
    const { frames } = draftClock();
    const end = track.kind === "prompt" ? (items[index + 1]?.frame ?? frames) : item.frame + 1;
    const pressed = chosen?.track === track.id && chosen.frame === item.frame;
    const name = { prompt: item.text || "empty prompt", picture: "picture", value: String(item.value) }[track.kind];
    const shown = h(
      "button",
      {
        type: "button",
        class: `item ${track.kind}`,
        "aria-pressed": String(pressed),
        "aria-label": `${track.title}: ${name} at frame ${item.frame}`,
        title: `${name} · frame ${item.frame}`,
        onclick: () => choose(track.id, item.frame, "item"),
        ondblclick: () => choose(track.id, item.frame, "editor"),
        onkeydown: (event) => keys(event, track, item),
        onpointerdown: (event) => drag(event, track, item, lane),
      },
      track.kind === "picture"
        ? h("img", { src: uploadUrl(item.picture), alt: "", draggable: "false" })
        : h("span", {}, track.kind === "prompt" ? item.text || "…" : item.value),
    );
    shown.style.setProperty("--from", String(item.frame / frames));
    shown.style.setProperty("--span", String((Math.max(end, item.frame + 1) - item.frame) / frames));
    if (track.kind === "value") shown.style.setProperty("--height", String(Math.max(0, Math.min(1, item.value / scaleTop(items)))));
    return shown;
  };

  const laneOf = (track) => {
    const items = track.read(draft.fields);
    const lane = h("div", { class: "lane" });
    const { frames } = draftClock();
    if (track.kind === "value" && items.length > 0) lane.append(curve(items, frames, track.steps));
    append(lane, items.filter((item) => item.frame < frames).map((item, index, all) => itemOf(track, item, index, all, lane)));
    lane.addEventListener("dblclick", (event) => {
      if (event.target !== lane) return;
      const box = lane.getBoundingClientRect();
      playhead.value = String(Math.floor(((event.clientX - box.left) / box.width) * frames));
      say();
      add(track);
    });
    if (items.length === 0) lane.append(h("p", { class: "empty-lane" }, hints[track.id] ?? hints[track.kind]));
    const adding = button(`Add to ${track.title} at the playhead`, { glyph: "plus", iconOnly: true, quiet: true, class: "add", onclick: () => add(track) });
    return h(
      "div",
      { class: `track of-${track.colour}`, role: "group", "aria-label": track.title, dataset: { track: track.id } },
      h("div", { class: "track-head" }, h("span", {}, track.title), adding),
      lane,
    );
  };

  const draw = () => {
    const clock = draftClock();
    playhead.max = String(clock.frames - 1);
    element.style.setProperty("--frames", String(clock.frames));
    fill(ruler, numbers(clock.frames));
    const focused = document.activeElement?.closest?.(".item") && lanes.contains(document.activeElement);
    const tracks = tracksOf(draft.fields, clock);
    fill(lanes, tracks.map(laneOf));
    if (focused) element.querySelector(".item[aria-pressed=true]")?.focus();
    const track = tracks.find(({ id }) => id === chosen?.track);
    const item = track?.read(draft.fields).find(({ frame }) => frame === chosen.frame);
    if (!editor.contains(document.activeElement) || editor.dataset.of !== `${track?.id}@${item?.frame}`) {
      edit(track, item);
    }
    say();
  };

  const edit = (track, item) => {
    editor.hidden = !item;
    editor.dataset.of = `${track?.id}@${item?.frame}`;
    if (!item) return fill(editor);
    const { frames } = draftClock();
    const now = () => track.read(draft.fields).find(({ frame }) => frame === chosen?.frame) ?? item;
    const at = h("input", { type: "number", min: 0, max: frames - 1, step: 1, value: item.frame, id: uid("frame"), class: "short" });
    at.addEventListener("change", () => {
      const frame = Math.max(0, Math.min(frames - 1, Math.round(Number(at.value))));
      if (frame !== now().frame && !change(track, now().frame, { frame })) announce("That frame already has an item.");
    });
    return fill(
      editor,
      h("div", { class: "control" }, h("label", { for: at.id }, "Frame"), at),
      editorOf(track, item, (changes) => change(track, now().frame, changes)),
      h("div", { class: "row end" }, button("Remove", { glyph: "trash", quiet: true, onclick: () => remove(track, now().frame) })),
    );
  };

  playhead.addEventListener("input", say);
  draft.addEventListener("change", () => own || draw());

  const element = h(
    "section",
    { class: "timeline panel", "aria-labelledby": "timeline-title" },
    h("div", { class: "panel-head" }, h("h2", { id: "timeline-title" }, "Timeline"), where),
    h("div", { class: "scroller", tabindex: 0, role: "group", "aria-label": "Tracks" }, h("div", { class: "tracks" }, h("div", { class: "track ruler-row" }, h("div", { class: "track-head" }), h("div", { class: "lane" }, ruler, playhead)), lanes)),
    editor,
  );
  draw();
  return element;
}

const hints = {
  prompt: "What to draw from a frame on. Add one, or double-click.",
  negative_prompts: "What not to draw from a frame on.",
  picture: "Pictures for single frames.",
  sparse: "Pictures that single frames must match (SparseCtrl).",
  ip_images: "Pictures that frames should resemble (IP-Adapter).",
  value: "The same in every frame.",
};


function editorOf(track, item, change) {
  const id = uid("item");
  if (track.kind === "prompt") {
    const field = h("textarea", { id, rows: 2, value: item.text });
    field.value = item.text;
    field.addEventListener("input", () => change({ text: field.value }));
    return h("div", { class: "control wide of-item" }, h("label", { for: id }, "Prompt from this frame on"), field);
  }
  if (track.kind === "value") {
    const field = h("input", { id, type: "number", step: 0.05, value: item.value, class: "short" });
    field.addEventListener("input", () => field.value !== "" && change({ value: Number(field.value) }));
    return h("div", { class: "control of-item" }, h("label", { for: id }, "Value"), field);
  }
  const swap = button("Replace picture", {
    glyph: "picture",
    id,
    onclick: async () => {
      const picture = await pickPicture();
      if (picture) change({ picture });
    },
  });
  return h("div", { class: "control wide" }, h("span", { class: "label" }, "Picture"), h("div", { class: "row" }, h("img", { class: "thumb", src: uploadUrl(item.picture), alt: "" }), swap));
}

/** Ask for a picture and upload it; null if none was chosen or it was refused. */
function pickPicture() {
  const field = h("input", { type: "file", accept: "image/*" });
  return new Promise((done) => {
    field.addEventListener("cancel", () => done(null));
    field.addEventListener("change", async () => {
      try {
        done((await api.upload(field.files[0])).hash);
      } catch (error) {
        announce(error.message, { wrong: true });
        done(null);
      }
    });
    field.click();
  });
}

/** The line of a scale between its keyframes. */
function curve(items, frames, steps) {
  const top = scaleTop(items);
  const x = (frame) => ((frame + 0.5) / frames) * 100;
  const y = (value) => 36 - Math.max(0, Math.min(1, value / top)) * 32;
  const first = items[0];
  const last = items.at(-1);
  const line = steps
    ? items.map((item) => `M${x(item.frame)} 38V${y(item.value)}`).join("")
    : `M0 ${y(first.value)}${items.map((item) => `L${x(item.frame)} ${y(item.value)}`).join("")}L100 ${y(last.value)}`;
  return svg(
    "svg",
    { class: "curve", viewBox: "0 0 100 40", preserveAspectRatio: "none", "aria-hidden": "true" },
    steps ? null : svg("path", { class: "area", d: `${line}V40H0Z` }),
    svg("path", { class: "line", d: line, "vector-effect": "non-scaling-stroke" }),
  );
}

function scaleTop(items) {
  return Math.max(1, ...items.map((item) => Math.abs(item.value)));
}

/** Linear between the neighbours, as a scale is computed; 1 if there are none. */
function valueAt(items, frame) {
  const before = items.filter((item) => item.frame <= frame).at(-1);
  const after = items.find((item) => item.frame > frame);
  if (!before || !after) return (before ?? after)?.value ?? 1;
  const share = (frame - before.frame) / (after.frame - before.frame);
  return Math.round((before.value + share * (after.value - before.value)) * 100) / 100;
}

/** The first free frame from one on, then before it. */
function free(items, from, frames) {
  const taken = new Set(items.map((item) => item.frame));
  for (let by = 0; by < frames; by += 1) {
    const frame = (from + by) % frames;
    if (!taken.has(frame)) return frame;
  }
  return null;
}

/** Where an item goes that is moved by some frames: past those that are taken, inside the animation. */
function nextFree(items, frame, by, frames) {
  const taken = new Set(items.map((item) => item.frame).filter((other) => other !== frame));
  const way = Math.sign(by);
  let to = Math.max(0, Math.min(frames - 1, frame + by));
  const back = Math.abs(by) > 1 ? -way : way;
  while (taken.has(to)) to += back;
  return to < 0 || to >= frames || to === frame ? null : to;
}

function numbers(frames) {
  const every = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100].find((n) => frames / n <= MOST_NUMBERS) ?? 128;
  const shown = [];
  for (let frame = 0; frame < frames; frame += every) {
    const mark = h("span", {}, frame);
    mark.style.setProperty("--from", String(frame / frames));
    shown.push(mark);
  }
  return shown;
}

function byFrame(one, other) {
  return one.frame - other.frame;
}

