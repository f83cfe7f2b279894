/** Complete the names of LoRAs and embeddings while a prompt is typed. */

import { fill, h, uid } from "./dom.js";

const MOST = 8;

/**
 * Make a text area complete names, with a list that follows the text.
 * @param {HTMLTextAreaElement} field
 * @param {() => {loras: string[], embeddings: string[]}} names
 * @returns {HTMLElement} the list, to be placed after the field
 */
export function completing(field, names) {
  const id = uid("names");
  const list = h("ul", { class: "names", role: "listbox", id, hidden: true, "aria-label": "LoRAs and embeddings" });
  let shown = [];
  let at = 0;

  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-haspopup", "listbox");
  field.setAttribute("aria-controls", id);

  const close = () => {
    list.hidden = true;
    shown = [];
    field.removeAttribute("aria-activedescendant");
  };

  const mark = () => {
    [...list.children].forEach((row, index) => row.setAttribute("aria-selected", String(index === at)));
    field.setAttribute("aria-activedescendant", `${id}-${at}`);
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };

  const take = (match) => {
    const end = field.selectionStart;
    field.setRangeText(match.text, end - match.typed.length, end, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
    close();
  };

  const open = () => {
    shown = matches(field.value.slice(0, field.selectionStart), names());
    if (shown.length === 0) return close();
    at = 0;
    fill(
      list,
      shown.map((match, index) =>
        h(
          "li",
          {
            role: "option",
            id: `${id}-${index}`,
            onpointerdown: (event) => {
              event.preventDefault();
              take(match);
            },
          },
          h("span", { class: "name" }, match.name),
          h("span", { class: "kind" }, match.kind),
        ),
      ),
    );
    list.hidden = false;
    return mark();
  };

  field.addEventListener("input", open);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (list.hidden || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      at = (at + (event.key === "ArrowDown" ? 1 : shown.length - 1)) % shown.length;
      mark();
    } else if (event.key === "Enter" || event.key === "Tab") {
      take(shown[at]);
    } else if (event.key === "Escape") {
      close();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  return list;
}

/**
 * What the text before the cursor may be completed to.
 * @param {string} before
 * @param {{loras: string[], embeddings: string[]}} names
 */
export function matches(before, names) {
  const lora = /<lora:([^<>:]*)$/.exec(before);
  if (lora) return found(names.loras, lora[1], "LoRA", (name) => `${name}:1>`);
  const word = /(?:^|[\s,(])([\p{L}\p{N}_-]{2,})$/u.exec(before)?.[1];
  if (!word) return [];
  return [
    ...found(names.embeddings, word, "embedding", (name) => name),
    ...found(names.loras, word, "LoRA", (name) => `<lora:${name}:1>`),
  ].slice(0, MOST);
}

function found(names, typed, kind, text) {
  const lower = typed.toLowerCase();
  const starts = names.filter((name) => name.toLowerCase().startsWith(lower));
  const holds = names.filter((name) => !starts.includes(name) && name.toLowerCase().includes(lower));
  return [...starts, ...holds].slice(0, MOST).map((name) => ({ name, kind, typed, text: text(name) }));
}
