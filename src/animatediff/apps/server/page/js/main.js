/** Start the page: sign in if a token is needed, read the options and jobs, show the chosen page. */

import { api, ApiError } from "./api.js";
import { comparePage } from "./compare.js";
import { createPage } from "./create.js";
import { datasetsPage } from "./datasets.js";
import { announce, button, fill, h } from "./dom.js";
import { take, takeDrops } from "./drop.js";
import { galleryPage } from "./gallery.js";
import { gridPage } from "./grid.js";
import { inspectPage } from "./inspect.js";
import { jobs } from "./jobs.js";
import { listenForKeys, showKeys } from "./keys.js";
import { setOptions } from "./options.js";
import { applyTheme, themeButton } from "./theme.js";
import { trainingPage } from "./training.js";

const PAGES = [
  ["create", "Create"],
  ["gallery", "Gallery"],
  ["compare", "Compare"],
  ["grid", "Grid"],
  ["inspect", "Inspect"],
  ["datasets", "Datasets"],
  ["training", "Training"],
];

applyTheme();
const main = document.getElementById("main");
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();

async function start() {
  try {
    const session = await api.session();
    if (session.needs_token && !session.authenticated) return signIn();
    const [options, models] = await Promise.all([api.options(), api.models()]);
    setOptions(options);
    await jobs.start();
    build({ models: models.models ?? models, formats: options.formats });
  } catch (error) {
    fill(main, h("div", { class: "page" }, h("h1", {}, "The server does not answer"), h("p", {}, error.message), button("Try again", { onclick: () => location.reload() })));
  }
}

function build(server) {
  const inspect = inspectPage();
  const makers = {
    create: () => createPage(server),
    gallery: galleryPage,
    compare: comparePage,
    grid: () => gridPage(server),
    inspect: () => inspect.element,
    datasets: datasetsPage,
    training: trainingPage,
  };
  const made = new Map();
  const links = PAGES.map(([name, title]) => h("a", { href: `#/${name}` }, title));
  const load = h("input", { type: "file", class: "hidden-file", tabindex: -1, "aria-hidden": "true", id: "load-file" });
  load.addEventListener("change", () => take([...load.files], inspect.take));
  fill(document.getElementById("nav"), links);
  const lost = h("span", { class: "lost", role: "status" });
  jobs.addEventListener("connection", () => (lost.textContent = jobs.connected ? "" : "Connection lost, trying again …"));
  fill(
    document.getElementById("tools"),
    lost,
    load,
    button("Load settings from a file", { glyph: "file", iconOnly: true, quiet: true, onclick: () => load.click() }),
    button("Keyboard shortcuts", { glyph: "keyboard", iconOnly: true, quiet: true, onclick: showKeys }),
    themeButton(),
  );

  // On a narrow screen the row of links scrolls by itself.
  const reveal = () => {
    const current = links.find((link) => link.hasAttribute("aria-current"));
    const row = current.parentElement;
    row.scrollLeft = current.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
  };
  addEventListener("resize", reveal);

  const show = ({ first = false } = {}) => {
    const name = location.hash.replace(/^#\//, "");
    const [page, title] = PAGES.find(([known]) => known === name) ?? PAGES[0];
    if (!made.has(page)) made.set(page, makers[page]());
    const element = made.get(page);
    links.forEach((link, index) => {
      if (PAGES[index][0] === page) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    });
    if (main.firstChild !== element) main.replaceChildren(element);
    element.dispatchEvent(new Event("shown"));
    document.title = `${title} · animatediff`;
    reveal();
    if (first) return;
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => show());
  addEventListener("signed-out", () => location.reload(), { once: true });
  show({ first: true });
  takeDrops({ inspect: inspect.take });
  listenForKeys();
}

function signIn() {
  const field = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const problem = h("p", { class: "problem", role: "alert" });
  const form = h(
    "form",
    { class: "panel sign-in" },
    h("h1", {}, "Sign in"),
    h("p", {}, "This server needs its token."),
    h("div", { class: "control" }, h("label", { for: "token" }, "Token"), field, problem),
    h("button", { type: "submit", class: "button primary" }, "Sign in"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await api.signIn(field.value.trim());
      location.reload();
    } catch (error) {
      problem.textContent = error instanceof ApiError && error.status === 401 ? "That is not the token." : error.message;
    }
  });
  fill(main, h("div", { class: "page" }, form));
  field.focus();
}

addEventListener("unhandledrejection", (event) => announce(String(event.reason?.message ?? event.reason), { wrong: true }));
