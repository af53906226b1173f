// The page of one profile: what it is, its model in three views, and what is beside the model.

import type { Address } from "../base/address";
import { tabs } from "../base/controls";
import { append, element, replace, type Child } from "../base/element";
import { count, number } from "../base/format";
import { command, empty } from "../base/widgets";
import type { Document, ProfilePage } from "../contract";
import { IcicleView } from "./icicle/view";
import { showPanel } from "./panel/panel";
import { Session } from "./session";
import { summary } from "./summary";
import { TableView } from "./table/view";
import { showLearning } from "./tabs/learning";
import { showRunning } from "./tabs/running";
import { showSignals } from "./tabs/signals";
import { showSnapshots } from "./tabs/snapshots";
import { showVersions } from "./tabs/versions";
import { toolbar } from "./toolbar";
import { TreeView } from "./tree/view";
import type { Shown } from "../page/shown";

export function profilePage(document: Document, page: ProfilePage, address: Address): Shown {
  const { root } = document;
  const store = document.store_arguments;
  let model: ReturnType<typeof showModel> | null = null;
  const named = (text: string, many: number): Child => [text, many > 0 && element("span", { class: "tab-count" }, number(many))];
  const refused = page.snapshots.filter((one) => one.ordinal === null).length;
  const body = tabs(address, "Parts of the profile", [
    { name: "model", label: "Behaviour", show: (into) => (model = showModel(into, page, address, root, store)) },
    { name: "snapshots", label: named("Snapshots", page.snapshots.length - refused), show: (into) => showSnapshots(into, page) },
    {
      name: "signals",
      label: named("Signals", page.signals.length + page.signals_left_out),
      show: (into) => showSignals(into, page, address, root, store),
    },
    { name: "running", label: named("Running", page.running.length), show: (into) => showRunning(into, page) },
    { name: "learning", label: "Learning", show: (into) => showLearning(into, page, address) },
    {
      name: "versions",
      label: named("Versions", page.versions.length),
      show: (into) => showVersions(into, page, address, root, store),
    },
  ]);
  return {
    title: page.profile.image,
    main: element("main", { id: "main", class: "page-profile", tabindex: "-1" }, summary(page.profile), body),
    repaint: () => model?.repaint(),
    print: (isPrinting) => model?.print(isPrinting),
    escape: () => address.get("node") !== "" && (address.go({ node: null }), true),
  };
}

function showModel(
  into: HTMLElement,
  page: ProfilePage,
  address: Address,
  root: string,
  store: string,
): { repaint: () => void; print: (isPrinting: boolean) => void } | null {
  if (page.nodes.length === 0) {
    into.append(
      empty(
        "No nodes yet",
        element("p", {}, "No merged snapshot of this image holds anything that was seen. New snapshots are merged with:"),
        command(`wsp merge ${store}`),
      ),
    );
    return null;
  }
  const session = new Session(page, address);
  const views = { tree: new TreeView(session), icicle: new IcicleView(session, address), table: new TableView(session, address) };
  type Name = keyof typeof views;
  const side = element("aside", { class: "side", "aria-label": "Details of the chosen node", tabindex: "-1" });
  const nothing = element("div", { class: "nothing" });
  const stage = element(
    "div",
    { class: "stages" },
    Object.values(views).map((view) => view.host),
    nothing,
  );
  append(
    into,
    toolbar(session),
    element("div", { class: "model" }, stage, side),
    page.nodes_left_out > 0 &&
      element("p", { class: "muted" }, `${count(page.nodes_left_out, "node")} did not fit on this page.`),
  );
  address.watch(["view"], () => {
    const wanted = address.get("view", "tree");
    for (const name of Object.keys(views) as Name[]) {
      const isWanted = name === wanted || (name === "tree" && !(wanted in views));
      views[name].host.hidden = !isWanted;
      if (isWanted) views[name].show();
      else views[name].hide();
    }
  });
  const update = () => {
    const isEmpty = session.shown.kept.size === 0;
    nothing.hidden = !isEmpty;
    if (isEmpty)
      replace(nothing, empty("No node passes these filters", element("p", {}, "Clear filters shows all of them again.")));
  };
  session.listen((what) => (what === "rows" ? update() : showPanel(side, session, root)));
  update();
  showPanel(side, session, root);
  return {
    repaint: () => {
      views.tree.redraw();
      views.icicle.redraw();
    },
    print: (isPrinting) => views.table.print(isPrinting),
  };
}
