/** The jobs that the page knows, kept current by the server's events. */

import { api, follow } from "./api.js";
import { announce } from "./dom.js";

/** How many finished jobs are read at once. */
const PAGE = 60;

class Jobs extends EventTarget {
  #jobs = new Map();
  #previews = new Map();
  paused = false;
  connected = true;
  next = null;

  /** Read the queue and the newest finished jobs, and follow what changes. */
  async start() {
    await this.reload();
    follow({
      state: (job) => this.#put(job),
      progress: (progress) => this.#progress(progress),
      preview: ({ job, url }) => this.#preview(job, url),
      removed: ({ job }) => this.#drop(job),
      queue: ({ paused }) => this.#pause(paused),
      open: () => this.#connection(true),
      lost: () => this.#connection(false),
    });
  }

  /** Read everything again, such as after the connection was lost. */
  async reload() {
    const [active, newest] = await Promise.all([
      api.jobs({ state: "queued,running", limit: 200 }),
      api.jobs({ limit: PAGE }),
    ]);
    this.#jobs = new Map([...newest.jobs, ...active.jobs].map((job) => [job.id, job]));
    this.next = newest.next ?? null;
    this.paused = newest.paused;
    this.#tell("list");
  }

  /** Read older jobs; false if there are none. */
  async older() {
    if (!this.next) return false;
    const page = await api.jobs({ limit: PAGE, before: this.next });
    for (const job of page.jobs) this.#jobs.set(job.id, job);
    this.next = page.next ?? null;
    this.#tell("list");
    return true;
  }

  /** A job; undefined if the page does not know it. */
  get(id) {
    return this.#jobs.get(id);
  }

  /** A job, read from the server if the page does not know it. */
  async read(id) {
    return this.get(id) ?? api.job(id);
  }

  /** The address of the newest contact sheet of a running job. */
  preview(id) {
    return this.#previews.get(id) ?? null;
  }

  /** What runs and what waits, in the order in which it will run. */
  active() {
    const rank = (job) => (job.state === "running" ? -1 : (job.position ?? 1e9));
    return [...this.#jobs.values()]
      .filter((job) => job.state === "running" || job.state === "queued")
      .sort((one, other) => rank(one) - rank(other) || (one.id < other.id ? -1 : 1));
  }

  /** What is over, the newest first. */
  finished() {
    return [...this.#jobs.values()]
      .filter((job) => job.state !== "running" && job.state !== "queued")
      .sort((one, other) => (one.id < other.id ? 1 : -1));
  }

  /** Completed jobs with a result, the newest first. */
  completed() {
    return this.finished().filter((job) => job.state === "completed" && job.results.length > 0);
  }

  /** Put a job that was just queued, unless an event that overtook the answer has told more. */
  add(job) {
    if (!this.#jobs.has(job.id)) this.#put(job);
  }

  /** Do something to a job and say what went wrong, if it does. */
  async act(action, id, ...rest) {
    const before = this.#jobs.get(id);
    try {
      const job = await api[action](id, ...rest);
      if (action === "remove") this.#drop(id);
      // An event that overtook the answer is newer than the answer.
      else if (job?.id && this.#jobs.get(id) === before) this.#put(job);
      if (action === "change") await this.#order();
      return true;
    } catch (error) {
      announce(error.message, { wrong: true });
      return false;
    }
  }

  /** Pause the queue, or let it go on. */
  async setPaused(paused) {
    try {
      await api.pause(paused);
      this.#pause(paused);
    } catch (error) {
      announce(error.message, { wrong: true });
    }
  }

  async #order() {
    const waiting = await api.jobs({ order: "queue", limit: 200 });
    for (const job of waiting.jobs) this.#jobs.set(job.id, job);
    this.#tell("list");
  }

  #put(job) {
    const old = this.#jobs.get(job.id);
    this.#jobs.set(job.id, job);
    const moved = !old || old.state !== job.state || old.position !== job.position || old.held !== job.held;
    this.#tell(moved ? "list" : "job", job);
    if (old && old.state !== job.state) this.#settled(job);
    if (old?.state === "queued" && job.state !== "queued" && this.active().length > 1) this.#order();
  }

  #settled(job) {
    if (job.state === "completed") {
      this.#previews.delete(job.id);
      announce(`Finished: ${promptOf(job).slice(0, 80)}`, { shown: !location.hash.startsWith("#/create") && location.hash !== "" });
    } else if (job.state === "failed") {
      announce(job.error?.detail ?? job.error?.title ?? "The job failed.", { wrong: true });
    }
  }

  #progress({ job: id, ...progress }) {
    const job = this.#jobs.get(id);
    if (!job) return;
    this.#jobs.set(id, { ...job, progress });
    this.#tell("job", this.#jobs.get(id));
  }

  #preview(id, url) {
    this.#previews.set(id, `${url}${url.includes("?") ? "&" : "?"}at=${Date.now()}`);
    if (this.#jobs.has(id)) this.#tell("preview", this.#jobs.get(id));
  }

  #drop(id) {
    if (this.#jobs.delete(id)) this.#tell("list");
  }

  #pause(paused) {
    this.paused = paused;
    this.#tell("list");
  }

  async #connection(open) {
    const back = open && !this.connected;
    this.connected = open;
    this.#tell("connection");
    if (back) await this.reload().catch(() => {});
  }

  #tell(kind, job = null) {
    this.dispatchEvent(new CustomEvent(kind, { detail: job }));
  }
}

export const jobs = new Jobs();

/** A sentence for how far a job is. */
export function stateText(job) {
  const { stage, step, steps } = job.progress ?? {};
  if (job.state === "queued") return job.held ? "on hold" : job.position ? `waiting, ${job.position} before it` : "next";
  if (job.state !== "running") return job.state;
  if (stage === "denoise") return `step ${step} of ${steps}`;
  if (stage === "decode") return `decoding frame ${step} of ${steps}`;
  return { load: "loading the model", write: "writing the file" }[stage] ?? "starting";
}

/** The formats that browsers show, the ones that can be stepped through first. */
const SHOWN = ["mp4", "webm", "av1", "webp", "gif", "apng", "png"];

/** The result to play: a video where there is one, and of files for other programs the first frame. */
export function playable(job) {
  const shown = job.results.filter(({ format }) => SHOWN.includes(format));
  shown.sort((one, other) => SHOWN.indexOf(one.format) - SHOWN.indexOf(other.format));
  return shown[0] ?? (job.thumbnail ? { url: job.thumbnail, format: "still", media_type: "image/jpeg" } : undefined);
}

/** The formats that can be stepped through, frame by frame. */
const STEPPED = ["mp4", "webm", "av1"];

/** The formats to order for a chosen one: an MP4 beside it if it cannot be stepped through here. */
export function ordered(format) {
  return STEPPED.includes(format) ? [format] : ["mp4", format];
}

/** What a job draws, in a line: its prompt, or its first keyframe. */
export function promptOf(job) {
  return job.request.prompt || Object.values(job.request.prompts ?? {})[0] || "Animation";
}
