/** Check a dataset of the server: how many clips, which are bad, what needs attention. */

import { api } from "./api.js";
import { button, fill, h, uid } from "./dom.js";

/** How often a running check is asked for, in milliseconds. */
const EVERY = 1500;

/** Make the page. */
export function datasetsPage() {
  const list = h("ul", { class: "rows" });
  const report = h("div", { class: "report", "aria-live": "polite" });
  const frames = h("input", { id: uid("frames"), type: "number", min: 1, max: 1024, value: 16, class: "short" });
  const fps = h("input", { id: uid("fps"), type: "text", inputmode: "decimal", value: "8", class: "short" });
  let turn = 0;

  const show = async (name) => {
    turn += 1;
    const own = turn;
    for (;;) {
      let check;
      try {
        check = await api.datasetCheck(name);
      } catch (error) {
        fill(report, h("p", { class: "problem" }, error.message));
        return;
      }
      if (own !== turn || !report.isConnected) return;
      fill(report, described(name, check));
      if (check.state !== "running") return;
      await new Promise((done) => setTimeout(done, EVERY));
    }
  };

  const start = async (name) => {
    try {
      await api.checkDataset(name, { frames: Number(frames.value), fps: fps.value });
      await show(name);
    } catch (error) {
      fill(report, h("p", { class: "problem" }, error.message));
    }
  };

  const draw = async () => {
    try {
      const { datasets, folder } = await api.datasets();
      fill(
        list,
        datasets.length
          ? datasets.map(({ name, checked }) =>
              h(
                "li",
                { class: "row" },
                h("span", { class: "name" }, name),
                checked && button("Show report", { quiet: true, "aria-label": `Show the report of ${name}`, onclick: () => show(name) }),
                button("Check", { "aria-label": `Check ${name}`, onclick: () => start(name) }),
              ),
            )
          : h("li", { class: "empty" }, folder ? "The folder of datasets is empty." : "Start the server with --datasets FOLDER to check datasets here."),
      );
    } catch (error) {
      fill(list, h("li", { class: "empty" }, error.message));
    }
  };

  draw();
  return h(
    "div",
    { class: "datasets page" },
    h("div", { class: "page-head" }, h("h1", {}, "Datasets"), h("p", {}, "Every clip is decoded completely, and nothing is changed. The report lists clips and reasons.")),
    h(
      "div",
      { class: "panel" },
      h("div", { class: "row" }, h("div", { class: "control" }, h("label", { for: frames.id }, "Frames of the training"), frames), h("div", { class: "control" }, h("label", { for: fps.id }, "Frames per second"), fps)),
      list,
    ),
    report,
  );
}

function described(name, check) {
  if (check.state === "running") {
    return h("div", { class: "panel" }, h("h2", {}, name), h("progress", { max: check.total || 1, value: check.done, "aria-label": "Clips decoded" }), h("p", {}, `${check.done} of ${check.total} clips decoded`));
  }
  if (check.state === "failed") return h("div", { class: "panel" }, h("h2", {}, name), h("p", { class: "problem" }, check.detail));
  const { facts, bad, warnings } = check.report;
  return h(
    "div",
    { class: "panel" },
    h("h2", {}, name),
    h("dl", { class: "numbers" }, facts.map(([label, text]) => h("div", {}, h("dt", {}, label), h("dd", {}, text)))),
    listed("Bad clips", bad),
    listed("Attention", warnings),
  );
}

function listed(title, rows) {
  if (rows.length === 0) return null;
  return h(
    "details",
    { open: rows.length <= 10 },
    h("summary", {}, `${title} (${rows.length})`),
    h("ul", { class: "plain" }, rows.map(({ clip, reason }) => h("li", {}, clip && h("b", {}, clip), clip && " ", reason))),
  );
}
