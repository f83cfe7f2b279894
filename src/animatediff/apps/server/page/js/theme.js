/** Light or dark: as the system says, until the page is told otherwise. */

import { button } from "./dom.js";
import { remember, remembered } from "./store.js";

/** Apply the remembered choice; called before anything is drawn. */
export function applyTheme() {
  const theme = remembered("theme", null);
  if (theme) document.documentElement.dataset.theme = theme;
}

/** A button that switches between light and dark. */
export function themeButton() {
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  return button("Switch between light and dark", {
    glyph: "sun",
    iconOnly: true,
    quiet: true,
    onclick: () => {
      const theme = dark() ? "light" : "dark";
      document.documentElement.dataset.theme = theme;
      remember("theme", theme);
    },
  });
}
