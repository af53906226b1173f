// Suggestions and suppressions: what they say, how that is known, and what they hide.

import type { Address } from "../base/address";
import { search, toggles } from "../base/controls";
import { element, lines, replace, type Child } from "../base/element";
import { count, exactTime, number, ratio, share, words } from "../base/format";
import { KIND_NAMES } from "../base/kinds";
import { short, visible } from "../base/text";
import { inSlices } from "../base/work";
import { badge, bounded, command, commonalityBar, empty, facts, icon, raw, timeText } from "../base/widgets";
import type { Common, Document, Evidence, SignalsPage, Suppression } from "../contract";
import { intervalPlot } from "../profile/panel/interval";
import { decisions } from "./decide";
import { filterSuppressions } from "./model";

export function showSuppressions(
  into: HTMLElement,
  page: SignalsPage,
  document: Document,
  address: Address,
  reload: (said: string) => Promise<void>,
): void {
  if (page.suppressions.length === 0) {
    into.append(
      empty(
        "No suggestions",
        element("p", {}, "Known behaviour that raises signals is proposed to be hidden by:"),
        command(`wsp suppress suggest ${document.store_arguments}`),
      ),
    );
    return;
  }
  const said = element("span", { class: "shown", role: "status" });
  const states = (["suggested", "accepted", "rejected", "removed"] as const).filter((state) =>
    page.suppressions.some((one) => one.state === state),
  );
  const list = element("div", { class: "suppressions" });
  into.append(
    element(
      "div",
      { class: "toolbar" },
      search(address, "sq", "Search suppressions"),
      toggles(
        address,
        "state",
        "State",
        states.map((state) => ({
          value: state,
          label: `${state} ${number(page.suppressions.filter((one) => one.state === state).length)}`,
        })),
      ),
      said,
    ),
    list,
  );
  const reveal = () => {
    const chosen = [...list.querySelectorAll<HTMLDetailsElement>("details.suppression")].find(
      (one) => one.dataset["id"] === address.get("suppression"),
    );
    if (!chosen) return;
    chosen.open = true;
    chosen.scrollIntoView({ block: "nearest" });
  };
  let stop = () => {};
  const update = () => {
    stop();
    const found = filterSuppressions(page.suppressions, address.all());
    replace(
      said,
      found.length === page.suppressions.length
        ? count(found.length, "suppression")
        : `${number(found.length)} of ${count(page.suppressions.length, "suppression")}`,
    );
    list.replaceChildren();
    if (found.length === 0)
      list.append(
        empty(
          "No suppression passes these filters",
          element("button", { type: "button", onclick: () => address.go({ sq: null, state: null }) }, "Clear filters"),
        ),
      );
    stop = inSlices(found, 30, (one) => list.append(item(one, page, document, address, reload)), reveal);
  };
  address.watch(["sq", "state"], update);
  address.watch(["suppression"], reveal);
}

function item(
  one: Suppression,
  page: SignalsPage,
  document: Document,
  address: Address,
  reload: (said: string) => Promise<void>,
): HTMLElement {
  const { evidence } = one;
  const made = element(
    "details",
    { class: "suppression", "data-id": one.id, open: address.get("suppression") === one.id },
    element(
      "summary",
      {},
      icon("right"),
      element("span", { class: "suppression-state" }, badge(one.state, `state-${one.state}`)),
      element(
        "span",
        { class: "suppression-title" },
        element("strong", {}, words(one.rule)),
        " ",
        raw(short(evidence?.target ?? one.predicate, 110)),
        element(
          "span",
          { class: "muted suppression-image raw" },
          one.scope === "all" ? "all images" : short(one.image ?? "", 80),
          one.scope === "image" && ", all tags",
        ),
      ),
      evidence &&
        element(
          "span",
          { class: "suppression-common" },
          commonalityBar(evidence.node.commonality),
          element("span", { class: "muted number" }, ratio(evidence.node.containers, evidence.node.eligible)),
        ),
      element(
        "span",
        { class: "suppression-effect number" },
        one.state === "accepted" ? `hides ${number(one.hides)}` : `would hide ${number(one.would_hide)}`,
      ),
    ),
  );
  const fill = () => {
    if (made.childElementCount > 1) return;
    made.append(
      element(
        "div",
        { class: "suppression-body" },
        element(
          "div",
          {},
          element("h3", {}, "Predicate"),
          element(
            "pre",
            { class: "predicate", tabindex: "0", role: "region", "aria-label": "Predicate" },
            lines(one.predicate),
          ),
          facts(
            [
              "Scope",
              one.scope === "workload" ? "this image and tag" : one.scope === "image" ? "all tags of this image" : "all images",
            ],
            ["Changed", exactTime(one.changed_at)],
            one.author !== null && ["By", raw(visible(one.author), "long")],
            one.reason !== null && ["Reason", raw(visible(one.reason), "long")],
            one.expires_at !== null && ["Expires", exactTime(one.expires_at)],
            ["Id", element("code", {}, one.id)],
          ),
          decisions(one, document, reload),
        ),
        evidence
          ? evidenceOf(evidence, address, profileOf(evidence, page, document))
          : element(
              "div",
              {},
              element("h3", {}, "Evidence"),
              element("p", { class: "muted" }, "None: somebody wrote it by hand."),
            ),
      ),
    );
  };
  made.addEventListener("toggle", () => {
    fill();
    if (made.open && address.get("suppression") !== one.id) address.go({ suppression: one.id });
    else if (!made.open && address.get("suppression") === one.id) address.go({ suppression: null });
  });
  if (made.open) fill();
  return made;
}

/** The page of the profile that judged the signals. */
function profileOf(evidence: Evidence, page: SignalsPage, document: Document): string | null {
  const samples = new Set(evidence.samples);
  const href = page.signals.find((one) => samples.has(one.id))?.profile_href ?? null;
  return href === null ? null : document.root + href;
}

function evidenceOf(evidence: Evidence, address: Address, profile: string | null): HTMLElement {
  const common = (title: string, one: Common): Child =>
    element(
      "div",
      { class: "evidence-node" },
      element(
        "p",
        {},
        profile === null ? title : element("a", { href: `${profile}#node=${encodeURIComponent(one.id)}` }, title),
        " ",
        commonalityBar(one.commonality),
        element(
          "span",
          { class: "muted number" },
          ` ${ratio(one.containers, one.eligible)} containers on ${count(one.hosts, "host")}`,
        ),
      ),
      intervalPlot(one.commonality, ...one.interval),
    );
  return element(
    "div",
    {},
    element("h3", {}, "Evidence"),
    common(`The ${KIND_NAMES[evidence.kind].one}`, evidence.node),
    evidence.process.id !== evidence.node.id && common("Its process", evidence.process),
    facts(
      ["What", raw(visible(evidence.target), "long")],
      evidence.pattern !== null && ["Pattern", raw(visible(evidence.pattern), "long")],
      ["Done by", raw(visible(evidence.exe), "long")],
      ["Lineage", raw(evidence.lineage.map((one) => short(one, 80)).join(" → "), "long")],
      [
        "Profile",
        `revision ${number(evidence.revision)}, ${count(evidence.profile_containers, "container")} on ${count(evidence.profile_hosts, "host")}, coverage ${share(evidence.coverage)}, complete in ${share(evidence.completeness)}`,
      ],
      [
        "Signals",
        `${number(evidence.signals)} in ${count(evidence.snapshots, "snapshot")} of ${count(evidence.containers, "container")} on ${count(evidence.hosts, "host")}`,
      ],
      ["From, to", [timeText(evidence.first), " – ", timeText(evidence.last), " UTC"]],
      ["Containers", bounded(evidence.container_names, 5, (name) => raw(short(name, 60)), "ul", "inline")],
      ["Hosts", bounded(evidence.host_names, 5, (name) => raw(short(name, 60)), "ul", "inline")],
      [
        "Samples",
        bounded(
          evidence.samples,
          5,
          (id) =>
            element(
              "a",
              {
                href: address.href({
                  tab: null,
                  suppression: null,
                  q: null,
                  severity: null,
                  context: null,
                  rule: null,
                  signal: id,
                }),
              },
              element("code", {}, short(id, 24)),
            ),
          "ul",
          "inline",
        ),
      ],
    ),
  );
}
