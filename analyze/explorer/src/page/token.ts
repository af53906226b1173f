// What proves that one may write. It comes in the address once, and does not stay there.

import { formatState, parseState } from "../base/address";

const KEY = "wsp-token";
let memory: string | null = null;

export function takeToken(): void {
  const state = parseState(location.hash);
  const token = state.get("token");
  if (token === undefined) return;
  state.delete("token");
  const rest = formatState(state);
  history.replaceState(null, "", `${location.pathname}${location.search}${rest === "" ? "" : `#${rest}`}`);
  keepToken(token);
}

export function keepToken(token: string): void {
  memory = token;
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // Then it is asked for again after the page was left.
  }
}

export function token(): string | null {
  try {
    return sessionStorage.getItem(KEY) ?? memory;
  } catch {
    return memory;
  }
}
