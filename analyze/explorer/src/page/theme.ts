// Light or dark: as the system has it, until somebody says otherwise.

import { element } from "../base/element";
import { icon } from "../base/widgets";

const KEY = "wsp-theme";

/** Pages from files may be without storage. */
function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

const isDark = (): boolean =>
  (document.documentElement.dataset["theme"] ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) ===
  "dark";

export function themeSwitch(repaint: () => void): HTMLElement {
  const wanted = stored();
  if (wanted === "light" || wanted === "dark") document.documentElement.dataset["theme"] = wanted;
  const button = element("button", { type: "button", class: "quiet icon-button", "data-key": "t" }, icon("theme"));
  const name = () => {
    const text = isDark() ? "Use light colours (t)" : "Use dark colours (t)";
    button.setAttribute("aria-label", text);
    button.title = text;
  };
  name();
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset["theme"] = next;
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // Then it holds for this page only.
    }
    name();
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    name();
    repaint();
  });
  return button;
}
