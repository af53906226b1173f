// Bands from a process to what it did, as wide as they have nodes or events.

import { hierarchy, partition, type HierarchyRectangularNode } from "d3-hierarchy";
import type { Shown } from "../filter";
import type { Item, Model } from "../model";

export type Weight = "nodes" | "events";
type Datum = { readonly item: Item | null; readonly children: Datum[] };
export type Band = HierarchyRectangularNode<Datum>;
export type Icicle = { readonly root: Band; readonly byKey: ReadonlyMap<string, Band> };

/** Widths are shares of 1; `y` is a level, 0 for all there is. Folded nodes are in their pattern. */
export function layOutIcicle(model: Model, shown: Shown, weight: Weight): Icicle {
  const datum = (item: Item): Datum => ({
    item,
    children: item.children.filter((child) => shown.kept.has(child) && child.node?.collapsed_into == null).map(datum),
  });
  const top: Datum = { item: null, children: model.roots.filter((root) => shown.kept.has(root)).map(datum) };
  const own = ({ item }: Datum): number => (!item?.node ? 0 : weight === "nodes" ? 1 : Math.max(0, item.node.events));
  const root = partition<Datum>()(hierarchy(top).sum(own));
  const levels = root.height + 1;
  const byKey = new Map<string, Band>();
  root.each((band) => {
    band.y0 = Math.round(band.y0 * levels);
    band.y1 = band.y0 + 1;
    if (band.data.item) byKey.set(band.data.item.key, band);
  });
  return { root, byKey };
}
