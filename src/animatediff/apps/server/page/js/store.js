/** What the page remembers: the request being written, and small choices, kept over a reload. */

const PREFIX = "animatediff.";

/** Read a remembered value; the fallback if there is none or it cannot be read. */
export function remembered(name, fallback) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? fallback : parse(text);
  } catch {
    return fallback;
  }
}

/** Remember a value; a browser that refuses storage only forgets. */
export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, stringify(value));
  } catch {
    /* Storage is full or off: the page works without it. */
  }
}

/** Parse JSON; whole numbers that a double cannot hold (seeds) become BigInt. */
export function parse(text) {
  return JSON.parse(text, (_key, value, context) => {
    const unsafe = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
    return unsafe && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value;
  });
}

/** Write JSON in which a BigInt is an exact number. */
export function stringify(value) {
  return JSON.stringify(value, (_key, item) => {
    if (typeof item !== "bigint") return item;
    return JSON.rawJSON ? JSON.rawJSON(item.toString()) : Number(item);
  });
}

/** The request being written. Listeners are told which fields changed. */
class Draft extends EventTarget {
  #fields = remembered("draft", {});

  /** All fields that are set. */
  get fields() {
    return { ...this.#fields };
  }

  get(field) {
    return this.#fields[field];
  }

  /** Set fields; `undefined`, `""` and empty lists are left out of the request. */
  set(changes, source = null) {
    for (const [field, value] of Object.entries(changes)) {
      if (isEmpty(value)) delete this.#fields[field];
      else this.#fields[field] = value;
    }
    this.#changed(Object.keys(changes), source);
  }

  /** Replace the whole request. */
  replace(fields) {
    const all = new Set([...Object.keys(this.#fields), ...Object.keys(fields)]);
    this.#fields = Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
    this.#changed([...all], null);
  }

  #changed(fields, source) {
    remember("draft", this.#fields);
    this.dispatchEvent(new CustomEvent("change", { detail: { fields, source } }));
  }
}

function isEmpty(value) {
  if (value === undefined || value === null || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === "object" && Object.keys(value).length === 0;
}

export const draft = new Draft();
