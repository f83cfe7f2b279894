/** Controls for options: each is made from the option's declaration alone. */

import { api, uploadUrl } from "./api.js";
import { announce, button, fill, h, uid } from "./dom.js";
import { emptyText, helpOf, problemOf, titleOf } from "./options.js";
import { draft } from "./store.js";

/**
 * A labelled control that reads and writes one field of the draft.
 * @param {Object} option the declaration
 * @param {Object<string, string[]>} names the known files, by field, to choose from
 * @returns {HTMLElement}
 */
export function control(option, names = {}) {
  const id = uid("option");
  const help = h("p", { class: "help", id: `${id}-help` }, helpOf(option));
  const problem = h("p", { class: "problem", id: `${id}-problem`, "aria-live": "polite" });
  const described = `${id}-help ${id}-problem`;
  const input = inputFor(option, id, described, names[option.field] ?? []);
  input.field.title = helpOf(option);

  const check = () => {
    const sentence = problemOf(option, draft.get(option.field));
    problem.textContent = sentence;
    input.field.setAttribute("aria-invalid", sentence ? "true" : "false");
  };
  input.field.addEventListener(input.event, () => {
    draft.set({ [option.field]: input.read() }, input.field);
    check();
  });
  draft.addEventListener("change", ({ detail }) => {
    if (!detail.fields.includes(option.field) || detail.source === input.field) return;
    input.write(draft.get(option.field));
    check();
  });
  input.write(draft.get(option.field));
  check();

  const label = h("label", { for: id }, titleOf(option));
  const kind = option.type === "boolean" ? "control switch" : "control";
  return h("div", { class: kind, dataset: { field: option.field } }, label, input.element ?? input.field, help, problem);
}

function inputFor(option, id, described, names) {
  const base = { id, "aria-describedby": described, name: option.field };
  if (option.choices?.length) return choice(option, base);
  if (option.type === "boolean") return flag(option, base);
  if (option.field === "seed") return seed(option, base);
  if (option.type === "integer" || option.type === "number") return number(option, base);
  if (option.type === "list") return list(option, base, names);
  if (option.type === "table") return table(option, base);
  return text(option, base, names);
}

function choice(option, base) {
  const unset = emptyText(option);
  const first = option.nullable || !option.choices.includes(option.default);
  const field = h(
    "select",
    base,
    first && h("option", { value: "" }, unset || "auto"),
    option.choices.map((name) => h("option", { value: name }, name)),
  );
  const start = first ? "" : option.default;
  return {
    field,
    event: "change",
    read: () => (field.value === start ? undefined : field.value),
    write: (value) => (field.value = value ?? start),
  };
}

function flag(option, base) {
  const field = h("input", { ...base, type: "checkbox", role: "switch" });
  const start = option.default === true;
  return {
    field,
    event: "change",
    read: () => (field.checked === start ? undefined : field.checked),
    write: (value) => (field.checked = value ?? start),
  };
}

function number(option, base) {
  const whole = option.type === "integer";
  const field = h("input", {
    ...base,
    type: "text",
    inputmode: whole ? "numeric" : "decimal",
    autocomplete: "off",
    placeholder: emptyText(option),
  });
  field.addEventListener("keydown", (event) => step(event, option, field));
  return {
    field,
    event: "input",
    read: () => readNumber(field.value),
    write: (value) => (field.value = value === undefined ? "" : String(value)),
  };
}

/** A number as typed: a double, an exact whole number, or the text where it is neither. */
export function readNumber(text) {
  const typed = text.trim();
  if (typed === "") return undefined;
  if (/^-?\d+$/.test(typed)) {
    const value = Number(typed);
    return Number.isSafeInteger(value) ? value : BigInt(typed);
  }
  const value = Number(typed.replace(",", "."));
  return Number.isFinite(value) ? value : typed;
}

/** The up and down arrows change a number by its smallest useful step. */
function step(event, option, field) {
  const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (!way) return;
  event.preventDefault();
  const small = option.type === "integer" ? 1 : (option.most ?? 10) <= 1 ? 0.05 : 0.5;
  const by = (option.multiple_of ?? small) * (event.shiftKey ? 10 : 1);
  const from = Number(field.value || field.placeholder || NaN);
  if (!Number.isFinite(from)) return;
  const least = option.least ?? -Infinity;
  const most = option.most ?? Infinity;
  const next = Math.min(most, Math.max(least, from + way * by));
  field.value = String(Math.round(next * 1000) / 1000);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

function seed(option, base) {
  const parts = number(option, { ...base, class: "seed" });
  const roll = button("Random seed", {
    glyph: "dice",
    iconOnly: true,
    quiet: true,
    onclick: () => {
      parts.field.value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
      parts.field.dispatchEvent(new Event("input", { bubbles: true }));
    },
  });
  return { ...parts, element: h("div", { class: "joined" }, parts.field, roll) };
}

function text(option, base, names) {
  if (option.takes === "upload" || option.takes === "mask") return upload(option, base);
  const listed = names.length > 0 && `${base.id}-names`;
  const field = h("input", {
    ...base,
    type: "text",
    autocomplete: "off",
    spellcheck: "false",
    list: listed || undefined,
    maxlength: option.most_characters,
    placeholder: emptyText(option),
  });
  const element = h("div", { class: "field" }, field, listed && h("datalist", { id: listed }, names.map((name) => h("option", { value: name }))));
  return {
    field,
    element,
    event: "input",
    read: () => field.value.trim() || undefined,
    write: (value) => (field.value = value ?? ""),
  };
}

function list(option, base, names) {
  const field = h("textarea", { ...base, rows: 2, spellcheck: "false", placeholder: `One ${option.item || "item"} per line` });
  const numbers = option.items === "number";
  const parts = {
    field,
    event: "input",
    read: () => {
      const lines = field.value.split("\n").map((line) => line.trim());
      return lines.filter(Boolean).map((line) => (numbers ? Number(line) : line));
    },
    write: (value) => (field.value = (value ?? []).join("\n")),
  };
  if (["upload", "upload@frame", "prompt@mask"].includes(option.takes)) {
    const add = uploading(option, (hash) => {
      const line = { "upload@frame": `${hash}@0`, "prompt@mask": `a prompt @${hash}` }[option.takes] ?? hash;
      field.value = [field.value.trim(), line].filter(Boolean).join("\n");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
    return { ...parts, element: h("div", { class: "field" }, field, add) };
  }
  if (names.length > 0) {
    const add = naming(option, names, (name) => {
      field.value = [field.value.trim(), option.scaled ? `${name}:1` : name].filter(Boolean).join("\n");
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
    return { ...parts, element: h("div", { class: "field" }, field, add) };
  }
  return parts;
}

function upload(option, base) {
  const placeholder = option.takes === "mask" ? "left, 0,0,0.5,1 …" : "Upload a file";
  const field = h("input", { ...base, type: "text", autocomplete: "off", spellcheck: "false", placeholder });
  const shown = h("span", { class: "thumb upload", hidden: true });
  const look = () => {
    const hash = /^[0-9a-f]{64}$/.test(field.value.trim()) ? field.value.trim() : "";
    if (shown.dataset.hash !== hash) picture(shown, hash);
  };
  const put = (hash) => {
    field.value = hash;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  field.addEventListener("input", look);
  return {
    field,
    element: h("div", { class: "joined" }, shown, field, uploading(option, put)),
    event: "input",
    read: () => field.value.trim() || undefined,
    write: (value) => {
      field.value = value ?? "";
      look();
    },
  };
}

/** Show an upload small: a picture, or the first frame of a video; nothing if it has expired. */
async function picture(place, hash) {
  place.dataset.hash = hash;
  place.hidden = true;
  if (!hash) return fill(place);
  const facts = await api.uploadInfo(hash).catch(() => null);
  if (!facts || place.dataset.hash !== hash) return undefined;
  const video = facts.media_type.startsWith("video/");
  const src = uploadUrl(hash);
  fill(place, video ? h("video", { src, preload: "metadata", muted: true, "aria-hidden": "true" }) : h("img", { src, alt: "" }));
  place.title = `${facts.width}×${facts.height}${facts.frames > 1 ? `, ${facts.frames} frames` : ""}`;
  place.hidden = false;
  return undefined;
}

/** A button that uploads a file and gives back its hash. */
function uploading(option, put) {
  const field = h("input", { type: "file", class: "hidden-file", accept: "image/*,video/*", tabindex: -1, "aria-hidden": "true" });
  const pick = button("Upload", { glyph: "plus", quiet: true, "aria-label": `Upload for ${titleOf(option)}`, onclick: () => field.click() });
  field.addEventListener("change", async () => {
    const [file] = field.files;
    field.value = "";
    if (!file) return;
    pick.disabled = true;
    try {
      put((await api.upload(file)).hash);
      announce(`Uploaded ${file.name}.`);
    } catch (error) {
      announce(error.message, { wrong: true });
    }
    pick.disabled = false;
  });
  return h("div", { class: "row" }, field, pick);
}

/** A menu that adds one of the known names. */
function naming(option, names, put) {
  const menu = h(
    "select",
    { "aria-label": `Add to ${titleOf(option)}` },
    h("option", { value: "" }, "Add …"),
    names.map((name) => h("option", { value: name }, name)),
  );
  menu.addEventListener("change", () => {
    if (menu.value) put(menu.value);
    menu.value = "";
  });
  return menu;
}

function table(option, base) {
  const field = h("textarea", { ...base, rows: 2, spellcheck: "false", placeholder: "8: what to draw from frame 8 on" });
  return {
    field,
    event: "input",
    read: () =>
      Object.fromEntries(
        field.value
          .split("\n")
          .map((line) => line.split(/:(.*)/s).map((part) => part.trim()))
          .filter(([key, value]) => key && value),
      ),
    write: (value) => (field.value = Object.entries(value ?? {}).map(([key, item]) => `${key}: ${item}`).join("\n")),
  };
}
