// The list of signals, by what they are about.

import type { Address } from "../base/address";
import { filtersButton, search, select, sortButton, toggles } from "../base/controls";
import { element, replace, type Child } from "../base/element";
import { count, number, share, words } from "../base/format";
import { SEVERITIES } from "../base/kinds";
import { short } from "../base/text";
import { afterRest, inSlices } from "../base/work";
import { badge, command, commonalityBar, empty, icon, raw, severityBadge, timeText } from "../base/widgets";
import type { Document, Signal, SignalsPage } from "../contract";
import { filterSignals, groupSignals, type About } from "./model";
import { showSignal } from "./panel";

const AT_ONCE = 50;

export function showSignalList(into: HTMLElement, page: SignalsPage, document: Document, address: Address): void {
  if (page.signals.length === 0) {
    into.append(
      empty(
        "No signals",
        element("p", {}, "Nothing was raised, or nothing was judged yet:"),
        command(`wsp detect ${document.store_arguments}`),
      ),
    );
    return;
  }
  const contexts = [...new Set(page.signals.map((one) => one.context))].sort();
  const rules = [...new Set(page.signals.map((one) => one.rule))].sort();
  const said = element("span", { class: "shown", role: "status" });
  const list = element("div", { role: "table", "aria-label": "Signals by what they are about", class: "signals" });
  const bodies = element("div", { class: "groups" });
  const hidden = page.signals.filter((one) => one.suppressed_by !== null).length;
  list.append(
    element(
      "div",
      { role: "rowgroup", class: "signals-head" },
      element(
        "div",
        { role: "row", class: "signal-row" },
        sortButton(address, "severity", "Severity", true),
        sortButton(address, "count", "Signals", true),
        sortButton(address, "rule", "What", false),
        sortButton(address, "image", "Workload", false),
        sortButton(address, "context", "Context", false),
        element("div", { role: "columnheader" }, "Commonality"),
        sortButton(address, "containers", "Containers", true),
        sortButton(address, "last", "Last, UTC", true),
      ),
    ),
    bodies,
  );
  const side = element("aside", { class: "side", "aria-label": "Details of the chosen signal", tabindex: "-1" });
  const filters = element(
    "div",
    { class: "filters" },
    toggles(
      address,
      "severity",
      "Severity",
      SEVERITIES.map((severity) => ({ value: severity, label: severity })),
    ),
    toggles(
      address,
      "context",
      "Context",
      contexts.map((context) => ({ value: context, label: words(context) })),
    ),
    select(address, "rule", "Rule", [
      { value: "", label: "All rules" },
      ...rules.map((rule) => ({ value: rule, label: short(rule, 50) })),
    ]),
    hidden > 0 && toggles(address, "suppressed", "Suppressed", [{ value: "yes", label: `Show ${number(hidden)} suppressed` }]),
  );
  into.append(
    element("div", { class: "toolbar" }, search(address, "q", "Search signals"), filtersButton(filters), filters, said),
    element(
      "div",
      { class: "model" },
      element("div", { class: "list", tabindex: "0", role: "region", "aria-label": "List of signals" }, list),
      side,
    ),
  );
  const byId = new Map(page.signals.map((one) => [one.id, one]));
  const open = new Set<string>();
  let stop = () => {};
  const update = () => {
    stop();
    const found = filterSignals(page.signals, address.all());
    const chosen = byId.get(address.get("signal"));
    if (chosen && !found.includes(chosen)) found.push(chosen);
    const groups = groupSignals(found, address.get("sort"));
    replace(
      said,
      found.length < page.signals.length
        ? `${number(found.length)} of ${count(page.signals.length, "signal")}`
        : count(found.length, "signal"),
      `, about ${count(groups.length, "thing")}`,
      page.signals_left_out > 0 && `; ${number(page.signals_left_out)} older ones are not on this page`,
    );
    const group = chosen && groups.find((one) => one.signals.includes(chosen));
    if (group && group.signals.length > 1) open.add(group.key);
    bodies.replaceChildren();
    if (found.length === 0)
      bodies.append(
        empty(
          "No signal passes these filters",
          element(
            "button",
            { type: "button", onclick: () => address.go({ q: null, severity: null, context: null, rule: null }) },
            "Clear filters",
          ),
        ),
      );
    stop = inSlices(
      groups,
      AT_ONCE,
      (one) => bodies.append(groupOf(one, address, open)),
      () => mark(bodies, address),
    );
    mark(bodies, address);
  };
  address.watch(["severity", "context", "rule", "suppressed", "sort"], update);
  const whenTyped = afterRest(120, update);
  let typed = address.get("q");
  address.watch(["q"], () => {
    if (typed !== address.get("q")) whenTyped();
    typed = address.get("q");
  });
  address.watch(["signal"], () => {
    const signal = byId.get(address.get("signal"));
    showSignal(side, signal, page, document, address);
    if (signal && !bodies.querySelector(`[data-signal="${CSS.escape(signal.id)}"]`)) update();
    mark(bodies, address);
  });
}

function mark(bodies: HTMLElement, address: Address): void {
  const wanted = address.get("signal");
  for (const old of bodies.querySelectorAll(".chosen")) old.classList.remove("chosen");
  if (wanted === "") return;
  const row = bodies.querySelector(`[data-signal="${CSS.escape(wanted)}"]`);
  row?.classList.add("chosen");
  row?.scrollIntoView({ block: "nearest" });
}

function groupOf(about: About, address: Address, open: Set<string>): HTMLElement {
  const first = about.signals[0] as Signal;
  const isOne = about.signals.length === 1;
  const section = element("div", { role: "rowgroup", class: `signal-group${about.isSuppressed ? " suppressed" : ""}` });
  const rows = element("div", { class: "signal-rows", role: "presentation" });
  const title = [element("strong", {}, words(about.rule)), raw(short(about.target ?? first.summary, 110))];
  const opener = isOne
    ? element(
        "a",
        { class: "signal-open", href: address.href({ signal: first.id }), onclick: (event) => choose(event, address, first) },
        title,
      )
    : element("button", { type: "button", class: "signal-open" }, icon("right"), title);
  const cell = (label: string, className: string, ...content: Child[]) =>
    element("div", { role: "cell", class: className, "data-label": label }, content);
  section.append(
    element(
      "div",
      { role: "row", class: "signal-row", "data-signal": isOne ? first.id : null },
      cell("", "", severityBadge(about.severity)),
      cell("Signals", "number", number(about.signals.length)),
      cell(
        "",
        "what",
        opener,
        about.exe !== null &&
          about.exe !== about.target &&
          element("div", { class: "muted by" }, "by ", raw(short(about.exe, 80))),
      ),
      cell("", "image", raw(short(about.image ?? "unknown image", 60), "muted")),
      cell("", "", badge(words(about.context), `context-${about.context}`)),
      cell("Commonality", "", commonality(first)),
      cell("Containers", "number", number(about.containers)),
      cell("Last", "number muted", timeText(about.last)),
    ),
    rows,
  );
  if (isOne) return section;
  const put = () => {
    const isOpen = open.has(about.key);
    opener.setAttribute("aria-expanded", String(isOpen));
    rows.replaceChildren();
    if (!isOpen) return;
    inSlices(about.signals, 40, (one) =>
      rows.append(
        element(
          "div",
          { role: "row", class: "signal-line", "data-signal": one.id },
          cell("", "number", timeText(one.time)),
          cell(
            "",
            "what",
            element(
              "a",
              { href: address.href({ signal: one.id }), onclick: (event) => choose(event, address, one) },
              raw(short(one.summary, 120)),
            ),
          ),
          cell("", "", raw(short(one.container_name ?? one.container_id?.slice(0, 12) ?? "unknown container", 40))),
          cell("", "", raw(short(one.host ?? "unknown host", 40), "muted")),
        ),
      ),
    );
    mark(rows, address);
  };
  opener.addEventListener("click", () => {
    if (!open.delete(about.key)) open.add(about.key);
    put();
  });
  put();
  return section;
}

function choose(event: MouseEvent, address: Address, signal: Signal): void {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  address.go({ signal: signal.id });
}

function commonality(signal: Signal): Child {
  if (signal.profile === null) return element("span", { class: "muted" }, "–");
  if (signal.commonality === null) return element("span", { class: "notable" }, "not in profile");
  return element("span", { title: `Of its process: ${share(signal.process_commonality)}` }, commonalityBar(signal.commonality));
}
