/** The queue: what runs, what waits and what failed, with a picture of each. */

import { button, fill, h } from "./dom.js";
import { jobs, promptOf, stateText } from "./jobs.js";

/** How many finished jobs the queue still shows. */
const RECENT = 8;

/** Make the queue's panel. `onshow(id)` is called for a job that is chosen. */
export function queuePanel({ onshow }) {
  const list = h("ol", { class: "queue-list" });
  const count = h("span", { class: "count", role: "status" });
  const pause = button("Pause", { glyph: "pause", quiet: true, onclick: () => jobs.setPaused(!jobs.paused) });
  const rows = new Map();

  const draw = () => {
    const active = jobs.active();
    const recent = jobs.finished().slice(0, RECENT);
    count.textContent = active.length ? String(active.length) : "";
    count.setAttribute("aria-label", `${active.length} jobs run or wait`);
    const label = jobs.paused ? "Resume" : "Pause";
    fill(pause, ...button(label, { glyph: jobs.paused ? "play" : "pause" }).childNodes);
    const focused = document.activeElement?.dataset?.action && document.activeElement.closest(".queue-row");
    const kept = focused ? [focused.dataset.job, document.activeElement.dataset.action] : null;
    rows.clear();
    const waiting = active.filter((job) => job.state === "queued");
    for (const job of [...active, ...recent]) rows.set(job.id, rowOf(job, waiting, onshow));
    fill(list, rows.size ? [...rows.values()].map(({ element }) => element) : h("li", { class: "empty" }, "Animations that you generate wait here."));
    if (kept) list.querySelector(`[data-job="${CSS.escape(kept[0])}"] [data-action="${kept[1]}"]`)?.focus();
  };

  jobs.addEventListener("list", draw);
  jobs.addEventListener("job", ({ detail }) => rows.get(detail.id)?.update(detail));
  jobs.addEventListener("preview", ({ detail }) => rows.get(detail.id)?.update(detail));
  draw();
  return h(
    "section",
    { class: "queue panel", "aria-labelledby": "queue-title" },
    h("div", { class: "panel-head" }, h("h2", { id: "queue-title" }, "Queue"), count, pause),
    list,
  );
}

function rowOf(job, waiting, onshow) {
  const picture = h("div", { class: "thumb" });
  const status = h("span", { class: `state ${job.state}` });
  const bar = h("progress", { max: 1, "aria-label": "Progress" });
  const update = (now) => {
    status.textContent = stateText(now);
    bar.hidden = now.state !== "running";
    bar.value = now.progress?.fraction ?? 0;
    const url = now.thumbnail ?? (now.state === "running" ? jobs.preview(now.id) : null);
    if (url && picture.dataset.url !== url) {
      picture.dataset.url = url;
      fill(picture, h("img", { src: url, alt: "" }));
    }
  };
  update(job);
  const at = waiting.findIndex(({ id }) => id === job.id);
  const act = (label, glyph, name, ...rest) =>
    button(label, { glyph, iconOnly: true, quiet: true, dataset: { action: label }, onclick: () => jobs.act(name, job.id, ...rest) });
  const buttons = [];
  if (job.state === "queued") {
    if (at > 0) buttons.push(act("Move up", "up", "change", { before: waiting[at - 1].id }));
    if (at >= 0 && at < waiting.length - 1) {
      buttons.push(act("Move down", "down", "change", { before: waiting[at + 2]?.id ?? null }));
    }
    buttons.push(job.held ? act("Release", "play", "change", { held: false }) : act("Hold", "pause", "change", { held: true }));
  }
  if (job.state === "queued" || job.state === "running") buttons.push(act("Cancel", "close", "cancel"));
  else if (job.state !== "completed") buttons.push(act("Retry", "retry", "retry"));
  const prompt = promptOf(job);
  const element = h(
    "li",
    { class: `queue-row ${job.state}`, dataset: { job: job.id } },
    h(
      "button",
      { type: "button", class: "show", dataset: { action: "show" }, onclick: () => onshow(job.id) },
      picture,
      h("span", { class: "text" }, h("span", { class: "prompt" }, prompt), status),
    ),
    bar,
    h("div", { class: "row" }, buttons),
  );
  return { element, update };
}
