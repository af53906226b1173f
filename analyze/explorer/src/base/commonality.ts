// Commonality as a step of a scale: from orange (few containers) to blue (all), told apart with any colour vision, and hatched where it is unknown.

export type Step = { readonly name: string; readonly least: number; readonly below: number };

export const STEPS: readonly Step[] = [
  { name: "under 5 %", least: 0, below: 0.05 },
  { name: "5 to 20 %", least: 0.05, below: 0.2 },
  { name: "20 to 50 %", least: 0.2, below: 0.5 },
  { name: "50 to 80 %", least: 0.5, below: 0.8 },
  { name: "80 to 95 %", least: 0.8, below: 0.95 },
  { name: "95 % and more", least: 0.95, below: Infinity },
];

/** Index into `STEPS`; null where it is unknown. */
export function stepOf(commonality: number | null): number | null {
  if (commonality === null) return null;
  const at = STEPS.findIndex((step) => commonality < step.below);
  return at < 0 ? STEPS.length - 1 : at;
}

export const stepClass = (commonality: number | null): string => {
  const step = stepOf(commonality);
  return step === null ? "step-unknown" : `step-${step}`;
};
