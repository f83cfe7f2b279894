/** The tracks of the timeline: which fields of a request are placed on frames, read and written. */

import { allOptions, optionOf, titleOf } from "./options.js";

/**
 * @typedef {Object} Item one thing on one frame
 * @property {number} frame
 * @property {string} [text] of a prompt
 * @property {number} [value] of a scale or strength
 * @property {string} [picture] the name of an uploaded picture
 * @property {string} [key] the key as it was given, such as `50%`, until the item is moved
 */

/**
 * @typedef {Object} Track
 * @property {string} id
 * @property {"prompt"|"picture"|"value"} kind
 * @property {string} title
 * @property {string} colour a name of the style sheet
 * @property {(fields: Object) => Item[]} read
 * @property {(items: Item[], fields: Object) => Object} write the changed fields
 */

/**
 * The tracks that a request has.
 * @param {Object} fields of the request
 * @param {{frames: number, fps: number}} clock
 * @returns {Track[]}
 */
export function tracksOf(fields, clock) {
  return [
    promptTrack("prompts", "Prompts", clock),
    promptTrack("negative_prompts", "Negative prompts", clock),
    ...pictureTracks(clock),
    ...strengthTracks(fields, clock),
    ...scaleTracks(fields),
  ];
}

/** A track for the keyframes of the prompt or of the negative prompt. */
function promptTrack(field, title, clock) {
  return {
    id: field,
    kind: "prompt",
    title,
    colour: "prompt",
    read: (fields) =>
      Object.entries(fields[field] ?? {})
        .map(([key, text]) => ({ key, text, frame: frameOf(key, clock) }))
        .sort(byFrame),
    write: (items) => ({
      [field]: Object.fromEntries(items.map((item) => [item.key ?? String(item.frame), item.text])),
    }),
  };
}

/** A track for every list option whose items are pictures at frames. */
function pictureTracks(clock) {
  const pictures = allOptions().filter((option) => option.type === "list" && option.takes === "upload@frame");
  return pictures.map((option) => ({
    id: option.field,
    kind: "picture",
    title: option.field === "sparse" ? "Control frames" : /^(ip_|image_prompt)/.test(option.field) ? "Image prompts" : titleOf(option),
    colour: option.field === "sparse" ? "control" : "picture",
    read: (fields) => picturesAt(fields[option.field], clock),
    // Pictures without a frame hold for the whole animation and have no place on the timeline.
    write: (items, fields) => ({
      [option.field]: [
        ...(fields[option.field] ?? []).filter((text) => !text.includes("@")),
        ...items.filter((item) => item.picture).map((item) => `${item.of ?? ""}${item.picture}@${item.frame}`),
      ],
    }),
  }));
}

function picturesAt(texts, clock) {
  const items = [];
  for (const text of texts ?? []) {
    const match = /^(\d+=)?(.+)@\s*(-?\d+)$/.exec(text);
    if (match) items.push({ of: match[1], picture: match[2], frame: wrapped(Number(match[3]), clock) });
  }
  return items.sort(byFrame);
}

/** What has strengths for single frames: the field of its files, of its strengths, and a colour. */
const STRENGTHS = [
  ["controls", "control_strengths", "control"],
  ["ip_adapters", "ip_strengths", "picture"],
];

/** A track for the strength of each control network and each IP-Adapter. */
function strengthTracks(fields, clock) {
  const known = STRENGTHS.filter(([, field]) => optionOf(field));
  return known.flatMap(([files, field, colour]) => tracksFor(fields[files] ?? [], field, colour, clock));
}

function tracksFor(specs, field, colour, clock) {
  return specs.map((spec, index, all) => ({
    id: `${field}-${index}`,
    kind: "value",
    title: `Strength of ${nameOf(spec)}`,
    colour,
    steps: true,
    read: (given) => readStrengths(forEach(given[field], all.length)[index] ?? "", clock),
    write: (items, given) => {
      const texts = all.map((_, other) => forEach(given[field], all.length)[other] ?? "");
      texts[index] = items.map((item) => `${item.frame}=${item.value}`).join(", ");
      const empty = texts.every((text) => text === "");
      return { [field]: empty ? [] : texts.map((text) => text || `0:${clock.frames}=1`) };
    },
  }));
}

/** The value of each network: one value counts for all of them. */
function forEach(values, count) {
  return values?.length === 1 ? Array(count).fill(values[0]) : (values ?? []);
}

function readStrengths(text, clock) {
  const items = [];
  for (const part of text.split(",").map((word) => word.trim()).filter(Boolean)) {
    const [where, value = "1"] = part.split("=").map((word) => word.trim());
    const [start, end] = where.split(":");
    const from = wrapped(Number(start || 0), clock);
    const last = end === undefined ? from + 1 : Math.min(end === "" ? clock.frames : wrapped(Number(end), clock), clock.frames);
    for (let frame = from; frame < last; frame += 1) items.push({ frame, value: Number(value) });
  }
  return items.sort(byFrame);
}

/** A track for the scale of the domain adapter and of each MotionLoRA. */
function scaleTracks(fields) {
  const tracks = [];
  if (optionOf("adapter") && fields.adapter) {
    tracks.push(scaleTrack("adapter", `Scale of ${nameOf(fields.adapter)}`, (given) => given.adapter, (text) => ({ adapter: text })));
  }
  (fields.motion_loras ?? []).forEach((spec, index) => {
    tracks.push(
      scaleTrack(
        `motion-lora-${index}`,
        `Scale of ${nameOf(spec)}`,
        (given) => given.motion_loras?.[index] ?? "",
        (text, given) => ({ motion_loras: given.motion_loras.map((old, other) => (other === index ? text : old)) }),
      ),
    );
  });
  return tracks;
}

function scaleTrack(id, title, get, put) {
  return {
    id,
    kind: "value",
    title,
    colour: "scale",
    read: (fields) => readScale(get(fields)).items,
    write: (items, fields) => {
      const { name, constant } = readScale(get(fields));
      const keys = items.map((item) => `${item.frame}=${item.value}`).join(", ");
      return put(items.length ? `${name}:frames(${keys})` : `${name}:${constant}`, fields);
    },
  };
}

/** Name, constant scale and keyframes of `file:0.8` or `file:frames(0=0.2, 15=1)`. */
export function readScale(spec) {
  const keyed = /^(.*):\s*frames\((.*)\)$/s.exec(spec ?? "");
  if (!keyed) {
    const plain = /^(.*):\s*(-?[\d.]+)$/s.exec(spec ?? "");
    return { name: plain ? plain[1] : (spec ?? ""), constant: plain ? Number(plain[2]) : 1, items: [] };
  }
  const items = keyed[2]
    .split(",")
    .map((part) => part.split("=").map(Number))
    .filter(([frame, value]) => Number.isFinite(frame) && Number.isFinite(value))
    .map(([frame, value]) => ({ frame, value }))
    .sort(byFrame);
  return { name: keyed[1], constant: items[0]?.value ?? 1, items };
}

/** The frame of a key: a number, a share of the animation, or a time. */
export function frameOf(key, { frames, fps }) {
  const number = Number.parseFloat(key);
  if (!Number.isFinite(number)) return 0;
  if (key.endsWith("%")) return Math.round((number / 100) * (frames - 1));
  if (key.endsWith("s")) return Math.round(number * fps);
  return number;
}

function wrapped(frame, { frames }) {
  return frame < 0 ? frames + frame : frame;
}

function byFrame(one, other) {
  return one.frame - other.frame;
}

function nameOf(spec) {
  return (readScale(spec).name.split(/[\\/]/).pop() || "file").replace(/\.safetensors$/, "");
}
