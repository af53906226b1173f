// Draws what of the layout is in sight.

import { fillStep, type Palette } from "../palette";
import { followed, FONTS, rootName, type Chip, type Layout, type Placed } from "./layout";
import type { Box } from "./scene";

export type Marks = { readonly chosen: string; readonly cursor: string | null; readonly over: string | null };

const FAR = 0.42;

export function paintTree(
  context: CanvasRenderingContext2D,
  layout: Layout,
  seen: Box,
  scale: number,
  colours: Palette,
  marks: Marks,
): void {
  context.textBaseline = "middle";
  context.direction = "ltr";
  const visit = (placed: Placed, parent: Placed | null) => {
    if (placed.bottom < seen.top - 40 || placed.top > seen.bottom + 40) return;
    if (parent) link(context, parent, placed, seen, colours);
    for (const child of placed.children) visit(child, placed);
    if (placed.x > seen.right || placed.x + placed.width < seen.left) return;
    const y = followed(placed, seen.top, seen.bottom);
    if (scale < FAR) far(context, placed, y, colours, marks);
    else if (placed.shape === "card") card(context, placed, y, colours, marks);
    else if (placed.shape === "group") group(context, placed, y, colours, marks);
    else fact(context, placed, y, colours, marks);
  };
  for (const root of layout.roots) visit(root, null);
}

function link(context: CanvasRenderingContext2D, parent: Placed, child: Placed, seen: Box, colours: Palette): void {
  const x = parent.x + parent.width;
  const y = followed(parent, seen.top, seen.bottom) + parent.height / 2;
  const to = followed(child, seen.top, seen.bottom) + child.height / 2;
  const middle = x + (child.x - x) / 2;
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, y);
  if (Math.abs(to - y) < 1) context.lineTo(child.x, to);
  else {
    const radius = Math.min(6, Math.abs(to - y) / 2) * Math.sign(to - y);
    context.lineTo(middle - 6, y);
    context.quadraticCurveTo(middle, y, middle, y + radius);
    context.lineTo(middle, to - radius);
    context.quadraticCurveTo(middle, to, middle + 6, to);
    context.lineTo(child.x, to);
  }
  context.stroke();
}

/** From far away colours are seen, and no text. */
function far(context: CanvasRenderingContext2D, placed: Placed, y: number, colours: Palette, marks: Marks): void {
  if (placed.item.node)
    fillStep(
      context,
      colours,
      placed.item.node.commonality,
      placed.x,
      y,
      placed.shape === "card" ? placed.width : Math.min(placed.width, 140),
      placed.height - 2,
    );
  else {
    context.fillStyle = colours.chip;
    context.fillRect(placed.x, y, placed.width, placed.height - 2);
  }
  outline(context, placed, y, colours, marks, null);
}

function outline(
  context: CanvasRenderingContext2D,
  placed: Placed,
  y: number,
  colours: Palette,
  marks: Marks,
  otherwise: string | null,
): void {
  const key = placed.item.key;
  const colour = key === marks.chosen || key === marks.cursor ? colours.strong : key === marks.over ? colours.accent : otherwise;
  if (!colour) return;
  context.strokeStyle = colour;
  context.lineWidth = key === marks.chosen || key === marks.cursor ? 2 : 1;
  context.beginPath();
  context.roundRect(placed.x + 0.5, y + 0.5, placed.width - 1, placed.height - 1, 4);
  context.stroke();
}

function card(context: CanvasRenderingContext2D, placed: Placed, y: number, colours: Palette, marks: Marks): void {
  const node = placed.item.node;
  context.fillStyle = placed.item.key === marks.chosen ? colours.chosen : colours.page;
  context.beginPath();
  context.roundRect(placed.x, y, placed.width, placed.height, 4);
  context.fill();
  fillStep(context, colours, node?.commonality ?? null, placed.x + 1, y + 1, 6, placed.height - 2);
  outline(context, placed, y, colours, marks, colours.line);
  let x = placed.x + 14;
  const root = rootName(placed.item);
  context.font = FONTS.small;
  if (root !== "") {
    const width = context.measureText(root).width + 8;
    context.fillStyle = colours.chip;
    context.beginPath();
    context.roundRect(x, y + 5, width, 16, 3);
    context.fill();
    context.fillStyle = colours.muted;
    context.fillText(root, x + 4, y + 13.5);
    x += width + 6;
  }
  context.fillStyle = colours.muted;
  context.textAlign = "right";
  context.fillText(placed.detail, placed.x + placed.width - 8, y + 13.5);
  context.textAlign = "left";
  context.font = FONTS.name;
  context.fillStyle = placed.isContext ? colours.muted : colours.text;
  context.fillText(placed.label, x, y + 13.5);
  context.font = FONTS.small;
  for (const chip of placed.chips) {
    const isCursor = chip.item.key === marks.cursor;
    const isOpen = placed.children.some((child) => child.item === chip.item);
    context.fillStyle = isOpen ? colours.chosen : colours.chip;
    context.beginPath();
    context.roundRect(placed.x + 12 + chip.x, y + 26 + chip.y, chip.width, 17, 2);
    context.fill();
    if (isCursor || isOpen || chip.item.key === marks.over) {
      context.strokeStyle = isCursor ? colours.strong : colours.accent;
      context.lineWidth = isCursor ? 2 : 1;
      context.stroke();
    }
    context.fillStyle = colours.text;
    context.fillText(chip.text, placed.x + 18 + chip.x, y + 33.5 + chip.y);
    steps(context, colours, chip, placed.x + 12 + chip.x, y + 40 + chip.y);
  }
  if (placed.inside > 0) handle(context, placed, y, colours);
}

/** How common the facts of a chip are, before it is opened. */
function steps(context: CanvasRenderingContext2D, colours: Palette, of: Pick<Chip, "steps" | "width">, x: number, y: number): void {
  const all = of.steps.reduce((sum, one) => sum + one, 0);
  let at = x;
  of.steps.forEach((some, step) => {
    const width = (some / Math.max(1, all)) * of.width;
    context.fillStyle = colours.steps[step] ?? colours.unknown;
    context.fillRect(at, y, width, 3);
    at += width;
  });
}

/** What opens and closes: at the edge from which children hang. */
function handle(context: CanvasRenderingContext2D, placed: Placed, y: number, colours: Palette): void {
  const text = placed.isOpen ? "−" : `+${placed.inside}`;
  context.font = FONTS.small;
  const width = Math.max(15, context.measureText(text).width + 8);
  const x = placed.x + placed.width;
  context.fillStyle = placed.isOpen ? colours.page : colours.accent;
  context.strokeStyle = placed.isOpen ? colours.line : colours.accent;
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(x - 6, y + placed.height / 2 - 7.5, width, 15, 7.5);
  context.fill();
  context.stroke();
  context.fillStyle = placed.isOpen ? colours.muted : colours.page;
  context.textAlign = "center";
  context.fillText(text, x - 6 + width / 2, y + placed.height / 2 + 0.5);
  context.textAlign = "left";
}

function group(context: CanvasRenderingContext2D, placed: Placed, y: number, colours: Palette, marks: Marks): void {
  context.fillStyle = colours.chip;
  context.beginPath();
  context.roundRect(placed.x, y, placed.width, placed.height, 4);
  context.fill();
  steps(context, colours, placed, placed.x, y + placed.height - 3);
  outline(context, placed, y, colours, marks, placed.isOpen ? null : colours.line);
  context.font = FONTS.small;
  context.fillStyle = colours.text;
  context.fillText(placed.label, placed.x + 8, y + placed.height / 2 - 1);
  context.fillStyle = colours.muted;
  context.textAlign = "right";
  context.fillText(placed.detail, placed.x + placed.width - 8, y + placed.height / 2 - 1);
  context.textAlign = "left";
}

function fact(context: CanvasRenderingContext2D, placed: Placed, y: number, colours: Palette, marks: Marks): void {
  const node = placed.item.node;
  if (placed.item.key === marks.chosen) {
    context.fillStyle = colours.chosen;
    context.beginPath();
    context.roundRect(placed.x, y, placed.width, placed.height, 4);
    context.fill();
  }
  outline(context, placed, y, colours, marks, null);
  fillStep(context, colours, node?.commonality ?? null, placed.x + 6, y + 5, 11, 11);
  context.font = FONTS.fact;
  context.fillStyle = placed.isContext ? colours.muted : colours.text;
  context.fillText(placed.label, placed.x + 24, y + placed.height / 2 + 0.5);
  const x = placed.x + 24 + context.measureText(placed.label).width + 10;
  context.font = FONTS.small;
  context.fillStyle = colours.muted;
  context.fillText(placed.detail, x, y + placed.height / 2 + 0.5);
  if (placed.inside > 0) handle(context, placed, y, colours);
}
