/** Keyboard shortcuts, and the dialog that lists them. */

import { button, h } from "./dom.js";

/** Pages by the letter that follows `g`. */
const PAGES = { c: "create", l: "gallery", m: "compare", x: "grid", i: "inspect", d: "datasets", t: "training" };

const LISTED = [
  ["Ctrl Enter", "Generate"],
  ["/", "Write the prompt"],
  ["g then c l m x i d t", "Go to Create, Gallery, Compare, Grid, Inspect, Datasets, Training"],
  ["← →", "Move a chosen item of the timeline by one frame (Shift: four)"],
  ["Delete", "Remove the chosen item"],
  ["↑ ↓", "Change a number (Shift: ten times as far)"],
  ["?", "Show this list"],
  ["Esc", "Close"],
];

/** Listen for shortcuts. */
export function listenForKeys() {
  let went = 0;
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const page = Date.now() - went < 1200 && PAGES[event.key];
    went = 0;
    if (page) location.hash = `#/${page}`;
    else if (event.key === "g") went = Date.now();
    else if (event.key === "?") showKeys();
    else if (event.key === "/") {
      location.hash = "#/create";
      requestAnimationFrame(() => document.getElementById("prompt")?.focus());
    } else return;
    event.preventDefault();
  });
}

/** Show the list of shortcuts. */
export function showKeys() {
  const dialog = h(
    "dialog",
    { class: "keys", "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, "Keyboard"),
    h("dl", { class: "settings" }, LISTED.map(([keys, text]) => [h("dt", {}, keys.split(" ").map((key) => (key === "then" ? " then " : h("kbd", {}, key)))), h("dd", {}, text)])),
    button("Close", { glyph: "close", iconOnly: true, quiet: true, class: "dialog-close", onclick: () => dialog.close() }),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
