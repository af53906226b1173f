/** A page that is shown, and what its frame may ask of it. */
export type Shown = {
  readonly title: string;
  readonly main: HTMLElement;
  /** Colours changed. */
  readonly repaint: () => void;
  readonly print: (isPrinting: boolean) => void;
  /** Leaves what is open; false where nothing is. */
  readonly escape: () => boolean;
};
