/** The gallery: finished animations, each with every setting that made it. */

import { actionsOf, exactRequest } from "./actions.js";
import { button, fill, h } from "./dom.js";
import { jobs, playable, promptOf } from "./jobs.js";
import { allOptions, titleOf } from "./options.js";
import { moving, player } from "./player.js";

/** Make the page. */
export function galleryPage() {
  const grid = h("ul", { class: "cards" });
  const search = h("input", { type: "search", id: "gallery-search", placeholder: "Search prompts" });
  const more = button("Show older", { onclick: () => jobs.older() });
  const draw = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = jobs.completed().filter((job) => words.every((word) => textOf(job).includes(word)));
    fill(grid, shown.length ? shown.map(card) : h("li", { class: "empty" }, words.length ? "No prompt has these words." : "Finished animations appear here."));
    more.hidden = !jobs.next;
  };
  search.addEventListener("input", draw);
  jobs.addEventListener("list", draw);
  draw();
  return h(
    "div",
    { class: "gallery page" },
    h(
      "div",
      { class: "page-head" },
      h("h1", {}, "Gallery"),
      h("p", {}, "Every animation gives back the settings that made it. Drop a file anywhere on the page to load its settings."),
      h("div", { class: "control" }, h("label", { for: "gallery-search" }, "Search"), search),
    ),
    grid,
    more,
  );
}

function textOf(job) {
  return [job.request.prompt, ...Object.values(job.request.prompts ?? {})].join(" ").toLowerCase();
}

function card(job) {
  const picture = moving(playable(job), { alt: "", still: job.thumbnail });
  const open = h(
    "button",
    { type: "button", class: "card", onclick: () => detail(job), "aria-label": `Open: ${promptOf(job)}` },
    h("span", { class: "frame" }, picture),
    h("span", { class: "prompt" }, promptOf(job)),
    h("span", { class: "facts" }, facts(job)),
  );
  if (picture.tagName === "VIDEO" && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const play = () => picture.play().catch(() => {});
    for (const event of ["pointerenter", "focus"]) open.addEventListener(event, play);
    for (const event of ["pointerleave", "blur"]) open.addEventListener(event, () => picture.pause());
  }
  return h("li", {}, open);
}

function facts(job) {
  const request = exactRequest(job);
  const size = sizeOf(request);
  return [size, request.num_frames && `${request.num_frames} frames`, `seed ${request.seed ?? 0}`].filter(Boolean).join(" · ");
}

/** The size of the files: what was drawn, enlarged. */
function sizeOf({ width, height, hires, upscale }) {
  if (!width || !height) return "";
  const [wide, high] = [width, height].map((side) => Math.round(side * (hires ?? 1)) * (upscale ?? 1));
  return `${wide}×${high}`;
}

/** Open one animation with all its settings. */
export function detail(job) {
  const shown = playable(job);
  const dialog = h(
    "dialog",
    { class: "detail", "aria-label": promptOf(job) },
    h(
      "div",
      { class: "detail-body" },
      h("div", { class: "detail-player" }, shown && player(job, shown).element, actionsOf(job)),
      h("div", { class: "detail-text" }, h("h2", {}, promptOf(job)), settingsTable(exactRequest(job))),
    ),
    button("Close", { glyph: "close", iconOnly: true, quiet: true, class: "dialog-close over-picture", onclick: () => dialog.close() }),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  addEventListener("hashchange", () => dialog.close(), { once: true });
  jobs.addEventListener("list", () => !jobs.get(job.id) && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

/** Every setting of a request, the default ones folded. */
export function settingsTable(request) {
  const rows = allOptions().filter((option) => option.field !== "prompt" && valueText(request[option.field]) !== "");
  const changed = rows.filter((option) => option.field === "seed" || valueText(request[option.field]) !== valueText(option.default));
  const rest = rows.filter((option) => !changed.includes(option));
  const list = (options) => h("dl", { class: "settings" }, options.map((option) => [h("dt", {}, titleOf(option)), h("dd", {}, valueText(request[option.field]))]));
  return h("div", {}, list(changed), rest.length ? h("details", {}, h("summary", {}, `${rest.length} defaults`), list(rest)) : null);
}

/** A value in words. */
export function valueText(value) {
  if (value === null || value === undefined || value === "") return "";
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "object") return Object.entries(value).map(([key, text]) => `${key}: ${text}`).join("\n");
  if (typeof value === "boolean") return value ? "on" : "off";
  return String(value);
}
