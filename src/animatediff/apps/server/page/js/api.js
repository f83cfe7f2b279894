/** Every call to the server, in one place. */

import { parse, stringify } from "./store.js";

const ROOT = "/api/v1";

/** An answer that says why the server cannot do something. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.errors = problem.errors ?? [];
  }
}

async function call(method, path, { json, body, headers = {}, signal } = {}) {
  const sent = { method, headers: { Accept: "application/json", ...headers }, signal };
  if (json !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = stringify(json);
  } else if (body !== undefined) {
    sent.body = body;
  }
  let answer;
  try {
    answer = await fetch(ROOT + path, sent);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: "The server does not answer. Check that it still runs." });
  }
  const text = await answer.text();
  let value = null;
  try {
    value = text ? parse(text) : null;
  } catch {
    value = null;
  }
  if (!answer.ok) {
    if (answer.status === 401) globalThis.dispatchEvent(new Event("signed-out"));
    throw new ApiError(answer.status, value ?? { title: `${answer.status} ${answer.statusText}` });
  }
  return value;
}

function form(file) {
  const data = new FormData();
  data.append("file", file, file.name || "file");
  return data;
}

const id = encodeURIComponent;

/** A random key of a submission. `crypto.randomUUID` is missing over plain HTTP from another machine. */
function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const api = {
  session: () => call("GET", "/session"),
  signIn: (token) => call("POST", "/session", { json: { token } }),
  options: () => call("GET", "/options"),
  models: () => call("GET", "/models"),
  queue: () => call("GET", "/queue"),
  pause: (paused) => call("PATCH", "/queue", { json: { paused } }),
  jobs: ({ state, order, limit, before } = {}) => {
    const query = new URLSearchParams(
      Object.entries({ state, order, limit, before }).filter(([, value]) => value !== undefined && value !== null),
    );
    return call("GET", `/jobs?${query}`);
  },
  job: (name) => call("GET", `/jobs/${id(name)}`),
  submit: (request, { formats, priority = 0, key = freshKey() }) =>
    call("POST", "/jobs", { json: { request, formats, priority }, headers: { "Idempotency-Key": key } }),
  cancel: (name) => call("POST", `/jobs/${id(name)}/cancel`),
  retry: (name) => call("POST", `/jobs/${id(name)}/retry`),
  change: (name, changes) => call("PATCH", `/jobs/${id(name)}`, { json: changes }),
  remove: (name) => call("DELETE", `/jobs/${id(name)}`),
  upload: (file) => call("POST", "/uploads", { body: form(file) }),
  uploadInfo: (hash) => call("GET", `/uploads/${id(hash)}`),
  settings: (file) => call("POST", "/settings", { body: form(file) }),
  inspect: (file, size) =>
    call("POST", `/inspect?size=${size}`, { body: file, headers: { "Content-Type": "application/octet-stream" } }),
  datasets: () => call("GET", "/datasets"),
  checkDataset: (name, options) => call("POST", `/datasets/${id(name)}/check`, { json: options }),
  datasetCheck: (name) => call("GET", `/datasets/${id(name)}/check`),
  runs: () => call("GET", "/runs"),
  run: (name, { after = 0 } = {}) => call("GET", `/runs/${id(name)}?after=${after}`),
};

/** Where an upload's own bytes are. */
export function uploadUrl(hash) {
  return `${ROOT}/uploads/${id(hash)}/content`;
}

/**
 * Follow the events of all jobs.
 * @param {Object<string, (data: Object) => void>} listeners by the event's name; `open` and `lost`
 *   tell of the connection
 * @returns {() => void} ends it
 */
export function follow(listeners) {
  const source = new EventSource(`${ROOT}/events`);
  for (const [name, listener] of Object.entries(listeners)) {
    if (name === "open") source.addEventListener("open", listener);
    else if (name === "lost") source.addEventListener("error", listener);
    else source.addEventListener(name, (event) => listener(parse(event.data)));
  }
  return () => source.close();
}
