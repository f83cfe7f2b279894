/** The first page: write a prompt, watch it become an animation, see what waits. */

import { api } from "./api.js";
import { completing } from "./complete.js";
import { announce, button, fill, h, icon, uid } from "./dom.js";
import { control } from "./form.js";
import { jobs, ordered } from "./jobs.js";
import { ESSENTIAL, foldedGroups, formatTitle, optionOf, problemOf, allOptions } from "./options.js";
import { queuePanel } from "./queue.js";
import { stage } from "./stage.js";
import { draft, remember, remembered } from "./store.js";
import { timeline } from "./timeline.js";

/**
 * Make the page.
 * @param {{models: Object[], formats: string[]}} server
 */
export function createPage(server) {
  const shown = stage();
  const composer = composing(server, (job) => shown.follow(job.id, { choose: false }));
  return h(
    "div",
    { class: "create" },
    h("h1", { class: "only-read" }, "Create an animation"),
    composer,
    h("div", { class: "centre" }, shown.element, timeline()),
    queuePanel({ onshow: (id) => shown.follow(id) }),
  );
}

/** Known names by field, as the controls offer them. */
function namesByField(models) {
  const names = {};
  for (const { field, name } of models) (names[field] ??= []).push(name);
  return names;
}

function composing({ models, formats }, onsubmit) {
  const names = namesByField(models);
  const words = () => ({ loras: names.loras ?? [], embeddings: names.embeddings ?? [] });
  const format = h("select", { id: uid("format") }, formats.map((name) => h("option", { value: name }, formatTitle(name))));
  const before = remembered("format", formats[0]);
  format.value = formats.includes(before) ? before : formats[0];
  format.addEventListener("change", () => remember("format", format.value));

  const submit = h(
    "button",
    { type: "submit", class: "button primary", title: "Ctrl + Enter" },
    icon("play"),
    h("span", {}, "Generate"),
    h("kbd", {}, "Ctrl ↵"),
  );
  const advanced = [...foldedGroups()].map(([group, options]) => folded(group, options, names));
  const form = h(
    "form",
    { class: "composer panel", id: "composer", "aria-label": "Request", novalidate: true },
    prose("prompt", "Prompt", 3, words, "a fox running through snow, flat style"),
    prose("negative_prompt", "Negative prompt", 1, words, "What not to draw"),
    h("div", { class: "essentials" }, ESSENTIAL.map(optionOf).filter(Boolean).map((option) => control(option, names))),
    h("div", { class: "folds" }, advanced),
    h(
      "div",
      { class: "submit-bar" },
      h("div", { class: "format" }, h("label", { for: format.id, class: "only-read" }, "Format"), format),
      button("Reset all settings", { glyph: "retry", iconOnly: true, quiet: true, onclick: () => draft.replace({}) }),
      submit,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      const job = await submitDraft(ordered(format.value));
      if (job) onsubmit(job);
    } finally {
      submit.disabled = false;
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return form;
}

/** The draft as the server takes it: keyframes without text are left out. */
export function requestOf(fields) {
  const request = { prompt: "", ...fields };
  for (const field of ["prompts", "negative_prompts"]) {
    if (!request[field]) continue;
    const written = Object.entries(request[field]).filter(([, text]) => text.trim());
    if (written.length) request[field] = Object.fromEntries(written);
    else delete request[field];
  }
  return request;
}

async function submitDraft(formats) {
  const request = requestOf(draft.fields);
  if (!request.prompt.trim() && !request.prompts) {
    document.getElementById("prompt")?.focus();
    announce("Write a prompt first: what should be drawn?", { wrong: true });
    return null;
  }
  const wrong = allOptions().map((option) => problemOf(option, request[option.field])).find(Boolean);
  if (wrong) {
    announce(wrong, { wrong: true });
    return null;
  }
  try {
    const job = await api.submit(request, { formats });
    jobs.add(job);
    announce("Queued.", { shown: false });
    return job;
  } catch (error) {
    announce(error.message, { wrong: true });
    const field = error.errors[0]?.field.replace(/^request\./, "");
    document.querySelector(`[data-field="${CSS.escape(field ?? "")}"] :is(input, select, textarea)`)?.focus();
    return null;
  }
}

function prose(field, label, rows, words, placeholder) {
  const option = optionOf(field) ?? {};
  const area = h("textarea", { id: field, name: field, rows, placeholder, maxlength: option.most_characters, spellcheck: "true" });
  area.addEventListener("input", () => draft.set({ [field]: area.value }, area));
  const read = () => (area.value = draft.get(field) ?? "");
  draft.addEventListener("change", ({ detail }) => {
    if (detail.fields.includes(field) && detail.source !== area) read();
  });
  read();
  const list = completing(area, words);
  return h("div", { class: `prose ${field}`, dataset: { field } }, h("label", { for: field }, label), h("div", { class: "field" }, area, list));
}

function folded(group, options, names) {
  const count = h("span", { class: "count" });
  const show = () => {
    const set = options.filter((option) => draft.get(option.field) !== undefined).length;
    fill(count, set ? `${set} set` : "");
    count.hidden = set === 0;
  };
  draft.addEventListener("change", show);
  show();
  const body = h("div", { class: "fold-body" });
  const fold = h("details", {}, h("summary", {}, h("span", {}, group), count), body);
  // Its controls are made when it is first opened: most never are.
  const make = () => body.childElementCount === 0 && body.append(...options.map((option) => control(option, names)));
  fold.addEventListener("toggle", () => fold.open && make());
  return fold;
}
