/** Drop a file anywhere: an animation or picture gives its settings, weights are inspected. */

import { useSettings } from "./actions.js";
import { api } from "./api.js";
import { announce, h } from "./dom.js";
import { isWeights } from "./inspect.js";

/** Listen for files on the whole page. `inspect(files)` takes weight files. */
export function takeDrops({ inspect }) {
  const cover = h("div", { class: "drop-cover", hidden: true }, h("p", {}, "Drop to load settings, or to inspect weights"));
  document.body.append(cover);
  let depth = 0;
  const over = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const end = () => {
    depth = 0;
    cover.hidden = true;
  };
  addEventListener("dragenter", (event) => {
    if (!over(event)) return;
    depth += 1;
    cover.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!over(event)) return;
    depth -= 1;
    if (depth <= 0) end();
  });
  addEventListener("dragover", (event) => over(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!over(event)) return;
    event.preventDefault();
    end();
    take([...event.dataTransfer.files], inspect);
  });
}

/** Do with files what their kind calls for. */
export async function take(files, inspect) {
  const weights = files.filter(isWeights);
  if (weights.length) {
    location.hash = "#/inspect";
    inspect(weights);
    return;
  }
  if (files[0]) await loadSettings(files[0]);
}

/** Load the settings stored in an animation or picture. */
export async function loadSettings(file) {
  try {
    const { request, source, notes } = await api.settings(file);
    useSettings(request);
    announce(source === "a1111" ? "Loaded the settings of a file of A1111." : "Loaded the settings of the file.");
    for (const note of notes) announce(note);
  } catch (error) {
    announce(error.message, { wrong: true });
  }
}
