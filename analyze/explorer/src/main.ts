// Reads the document, and shows the page that it is of.

import { Address } from "./base/address";
import { element } from "./base/element";
import type { Document } from "./contract";
import { Frame } from "./page/frame";
import { embedded, fetched } from "./page/load";
import type { Shown } from "./page/shown";
import { takeToken } from "./page/token";
import { forgetPalette } from "./profile/palette";
import { profilePage } from "./profile/page";
import { profilesPage } from "./profiles/page";
import { signalsPage } from "./signals/page";

function pageOf(document: Document, address: Address, reload: (said: string) => Promise<void>): Shown {
  const { page } = document;
  switch (page.name) {
    case "profiles":
      return profilesPage(document, page, address);
    case "profile":
      return profilePage(document, page, address);
    case "signals":
      return signalsPage(document, page, address, reload);
  }
}

function start(): void {
  takeToken();
  const first = embedded();
  const address = new Address();
  const frame = new Frame(first);
  const show = (document_: Document) => {
    address.forgetWatchers();
    const shown = pageOf(document_, address, async (said) => {
      frame.say(said);
      const at = window.scrollY;
      show(await fetched());
      window.scrollTo(0, at);
      document.getElementById("main")?.focus({ preventScroll: true });
    });
    frame.show({
      ...shown,
      repaint: () => {
        forgetPalette();
        shown.repaint();
      },
    });
    globalThis.document.title = `${shown.title} · Workload Security Profiles`;
  };
  show(first);
  performance.mark("interactive");
}

try {
  start();
} catch (problem) {
  document.body.replaceChildren(
    element(
      "main",
      { class: "failure" },
      element("h1", {}, "This page cannot be shown"),
      element("p", {}, String(problem instanceof Error ? problem.message : problem)),
    ),
  );
  throw problem;
}
