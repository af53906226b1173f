// Decisions on suppressions: a form where a server takes them, the command to copy where none does.

import { element, replace, type Child } from "../base/element";
import { count, number } from "../base/format";
import { copyable } from "../base/widgets";
import { keepToken, token } from "../page/token";
import type { DecisionAnswer, DecisionRequest, Document, Refusal, Suppression } from "../contract";

type Decision = DecisionRequest["decision"];

const NAMES: { readonly [decision in Decision]: string } = { accept: "Accept", reject: "Reject", remove: "Undo" };

const DONE: { readonly [decision in Decision]: string } = { accept: "Accepted", reject: "Rejected", remove: "Undone" };

const said = (problem: unknown): string => (problem instanceof Error ? problem.message : String(problem));

const ALL: readonly Decision[] = ["accept", "reject", "remove"];

/** What has a command can be decided. */
export const possible = (one: Suppression): Decision[] => ALL.filter((decision) => one.commands[decision] !== null);

export class Refused extends Error {
  constructor(
    message: string,
    readonly hint: string | null,
    readonly asksForToken = false,
  ) {
    super(message);
  }
}

export async function send(root: string, id: string, request: DecisionRequest, proof: string | null): Promise<DecisionAnswer> {
  let answer: Response;
  try {
    answer = await fetch(`${root}api/suppressions/${encodeURIComponent(id)}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(proof === null ? {} : { Authorization: `Bearer ${proof}` }) },
      body: JSON.stringify(request),
    });
  } catch {
    throw new Refused("the server does not answer", "Is it still running?");
  }
  if (answer.ok) return (await answer.json()) as DecisionAnswer;
  const refusal = (await answer.json().catch(() => null)) as Refusal | null;
  const asksForToken = answer.status === 401;
  const hint = asksForToken ? "Open the address that the server printed, with its token, or enter the token here." : null;
  throw new Refused(refusal?.error ?? `the server answered ${answer.status}`, refusal?.hint ?? hint, asksForToken);
}

let lastAuthor = "";

/** Buttons, and below them what the chosen one needs. */
export function decisions(one: Suppression, document: Document, done: (said: string) => Promise<void>): Child {
  const can = possible(one);
  const { mode } = document;
  if (mode.kind !== "live" || !mode.may_write || !one.is_decidable)
    return commands(one, can, mode.kind === "live" && !one.is_decidable);
  const place = element("div", { class: "decision" });
  const buttons = can.map((decision) =>
    element(
      "button",
      {
        type: "button",
        class: decision === "accept" ? "primary" : "",
        "aria-expanded": "false",
        "data-decision": decision,
        onclick: () => {
          buttons.forEach((button, at) => button.setAttribute("aria-expanded", String(can[at] === decision)));
          replace(
            place,
            form(one, decision, document, done, () => {
              replace(place);
              buttons.forEach((button) => button.setAttribute("aria-expanded", "false"));
              buttons[can.indexOf(decision)]?.focus();
            }),
          );
          place.querySelector<HTMLElement>("input")?.focus();
        },
      },
      NAMES[decision],
    ),
  );
  return [element("div", { class: "row" }, buttons), place];
}

function commands(one: Suppression, can: readonly Decision[], isWide: boolean): Child {
  const shown = can.flatMap((decision) => {
    const text = one.commands[decision];
    return text === null
      ? []
      : [
          element(
            "div",
            { class: "decide-command" },
            element("span", { class: "muted" }, NAMES[decision]),
            copyable(text, `command to ${NAMES[decision].toLowerCase()}`, text, true),
          ),
        ];
  });
  return [
    isWide &&
      element(
        "p",
        { class: "muted" },
        "It is for more than one image and tag, or its rule is never suppressed: decide by command, where what else it hides is listed.",
      ),
    shown,
  ];
}

function form(
  one: Suppression,
  decision: Decision,
  document: Document,
  done: (said: string) => Promise<void>,
  cancel: () => void,
): HTMLElement {
  const field = (label: string, input: HTMLInputElement, isRequired: boolean) =>
    element("label", {}, element("span", {}, label, !isRequired && element("span", { class: "muted" }, " (optional)")), input);
  const author = element("input", { type: "text", required: true, autocomplete: "username", maxlength: "200" });
  author.value = lastAuthor;
  const reason = element("input", { type: "text", required: true, maxlength: "2000", autocomplete: "off" });
  const expires = element("input", { type: "date" });
  const proof = element("input", { type: "password", autocomplete: "off" });
  const failure = element("div", { class: "problem", role: "alert" });
  const submit = element(
    "button",
    { type: "submit", class: "primary" },
    decision === "accept"
      ? `Accept and hide ${count(one.would_hide, "open signal")}`
      : decision === "reject"
        ? "Reject"
        : `Undo and show ${count(one.hides, "signal")}`,
  );
  const made = element(
    "form",
    { novalidate: false },
    decision === "accept" &&
      element(
        "p",
        {},
        `It hides ${count(one.would_hide, "open signal")} now, and what matches it from now on. Hidden signals stay in the table, marked, and this can be undone.`,
      ),
    decision === "accept" &&
      element(
        "p",
        { class: "notable" },
        "What an attacker did in 80 % or more of the containers that the profile learned from is known behaviour too.",
      ),
    decision === "reject" && element("p", {}, "It will not be suggested again. Nothing is hidden."),
    decision === "remove" && element("p", {}, `${count(one.hides, "signal")} that it hides will be open again.`),
    element(
      "div",
      { class: "fields" },
      field("Author", author, true),
      field("Reason", reason, true),
      decision === "accept" && field("Expires at the end of, UTC", expires, false),
      token() === null && field("Token", proof, true),
    ),
    failure,
    element("div", { class: "row" }, submit, element("button", { type: "button", onclick: cancel }, "Cancel")),
  );
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    lastAuthor = author.value;
    if (proof.value !== "") keepToken(proof.value);
    submit.disabled = true;
    replace(failure);
    const request: DecisionRequest = {
      decision,
      change: one.change,
      predicate: one.predicate,
      author: author.value.trim() || null,
      reason: reason.value.trim() || null,
      expires_at: expires.value === "" ? null : `${expires.value}T23:59:59.000Z`,
    };
    send(document.root, one.id, request, token())
      .then(async (answer) => {
        await done(`${DONE[decision]}: ${number(answer.hidden)} hidden, ${number(answer.shown)} shown again.`).catch(
          (problem: unknown) => {
            throw new Refused(
              `${DONE[decision]}, but the page could not be loaded anew: ${said(problem)}`,
              "Reload it in the browser.",
            );
          },
        );
      })
      .catch((problem: unknown) => {
        submit.disabled = false;
        const refused = problem instanceof Refused ? problem : new Refused(said(problem), null);
        const asks = refused.asksForToken && made.querySelector("[type=password]") === null;
        replace(
          failure,
          element("strong", {}, refused.message),
          refused.hint !== null && element("span", {}, " ", refused.hint),
          asks && element("div", { class: "fields" }, field("Token", proof, true)),
        );
      });
  });
  return made;
}
