/** What can be done with a job: use its settings again, compare, download, retry, delete. */

import { announce, button, h, icon } from "./dom.js";
import { jobs } from "./jobs.js";
import { formatTitle, optionOf } from "./options.js";
import { draft, remember, remembered } from "./store.js";

/** Put a request into the composer; fields that are the default are left out. */
export function useSettings(request) {
  const fields = {};
  for (const [field, value] of Object.entries(request)) {
    const option = optionOf(field);
    if (!option || same(value, option.default)) continue;
    fields[field] = value;
  }
  draft.replace(fields);
  location.hash = "#/create";
  announce("Settings loaded.");
  requestAnimationFrame(() => document.getElementById("prompt")?.focus());
}

function same(one, other) {
  return JSON.stringify(one, plain) === JSON.stringify(other, plain) || String(one) === String(other);
}

function plain(_key, value) {
  return typeof value === "bigint" ? value.toString() : value;
}

/** Choose a job for the comparison: it becomes the second, and what was the second the first. */
export function compareWith(id) {
  const chosen = remembered("compare", []).filter((other) => other !== id);
  remember("compare", [...chosen.slice(-1), id]);
  announce(chosen.length ? "Both animations are chosen: open Compare." : "Chosen. Choose another to compare with.");
  if (chosen.length) location.hash = "#/compare";
}

/** The exact request of a finished job: what was sent, with what the model chose. */
export function exactRequest(job) {
  return { ...job.request, ...(job.resolved ?? {}) };
}

/** A link to the one file of a format, or a list of links to its several. */
function downloads(format, results) {
  const link = (result, text) =>
    h("a", { class: "button", href: `${result.url}?download=1`, download: result.name }, icon("download"), h("span", {}, text));
  if (results.length === 1) return link(results[0], formatTitle(format));
  return h(
    "details",
    { class: "downloads" },
    h("summary", { class: "button" }, icon("download"), h("span", {}, `${formatTitle(format)} (${results.length})`)),
    h("ol", {}, results.map((result, index) => h("li", {}, link(result, `Frame ${index + 1}`)))),
  );
}

/** Buttons for a job, by its state. */
export function actionsOf(job) {
  const row = [button("Use settings", { glyph: "reuse", onclick: () => useSettings(job.request) })];
  if (job.state === "completed") {
    row.push(button("Compare", { glyph: "compare", onclick: () => compareWith(job.id) }));
    for (const format of new Set(job.results.map((result) => result.format))) {
      row.push(downloads(format, job.results.filter((result) => result.format === format)));
    }
  }
  if (job.state === "failed" || job.state === "cancelled") {
    row.push(button("Retry", { glyph: "retry", onclick: () => jobs.act("retry", job.id) }));
  }
  if (job.state !== "running" && job.state !== "queued") {
    row.push(button("Delete", { glyph: "trash", quiet: true, onclick: () => jobs.act("remove", job.id) }));
  }
  return h("div", { class: "row actions" }, row);
}
