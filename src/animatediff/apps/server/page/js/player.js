/** Show an animation frame by frame: play, pause, step, and follow another player in step. */

import { button, fill, h } from "./dom.js";
import { promptOf } from "./jobs.js";

/** Frames and rate of a job's result, as its request tells. */
export function clockOf(job) {
  const request = { ...job.request, ...job.resolved };
  const base = Number(request.num_frames) || 16;
  const frames = request.interpolate > 1 ? (base - 1) * request.interpolate + 1 : base;
  const fps = rateOf(request.fps ?? 8) * (request.interpolate > 1 ? request.interpolate : 1);
  return { frames: request.pingpong ? Math.max(1, frames * 2 - 2) : frames, fps };
}

/** A rate such as `24000/1001` as a number. */
export function rateOf(fps) {
  const [over, under = 1] = String(fps).split("/").map(Number);
  return over / under || 8;
}

/** A picture that animates itself, or a video without controls, for lists. */
export function moving(result, { alt, still }) {
  if (!result.media_type.startsWith("video/")) return h("img", { src: result.url, alt, loading: "lazy" });
  const video = h("video", { src: result.url, poster: still, loop: true, playsinline: true, preload: "none", "aria-label": alt, muted: true });
  return video;
}

/**
 * A player with its own controls.
 * @param {Object} job a completed job
 * @param {Object} result one of its results
 * @returns {{element: HTMLElement, seek: (frame: number) => void, clock: {frames: number, fps: number}}}
 */
export function player(job, result, { controls = true, onframe = () => {} } = {}) {
  const alt = promptOf(job);
  const clock = clockOf(job);
  if (!result.media_type.startsWith("video/")) {
    const picture = h("img", { class: "shown", src: result.url, alt });
    return { element: h("div", { class: "player" }, h("div", { class: "screen" }, picture)), seek: () => {}, clock };
  }
  const video = h("video", { class: "shown", src: result.url, loop: true, playsinline: true, preload: "auto", "aria-label": alt, muted: true });
  const screen = h("div", { class: "screen" }, video);

  const known = () => {
    // The file's own length is right even if the request left the number of frames to the model.
    if (Number.isFinite(video.duration) && video.duration > 0) clock.frames = Math.max(1, Math.round(video.duration * clock.fps));
  };
  const seek = (frame) => {
    video.pause();
    video.currentTime = (frame + 0.5) / clock.fps;
  };
  const at = () => Math.min(clock.frames - 1, Math.floor(video.currentTime * clock.fps + 1e-3));
  if (!controls) {
    video.addEventListener("loadedmetadata", known);
    return { element: h("div", { class: "player" }, screen), seek, clock, video };
  }

  const toggle = button("Play", { glyph: "play", iconOnly: true, quiet: true });
  const label = h("output", { class: "frame-label" });
  const scrub = h("input", { type: "range", min: 0, max: Math.max(0, clock.frames - 1), step: 1, value: 0, "aria-label": "Frame" });
  const show = () => {
    scrub.value = String(at());
    label.textContent = `${at() + 1} / ${clock.frames}`;
    onframe(at());
  };
  const state = () => {
    const name = video.paused ? "Play" : "Pause";
    fill(toggle, ...button(name, { glyph: name.toLowerCase(), iconOnly: true }).childNodes);
    toggle.setAttribute("aria-label", name);
    toggle.title = name;
  };
  video.addEventListener("loadedmetadata", () => {
    known();
    scrub.max = String(clock.frames - 1);
    show();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
  });
  video.addEventListener("timeupdate", show);
  video.addEventListener("play", state);
  video.addEventListener("pause", state);
  toggle.addEventListener("click", () => (video.paused ? video.play() : video.pause()));
  scrub.addEventListener("input", () => {
    seek(Number(scrub.value));
    show();
  });
  const by = (frames) => () => {
    seek((at() + frames + clock.frames) % clock.frames);
    show();
  };
  const bar = h(
    "div",
    { class: "transport" },
    button("Previous frame", { glyph: "previous", iconOnly: true, quiet: true, onclick: by(-1) }),
    toggle,
    button("Next frame", { glyph: "next", iconOnly: true, quiet: true, onclick: by(1) }),
    scrub,
    label,
  );
  return { element: h("div", { class: "player" }, screen, bar), seek, clock, video };
}

/** The columns of a contact sheet, as the server draws it. */
const SHEET_COLUMNS = 4;

/**
 * Play a contact sheet as an animation, so that a running job is already seen to move.
 * @returns {{element: HTMLElement, show: (url: string, clock: {frames: number, fps: number}) => void, stop: () => void}}
 */
export function sheetPlayer() {
  const canvas = h("canvas", { class: "shown", role: "img", "aria-label": "Preview of the animation" });
  let sheet = null;
  let timer = 0;
  let frame = 0;
  let clock = { frames: 16, fps: 8 };
  const draw = () => {
    if (!sheet) return;
    const columns = Math.min(SHEET_COLUMNS, clock.frames);
    const width = sheet.naturalWidth / columns;
    const height = sheet.naturalHeight / Math.ceil(clock.frames / columns);
    if (canvas.width !== Math.round(width)) canvas.width = Math.round(width);
    if (canvas.height !== Math.round(height)) canvas.height = Math.round(height);
    const context = canvas.getContext("2d");
    context.drawImage(sheet, (frame % columns) * width, Math.floor(frame / columns) * height, width, height, 0, 0, canvas.width, canvas.height);
    frame = (frame + 1) % clock.frames;
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
  };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  return {
    element: canvas,
    stop,
    show: (url, given) => {
      clock = given;
      const next = new Image();
      next.addEventListener("load", () => {
        sheet = next;
        draw();
        if (!timer && !still) timer = setInterval(draw, 1000 / clock.fps);
      });
      next.src = url;
    },
  };
}
