/** An X/Y grid: one animation for each pair of values of two settings. */

import { api } from "./api.js";
import { announce, button, fill, h, uid } from "./dom.js";
import { readNumber } from "./form.js";
import { detail } from "./gallery.js";
import { requestOf } from "./create.js";
import { jobs, playable, stateText } from "./jobs.js";
import { allOptions, optionOf, problemOf, titleOf } from "./options.js";
import { moving } from "./player.js";
import { draft, remember, remembered } from "./store.js";

/** The most animations that one grid may have. */
const MOST = 100;

/** Make the page. */
export function gridPage({ formats }) {
  const saved = remembered("grid", null);
  const axes = ["x", "y"].map((name, index) => axis(name, saved?.axes?.[index]));
  const count = h("p", { class: "help", "aria-live": "polite" });
  const place = h("div", { class: "grid-scroller", tabindex: 0, role: "region", "aria-label": "Grid of animations" });
  let grid = saved?.cells ? saved : null;

  const tally = () => {
    const sizes = axes.map((one) => Math.max(1, one.values().length));
    count.textContent = `${sizes[0]} × ${sizes[1]} = ${sizes[0] * sizes[1]} animations from the settings of the Create page.`;
  };
  for (const one of axes) one.element.addEventListener("input", tally);
  tally();

  const draw = () => fill(place, grid ? table(grid) : h("p", { class: "empty" }, "Choose two settings and their values."));
  jobs.addEventListener("list", draw);
  jobs.addEventListener("job", ({ detail: job }) => {
    const cell = place.querySelector(`[data-job="${CSS.escape(job.id)}"] .state`);
    if (cell) cell.textContent = stateText(job);
  });

  const start = button("Generate grid", { glyph: "play", class: "primary", onclick: () => run() });
  const run = async () => {
    const chosen = axes.map((one) => ({ field: one.field(), values: one.values() }));
    const sentence = wrongWith(chosen);
    if (sentence) return announce(sentence, { wrong: true });
    const [x, y] = chosen;
    const cells = [];
    start.disabled = true;
    grid = { axes: chosen, cells };
    try {
      for (const down of y.field && y.values.length ? y.values : [null]) {
        for (const across of x.values) {
          const request = requestOf({ ...draft.fields, [x.field]: across, ...(down === null ? {} : { [y.field]: down }) });
          const job = await patiently(() => api.submit(request, { formats: [formats[0]] }));
          jobs.add(job);
          cells.push(job.id);
        }
      }
    } catch (error) {
      announce(error.message, { wrong: true });
    }
    start.disabled = false;
    remember("grid", grid);
    return draw();
  };

  draw();
  return h(
    "div",
    { class: "grid page" },
    h("div", { class: "page-head" }, h("h1", {}, "X/Y grid"), h("p", {}, "Vary two settings and see what each does. The other settings are those of the Create page.")),
    h("div", { class: "panel axes" }, axes.map((one) => one.element), h("div", { class: "row end" }, count, start)),
    place,
  );
}

/** Wait and try again while the queue is full. */
async function patiently(submit) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await submit();
    } catch (error) {
      if (error.status !== 429 || tries >= 20) throw error;
      await new Promise((done) => setTimeout(done, 3000));
    }
  }
}

function axis(name, saved) {
  const options = allOptions().filter((option) => option.type !== "table" && option.takes !== "upload@frame");
  const start = saved?.field ?? (name === "x" ? "guidance" : "seed");
  const field = h("select", { id: uid("axis") }, name === "y" && h("option", { value: "" }, "none"), options.map((option) => h("option", { value: option.field }, titleOf(option))));
  field.value = start;
  const values = h("input", { id: uid("values"), type: "text", autocomplete: "off", value: (saved?.values ?? (name === "x" ? [4, 7.5] : [1, 2])).join(" | ") });
  const help = h("p", { class: "help", id: `${values.id}-help` }, "Separate values with |. Whole numbers may be a range: 1-4.");
  values.setAttribute("aria-describedby", help.id);
  return {
    element: h(
      "div",
      { class: "axis" },
      h("div", { class: "control" }, h("label", { for: field.id }, `${name.toUpperCase()}: setting`), field),
      h("div", { class: "control" }, h("label", { for: values.id }, `${name.toUpperCase()}: values`), values, help),
    ),
    field: () => field.value,
    values: () => (field.value ? readValues(values.value, optionOf(field.value)) : []),
  };
}

/** The values that a text lists: `1-4`, `4 | 7.5` or `euler | ddim`. */
export function readValues(text, option) {
  const range = /^\s*(\d+)\s*-\s*(\d+)\s*$/.exec(text);
  if (range && option?.type === "integer") {
    const [from, to] = [Number(range[1]), Number(range[2])];
    return Array.from({ length: Math.min(MOST + 1, Math.max(0, to - from + 1)) }, (_, index) => from + index);
  }
  const words = text.split("|").map((word) => word.trim()).filter(Boolean);
  if (option?.type === "boolean") return words.map((word) => ["on", "true", "yes", "1"].includes(word.toLowerCase()));
  if (option?.type === "integer" || option?.type === "number") return words.map(readNumber);
  if (option?.type === "list") return words.map((word) => word.split(",").map((item) => item.trim()));
  return words;
}

function wrongWith([x, y]) {
  if (x.values.length === 0) return "Write at least one value for X.";
  if (x.field === y.field) return "X and Y vary the same setting; choose another for one of them.";
  if (x.values.length * Math.max(1, y.values.length) > MOST) return `A grid has at most ${MOST} animations.`;
  if (!draft.get("prompt") && !draft.get("prompts") && x.field !== "prompt" && y.field !== "prompt") return "Write a prompt on the Create page first.";
  for (const { field, values } of [x, y]) {
    const option = optionOf(field);
    for (const value of option ? values : []) {
      if (option.choices?.length && !option.choices.includes(value)) return `${titleOf(option)} is one of ${option.choices.join(", ")}.`;
      const sentence = problemOf(option, value);
      if (sentence) return sentence;
    }
  }
  return "";
}

function table({ axes: [x, y], cells }) {
  const rows = y.values.length ? y.values : [null];
  const name = (which) => (optionOf(which.field) ? titleOf(optionOf(which.field)) : which.field);
  return h(
    "table",
    { class: "grid-table" },
    h("caption", { class: "only-read" }, `${name(x)} across, ${y.field ? name(y) : "nothing"} down`),
    h("thead", {}, h("tr", {}, h("td", { class: "corner" }), x.values.map((value) => h("th", { scope: "col" }, `${name(x)} ${value}`)))),
    h(
      "tbody",
      {},
      rows.map((value, down) =>
        h("tr", {}, h("th", { scope: "row" }, value === null ? "" : `${name(y)} ${value}`), x.values.map((_, across) => cellOf(cells[down * x.values.length + across]))),
      ),
    ),
  );
}

function cellOf(id) {
  const job = id && jobs.get(id);
  if (!job) return h("td", {}, h("div", { class: "cell empty" }, id ? "deleted" : "–"));
  if (job.state === "completed" && playable(job)) {
    const picture = moving(playable(job), { alt: "", still: job.thumbnail });
    if (picture.tagName === "VIDEO" && !matchMedia("(prefers-reduced-motion: reduce)").matches) picture.autoplay = true;
    return h("td", {}, h("button", { type: "button", class: "cell", dataset: { job: id }, "aria-label": "Open this animation", onclick: () => detail(job) }, picture));
  }
  return h("td", {}, h("div", { class: "cell waiting", dataset: { job: id } }, h("span", { class: `state ${job.state}` }, stateText(job))));
}
