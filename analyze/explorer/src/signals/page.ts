// Signals, and what is done about those that are known behaviour.

import type { Address } from "../base/address";
import { tabs } from "../base/controls";
import { element } from "../base/element";
import { number } from "../base/format";
import type { Document, SignalsPage } from "../contract";
import type { Shown } from "../page/shown";
import { showSignalList } from "./list";
import { showSuppressions } from "./suppressions";

export function signalsPage(
  document: Document,
  page: SignalsPage,
  address: Address,
  reload: (said: string) => Promise<void>,
): Shown {
  const open = page.signals.filter((one) => one.suppressed_by === null).length;
  const suggested = page.suppressions.filter((one) => one.state === "suggested").length;
  const main = element(
    "main",
    { id: "main", class: "page-signals", tabindex: "-1" },
    element("h1", { class: "unseen" }, "Signals"),
    tabs(address, "Signals and suppressions", [
      {
        name: "signals",
        label: ["Signals", element("span", { class: "tab-count" }, number(open))],
        show: (into) => showSignalList(into, page, document, address),
      },
      {
        name: "suppressions",
        label: ["Suppressions", suggested > 0 && element("span", { class: "tab-count" }, `${number(suggested)} suggested`)],
        show: (into) => showSuppressions(into, page, document, address, reload),
      },
    ]),
  );
  return {
    title: "Signals",
    main,
    repaint: () => {},
    print: () => {},
    escape: () => address.get("signal") !== "" && (address.go({ signal: null }), true),
  };
}
