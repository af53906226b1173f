// Colours of the style sheet, for canvases.

import { STEPS, stepOf } from "../base/commonality";

export type Palette = {
  readonly text: string;
  readonly muted: string;
  readonly line: string;
  readonly surface: string;
  readonly page: string;
  readonly accent: string;
  readonly chosen: string;
  readonly strong: string;
  readonly chip: string;
  readonly steps: readonly string[];
  readonly onSteps: readonly string[];
  readonly unknown: string;
};

let cached: Palette | null = null;

/** Colours that depend on the scheme are known only once they are computed for an element. */
export function palette(): Palette {
  if (cached) return cached;
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const read = (name: string) => {
    probe.style.setProperty("color", `var(--${name})`);
    return getComputedStyle(probe).color;
  };
  cached = {
    text: read("text"),
    muted: read("muted"),
    line: read("line-strong"),
    surface: read("surface"),
    page: read("page"),
    accent: read("accent"),
    chosen: read("chosen"),
    strong: read("focus"),
    chip: read("chip"),
    steps: STEPS.map((_, at) => read(`step-${at}`)),
    onSteps: STEPS.map((_, at) => read(`on-step-${at}`)),
    unknown: read("step-unknown"),
  };
  probe.remove();
  return cached;
}

export function forgetPalette(): void {
  cached = null;
}

/** A filled shape, hatched where the commonality is unknown. */
export function fillStep(
  context: CanvasRenderingContext2D,
  colours: Palette,
  commonality: number | null,
  x: number,
  y: number,
  width: number,
  height: number,
): void {
  const step = stepOf(commonality);
  context.fillStyle = step === null ? colours.page : (colours.steps[step] ?? colours.unknown);
  context.fillRect(x, y, width, height);
  if (step !== null) return;
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colours.unknown;
  context.lineWidth = 1.2;
  context.beginPath();
  for (let at = x - height; at < x + width; at += 4) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  context.restore();
}
