/** Inspect a weight file: what it is, why, and which option takes it. Only its header is sent. */

import { api } from "./api.js";
import { button, fill, h } from "./dom.js";

/** The longest safetensors header that the server reads. */
const MOST_HEADER = 16 * 2 ** 20;

/** The largest file of another kind that is sent whole. */
const MOST_WHOLE = 200 * 2 ** 20;

/** Make the page. `take(file)` inspects a file that was dropped anywhere. */
export function inspectPage() {
  const results = h("div", { class: "inspected", "aria-live": "polite" });
  const field = h("input", { type: "file", multiple: true, class: "hidden-file", id: "inspect-file", accept: ".safetensors,.ckpt,.pt,.pth,.bin" });
  const pick = button("Choose files", { glyph: "file", class: "primary", onclick: () => field.click() });
  field.tabIndex = -1;
  field.setAttribute("aria-hidden", "true");
  const takeAll = async (files) => {
    for (const file of files) await take(file);
  };
  const take = async (file) => {
    const card = h("article", { class: "panel inspect-card" }, h("h2", {}, file.name), h("p", { class: "help" }, "Reading …"));
    results.prepend(card);
    try {
      fill(card, ...described(file, await inspected(file)));
    } catch (error) {
      fill(card, h("h2", {}, file.name), h("p", { class: "problem" }, error.message));
    }
  };
  field.addEventListener("change", () => takeAll([...field.files]));
  const element = h(
    "div",
    { class: "inspect page" },
    h(
      "div",
      { class: "page-head" },
      h("h1", {}, "Inspect a file"),
      h("p", {}, "What is this checkpoint, LoRA or motion module, and where does it fit? Drop it here. Of a safetensors file, only the header is sent, so large files are quick."),
    ),
    h("div", { class: "panel drop-zone" }, field, h("p", {}, "Drop weight files here, or"), pick),
    results,
  );
  return { element, take: takeAll };
}

/** Whether a file looks like weights. */
export function isWeights(file) {
  return /\.(safetensors|ckpt|pt|pth|bin|sft)$/i.test(file.name);
}

async function inspected(file) {
  return api.inspect(await part(file), file.size);
}

/** What of a file the server must see: the header of safetensors, and other files whole. */
async function part(file) {
  const start = new DataView(await file.slice(0, 8).arrayBuffer());
  const length = start.byteLength === 8 ? Number(start.getBigUint64(0, true)) : Infinity;
  if (length > 1 && length <= MOST_HEADER && length + 8 <= file.size) return file.slice(0, 8 + length);
  if (file.size <= MOST_WHOLE) return file;
  throw new Error(`${file.name} is not safetensors and is too large to send. Use animatediff inspect on the machine that has it.`);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function described(file, found) {
  const rows = [
    ["Because", found.reasons.join("; ")],
    ["Holds", found.holds.join(", ")],
    ["Use", found.use],
  ].filter(([, text]) => text);
  return [
    h("h2", {}, file.name),
    h("p", { class: "verdict" }, sentence(found.title)),
    h("dl", { class: "settings" }, rows.map(([name, text]) => [h("dt", {}, name), h("dd", {}, sentence(text))])),
    found.warnings.map((warning) => h("p", { class: "problem" }, warning)),
  ];
}
