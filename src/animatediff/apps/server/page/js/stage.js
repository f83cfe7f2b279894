/** The stage: the animation that is being made, and then the result. */

import { button, fill, h } from "./dom.js";
import { actionsOf } from "./actions.js";
import { jobs, playable, promptOf, stateText } from "./jobs.js";
import { clockOf, player, sheetPlayer } from "./player.js";
import { remember, remembered } from "./store.js";

/** Make the stage. `follow(id)` shows a job. */
export function stage() {
  const screen = h("div", { class: "screen-area" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress of the animation" });
  const status = h("p", { class: "status", role: "status" });
  const line = h("div", { class: "progress-line", hidden: true }, bar, status);
  const title = h("h2", { class: "stage-title" });
  const foot = h("div", { class: "stage-foot" });
  const preview = sheetPlayer();
  let current = remembered("stage", null);
  // Until a job is chosen, the stage shows whatever runs.
  let chosen = false;
  let drawn = null;

  const idle = () => {
    preview.stop();
    drawn = "idle";
    title.textContent = "Nothing yet";
    line.hidden = true;
    fill(foot);
    fill(
      screen,
      h(
        "div",
        { class: "welcome" },
        h("p", { class: "big" }, "Write what you want to see move."),
        h("p", {}, "Then press ", h("kbd", {}, "Ctrl"), " + ", h("kbd", {}, "Enter"), ". Drop an animation anywhere to load its settings."),
      ),
    );
  };

  const draw = () => {
    const job = jobs.get(current) ?? null;
    if (!job) return idle();
    title.textContent = promptOf(job);
    const running = job.state === "running" || job.state === "queued";
    line.hidden = !running;
    bar.value = job.progress?.fraction ?? 0;
    status.textContent = stateText(job);
    const key = `${job.id} ${job.state}`;
    if (drawn === key) return undefined;
    drawn = key;
    if (job.state === "completed") return result(job);
    if (job.state === "running") return progressing(job);
    preview.stop();
    fill(screen, h("div", { class: "welcome" }, h("p", { class: "big" }, stateText(job)), h("p", {}, job.error?.detail ?? "")));
    return fill(foot, actionsOf(job));
  };

  const result = (job) => {
    preview.stop();
    const shown = playable(job);
    if (shown) fill(screen, player(job, shown).element);
    fill(foot, actionsOf(job), h("ul", { class: "notes" }, job.notes.map((note) => h("li", {}, note))));
  };

  const progressing = (job) => {
    fill(screen, preview.element);
    fill(foot, button("Cancel", { glyph: "close", onclick: () => jobs.act("cancel", job.id) }));
    const url = jobs.preview(job.id) ?? (job.progress?.step > 0 ? job.preview : null);
    if (url) preview.show(url, clockOf(job));
  };

  jobs.addEventListener("job", ({ detail }) => detail.id === current && draw());
  // After a reload the page finds the job that was running.
  const look = () => {
    const running = jobs.active().find((job) => job.state === "running");
    if (!chosen && running) current = running.id;
    if (!jobs.get(current)) current = jobs.active()[0]?.id ?? jobs.completed()[0]?.id ?? null;
    draw();
  };
  jobs.addEventListener("list", look);
  jobs.addEventListener("preview", ({ detail }) => {
    if (detail.id === current && detail.state === "running") preview.show(jobs.preview(current), clockOf(detail));
  });
  const element = h("section", { class: "stage panel", "aria-label": "Stage" }, h("div", { class: "panel-head" }, title), screen, line, foot);
  look();
  return {
    element,
    follow: (id, { choose = true } = {}) => {
      const running = jobs.active().some((job) => job.state === "running");
      chosen = choose;
      if (choose || !running) current = id;
      remember("stage", current);
      draw();
    },
  };
}
