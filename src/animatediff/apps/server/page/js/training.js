/** Training runs of the server: the loss as it falls, and the clips drawn on the way. */

import { api } from "./api.js";
import { fill, h, svg } from "./dom.js";

/** How often a run is read again, in milliseconds. */
const EVERY = 3000;

/** How many points of the curve are drawn. */
const MOST_POINTS = 600;

/** Make the page. */
export function trainingPage() {
  const list = h("ul", { class: "rows runs" });
  const shown = h("div", { class: "run" });
  let watched = null;
  let turn = 0;

  const watch = async (name) => {
    watched = name;
    turn += 1;
    const own = turn;
    const points = [];
    for (const row of list.querySelectorAll("button")) row.setAttribute("aria-pressed", String(row.dataset.run === name));
    for (;;) {
      try {
        const run = await api.run(name, { after: points.at(-1)?.step ?? 0 });
        if (own !== turn) return undefined;
        // A run that was begun again is behind what is drawn.
        if (run.step < (points.at(-1)?.step ?? 0)) return watch(name);
        points.push(...run.points.filter(({ loss }) => loss !== null));
        if (shown.parentElement) draw(shown, name, run, points);
      } catch (error) {
        fill(shown, h("p", { class: "problem" }, error.message));
        return undefined;
      }
      await new Promise((done) => setTimeout(done, EVERY));
      if (own !== turn || !shown.isConnected) return undefined;
    }
  };

  const read = async () => {
    try {
      const { runs, folder } = await api.runs();
      fill(
        list,
        runs.length
          ? runs.map(({ name, loss, step }) =>
              h("li", {}, h("button", { type: "button", class: "show", dataset: { run: name }, onclick: () => watch(name) }, h("span", { class: "name" }, name), h("span", { class: "facts" }, [`step ${step.toLocaleString()}`, loss && `loss ${loss.toPrecision(3)}`].filter(Boolean).join(" · ")))),
            )
          : h("li", { class: "empty" }, folder ? "There is no training run in the folder yet." : "Start the server with --runs FOLDER to follow training runs here."),
      );
      if (runs.length && !watched) watch(runs[0].name);
    } catch (error) {
      fill(list, h("li", { class: "empty" }, error.message));
    }
  };

  read();
  const element = h(
    "div",
    { class: "training page" },
    h("div", { class: "page-head" }, h("h1", {}, "Training runs"), h("p", {}, "Loss and validation clips, read again every few seconds while a run goes on.")),
    h("div", { class: "two" }, h("div", { class: "panel" }, list), shown),
  );
  element.addEventListener("shown", () => watched && watch(watched));
  return element;
}

function draw(place, name, run, points) {
  const last = points.at(-1);
  const facts = [
    ["Step", last ? last.step.toLocaleString() : "0"],
    ["Loss", last ? last.loss.toPrecision(4) : "–"],
    ["Learning rate", last?.rate ? last.rate.toExponential(1) : "–"],
    ["Validation clips", String(run.clips.length)],
  ];
  const clips = place.querySelector(".clips")?.dataset.count === String(run.clips.length) ? place.querySelector(".clips") : clipsOf(run);
  fill(
    place,
    h("div", { class: "panel" }, h("h2", {}, name), h("dl", { class: "numbers" }, facts.map(([label, text]) => h("div", {}, h("dt", {}, label), h("dd", {}, text)))), chart(points)),
    clips,
  );
}

function clipsOf(run) {
  return h(
    "section",
    { class: "panel clips", "aria-label": "Validation clips", dataset: { count: run.clips.length }, hidden: run.clips.length === 0 },
    h("h2", {}, "Validation clips"),
    h("ul", { class: "cards small" }, run.clips.map(({ step, url }) => h("li", {}, h("figure", {}, h("img", { src: url, alt: `Validation clip of step ${step}`, loading: "lazy" }), h("figcaption", {}, `step ${step}`))))),
  );
}

/** Units of a chart: fewer on a narrow screen, so that its numbers stay readable. */
const NARROW = matchMedia("(max-width: 40rem)");
const HEIGHT = 240;
const LEFT = 52;
const BOTTOM = 24;

/** The loss over the steps: each point faint, their moving mean strong. */
export function chart(points) {
  const width = NARROW.matches ? 380 : 720;
  if (points.length < 2) return h("p", { class: "empty" }, "The curve begins with the second line of metrics.jsonl.");
  const every = Math.ceil(points.length / MOST_POINTS);
  const kept = points.filter((_, index) => index % every === 0 || index === points.length - 1);
  const smooth = mean(kept.map(({ loss }) => loss));
  const sorted = kept.map(({ loss }) => loss).sort((one, other) => one - other);
  const low = sorted[0];
  const high = sorted[Math.ceil((sorted.length - 1) * 0.99)] || low + 1;
  const first = kept[0].step;
  const last = kept.at(-1).step;
  const x = (step) => LEFT + ((step - first) / Math.max(1, last - first)) * (width - LEFT - 8);
  const y = (loss) => 8 + (1 - (Math.min(loss, high) - low) / Math.max(1e-12, high - low)) * (HEIGHT - BOTTOM - 16);
  const path = (values) => kept.map(({ step }, index) => `${index ? "L" : "M"}${x(step).toFixed(1)} ${y(values[index]).toFixed(1)}`).join("");
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));
  const name = `Loss from step ${first} to ${last}: from ${smooth[0].toPrecision(3)} to ${smooth.at(-1).toPrecision(3)}`;
  return svg(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": name },
    ticks.map((value) => [
      svg("line", { class: "gridline", x1: LEFT, x2: width - 8, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, value.toPrecision(3)),
    ]),
    [first, Math.round((first + last) / 2), last].map((step, index) => svg("text", { x: x(step), y: HEIGHT - 6, "text-anchor": ["start", "middle", "end"][index] }, step.toLocaleString())),
    svg("path", { class: "raw", d: path(kept.map(({ loss }) => loss)) }),
    svg("path", { class: "smooth", d: path(smooth) }),
  );
}

/** The mean of the values around each, which neither lags nor leads. */
function mean(values) {
  const reach = Math.max(1, Math.round(values.length / 60));
  return values.map((_, index) => {
    const by = Math.min(reach, index, values.length - 1 - index);
    const near = values.slice(index - by, index + by + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}
