/** Build elements without ever parsing markup: text stays text, whatever a prompt or a file holds. */

const SVG = "http://www.w3.org/2000/svg";

/** Paths of the icons, drawn on a grid of 24 by 24 with a stroke. */
const ICONS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M8 5v14M16 5v14",
  previous: "M18 5l-9 7 9 7zM6 5v14",
  next: "M6 5l9 7-9 7zM18 5v14",
  up: "M12 19V6M6 12l6-6 6 6",
  down: "M12 5v13M6 12l6 6 6-6",
  retry: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01",
  reuse: "M4 6h11M4 12h7M4 18h7M20 13l-4 4-2-2M15 21h5",
  compare: "M4 5h7v14H4zM13 5h7v14h-7z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19",
  keyboard: "M3 7h18v11H3zM7 11h.01M11 11h.01M15 11h.01M8 15h8",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15 9h.01",
  swap: "M4 8h15M15 4l4 4-4 4M20 16H5M9 12l-4 4 4 4",
};

/**
 * Make an element.
 * @param {string} tag its name
 * @param {Object} [props] attributes; `on…` functions are listeners, `class` and `dataset` as named,
 *   `value`, `checked`, `selected`, `disabled` and `hidden` are set as properties
 * @param {...(Node|string|number|null|undefined|Array)} children what it holds
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

function set(element, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (name.startsWith("on") && typeof value === "function") {
    element.addEventListener(name.slice(2), value);
  } else if (name === "dataset") {
    Object.assign(element.dataset, value);
  } else if (["value", "checked", "selected", "disabled", "hidden", "muted"].includes(name)) {
    element[name] = value;
  } else if (name === "for") {
    element.htmlFor = value;
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Add children, flattening lists and leaving out what is empty. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Replace everything that an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** An element of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  append(element, children);
  return element;
}

/** A picture that repeats what the text beside it says, so readers of the screen skip it. */
export function icon(name) {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }),
  );
}

/** A button with an icon; its label is a text, or a name for readers of the screen alone. */
export function button(label, { glyph, quiet = false, iconOnly = false, ...props } = {}) {
  const classes = ["button", quiet && "quiet", iconOnly && "icon-only", props.class];
  return h(
    "button",
    {
      type: "button",
      ...props,
      class: classes.filter(Boolean).join(" "),
      "aria-label": iconOnly ? label : props["aria-label"],
      title: iconOnly ? label : props.title,
    },
    glyph && icon(glyph),
    iconOnly ? null : h("span", {}, label),
  );
}

/** Say a sentence to readers of the screen, and show it for a while unless the page shows it anyway. */
export function announce(text, { wrong = false, shown: visible = true } = {}) {
  const place = document.getElementById(wrong ? "alerts" : "notices");
  const shown = h("p", { class: visible ? (wrong ? "toast wrong" : "toast") : "only-read" }, text);
  if (wrong) {
    shown.append(button("Dismiss", { glyph: "close", quiet: true, iconOnly: true, onclick: () => shown.remove() }));
  }
  place.append(shown);
  setTimeout(() => shown.remove(), wrong ? 20000 : 5000);
}

let last = 0;

/** A new id for an element that a label or a description points at. */
export function uid(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}
