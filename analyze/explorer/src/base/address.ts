// The state of a page lives in its address, so that every state can be linked to.

export type State = ReadonlyMap<string, string>;
export type Changes = { [key: string]: string | null };

/** `#view=table&node=…`, in the order of keys, so that one state has one address. */
export function formatState(state: State): string {
  const parameters = new URLSearchParams([...state].filter(([, value]) => value !== "").sort(([a], [b]) => (a < b ? -1 : 1)));
  return parameters.toString();
}

export function parseState(hash: string): Map<string, string> {
  return new Map(new URLSearchParams(hash.replace(/^#/, "")));
}

export function changed(state: State, changes: Changes): Map<string, string> {
  const next = new Map(state);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(key);
    else next.set(key, value);
  }
  return next;
}

type Watcher = { keys: readonly string[]; run: () => void };

export class Address {
  private state: Map<string, string>;
  private watchers: Watcher[] = [];
  private pending: ReturnType<typeof setTimeout> | null = null;

  constructor() {
    this.state = parseState(location.hash);
    const read = () => {
      this.flush();
      this.apply(parseState(location.hash));
    };
    window.addEventListener("popstate", read);
    window.addEventListener("hashchange", read);
  }

  get(key: string, otherwise = ""): string {
    return this.state.get(key) ?? otherwise;
  }

  all(): State {
    return this.state;
  }

  /** A step to go back to. */
  go(changes: Changes): void {
    const next = changed(this.state, changes);
    if (formatState(next) === formatState(this.state)) return;
    this.flush();
    history.pushState(null, "", `#${formatState(next)}`);
    this.apply(next);
  }

  /** The same step, further: typing, moving along rows. Written late, as browsers bound how often that may be. */
  adjust(changes: Changes): void {
    const next = changed(this.state, changes);
    if (formatState(next) === formatState(this.state)) return;
    if (this.pending !== null) clearTimeout(this.pending);
    this.pending = setTimeout(() => this.flush(), 250);
    this.apply(next);
  }

  /** For a link that changes this much. */
  href(changes: Changes): string {
    return `#${formatState(changed(this.state, changes))}`;
  }

  /** Runs now, and whenever one of the keys changes. */
  watch(keys: readonly string[], run: () => void): void {
    this.watchers.push({ keys, run });
    run();
  }

  forgetWatchers(): void {
    this.watchers = [];
  }

  private flush(): void {
    if (this.pending === null) return;
    clearTimeout(this.pending);
    this.pending = null;
    history.replaceState(null, "", `#${formatState(this.state)}`);
  }

  private apply(next: Map<string, string>): void {
    const before = this.state;
    this.state = next;
    const differs = (key: string) => before.get(key) !== next.get(key);
    for (const { keys, run } of [...this.watchers]) if (keys.some(differs)) run();
  }
}
