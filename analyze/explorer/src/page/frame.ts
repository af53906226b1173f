// What is around every page: where one is, the way to the others, and when and from what it was written.

import { element } from "../base/element";
import { short } from "../base/text";
import { timeText } from "../base/widgets";
import type { Document } from "../contract";
import { helpDialog, listenForKeys } from "./keys";
import type { Shown } from "./shown";
import { themeSwitch } from "./theme";

export class Frame {
  private shown: Shown | null = null;
  private readonly place: HTMLElement;
  private readonly said: HTMLElement;

  constructor(document_: Document) {
    const help = helpDialog();
    const repaint = () => this.shown?.repaint();
    const here = document_.page.name;
    const link = (href: string, text: string, isHere: boolean) =>
      element("a", { href: document_.root + href, "aria-current": isHere ? "page" : null }, text);
    this.place = element("div", { class: "place" });
    this.said = element("p", { class: "said", role: "status", hidden: true });
    const skip = element("a", { class: "skip", href: "#main" }, "To the content");
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById("main")?.focus();
    });
    // The document stays, so that the page can be saved from the browser as it is.
    document.body.querySelectorAll(":scope > :not(script)").forEach((one) => one.remove());
    document.body.prepend(
      skip,
      element(
        "header",
        { class: "masthead" },
        element("a", { class: "brand", href: `${document_.root}index.html` }, "Workload Security Profiles"),
        element(
          "nav",
          { "aria-label": "Pages" },
          link("index.html", "Profiles", here === "profiles"),
          link("signals.html", "Signals", here === "signals"),
        ),
        element("span", { class: "store muted raw", title: `Store: ${document_.store}` }, short(document_.store, 60)),
        document_.only_image !== null &&
          element("span", { class: "muted" }, "only ", element("span", { class: "raw" }, short(document_.only_image, 60))),
        element(
          "span",
          { class: "masthead-end" },
          element(
            "button",
            {
              type: "button",
              class: "quiet icon-button",
              "aria-label": "Keys (?)",
              title: "Keys (?)",
              onclick: () => help.showModal(),
            },
            "?",
          ),
          themeSwitch(repaint),
        ),
      ),
      this.place,
      element(
        "footer",
        { class: "foot muted" },
        element(
          "span",
          {},
          "Written ",
          timeText(document_.generated_at),
          " by ",
          short(document_.writer, 40),
          document_.mode.kind === "live" ? ", live" : ", a report",
          element("span", { class: "store-below raw" }, ` of ${short(document_.store, 80)}`),
        ),
        element("span", {}, "Times are UTC."),
      ),
      this.said,
      help,
    );
    listenForKeys(() => this.shown as Shown, help);
    window.addEventListener("beforeprint", () => this.shown?.print(true));
    window.addEventListener("afterprint", () => this.shown?.print(false));
  }

  /** What was done, for a while. */
  say(text: string): void {
    this.said.textContent = text;
    this.said.hidden = false;
    setTimeout(() => {
      this.said.hidden = true;
    }, 8000);
  }

  show(shown: Shown): void {
    this.shown = shown;
    this.place.replaceChildren(shown.main);
  }
}
