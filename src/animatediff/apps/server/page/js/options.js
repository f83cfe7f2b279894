/** The options of a request, as the server declares them. */

/** The ten settings that matter to most animations; every other option is folded under its group. */
export const ESSENTIAL = [
  "model",
  "motion",
  "num_frames",
  "fps",
  "width",
  "height",
  "steps",
  "guidance",
  "scheduler",
  "seed",
];

/** Fields with a place of their own on the page. */
export const PLACED = ["prompt", "negative_prompt", "prompts", "negative_prompts"];

let known = [];

/** Keep what `/api/v1/options` returned; what cannot come over the network has no control. */
export function setOptions({ groups }) {
  known = groups.flatMap((group) => group.options.map((option) => ({ ...option, group: group.name })));
  known = known.filter((option) => option.takes !== "refused");
}

/** Every option, in the order of its declaration. */
export function allOptions() {
  return known;
}

/** The option of a field; undefined if this server has none. */
export function optionOf(field) {
  return known.find((option) => option.field === field);
}

/** A field's name as a label: `num_frames` reads "Frames". */
export function titleOf(option) {
  // What the command line takes without a flag is called by its field.
  const flag = option.flag?.startsWith("--") ? option.flag.slice(2) : option.field;
  const words = flag.replaceAll(/[-_]/g, " ");
  const names = { fps: "Frames per second", pag: "Perturbed-attention guidance", vae: "Autoencoder (VAE)", lora: "LoRA", "motion lora": "MotionLoRA" };
  const text = names[words] ?? words;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A format's name as a label. */
export function formatTitle(name) {
  const names = { webm: "WebM", webp: "WebP", png: "PNG frames", av1: "AV1 (MP4)", prores: "ProRes (MOV)", ffv1: "FFV1 (MKV)", png16: "PNG 16-bit (ZIP)" };
  return names[name] ?? name.toUpperCase();
}

/** What leaving an option out means, in a few words. */
export function unsetText(option) {
  if (option.unset) return option.unset;
  const value = option.default;
  if (value === null || value === undefined || value === "" || value === false) return "";
  if (Array.isArray(value) || typeof value === "object") return "";
  return String(value);
}

/** The longest text that fits into an empty control. */
const SHORT = 16;

/** What an empty control shows: what leaving it out means, if that is short. */
export function emptyText(option) {
  const text = unsetText(option);
  return text.length > SHORT ? "auto" : text;
}

/** The sentence under a control: help, range and unit. */
export function helpOf(option) {
  const { least, most } = option;
  const range = least !== null && most !== null && least !== undefined && most !== undefined ? `${least} to ${most}` : "";
  const unset = emptyText(option) === "auto" ? `auto: ${option.unset}` : "";
  const facts = [[range, option.unit].filter(Boolean).join(" "), unset].filter(Boolean).join("; ");
  return facts ? `${option.help} (${facts})` : option.help;
}

/** The options that are folded, by group, in the order of the declaration. */
export function foldedGroups() {
  const groups = new Map();
  for (const option of known) {
    if (ESSENTIAL.includes(option.field) || PLACED.includes(option.field)) continue;
    if (!groups.has(option.group)) groups.set(option.group, []);
    groups.get(option.group).push(option);
  }
  return groups;
}

/**
 * Why a value cannot be sent, in a sentence; empty if it can. The server checks again.
 * @param {Object} option
 * @param {*} value
 */
export function problemOf(option, value) {
  if (value === undefined || value === null || value === "") return "";
  if (option.type !== "integer" && option.type !== "number") return "";
  if (typeof value === "bigint") return "";
  const number = Number(value);
  if (option.field === "fps" && typeof value === "string" && /^\d+\/\d+$/.test(value)) return "";
  if (!Number.isFinite(number)) return `${titleOf(option)} is not a number.`;
  if (option.type === "integer" && !Number.isInteger(number)) return `${titleOf(option)} must be a whole number.`;
  if (option.least != null && number < option.least) return `${titleOf(option)} must be ${option.least} or more.`;
  if (option.most != null && number > option.most) return `${titleOf(option)} must be ${option.most} or less.`;
  if (option.multiple_of && number % option.multiple_of) {
    return `${titleOf(option)} must be a multiple of ${option.multiple_of}.`;
  }
  return "";
}
