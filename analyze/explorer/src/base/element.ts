// Elements, made without markup: every text becomes a text node, and hidden characters in it are shown.

import { visible } from "./text";

export type Child = globalThis.Node | string | number | null | undefined | false | readonly Child[];
type Listeners = { [name in keyof HTMLElementEventMap as `on${name}`]?: (event: HTMLElementEventMap[name]) => void };
export type Attributes = { [name: string]: unknown } & Listeners;

const SVG = "http://www.w3.org/2000/svg";

function put(target: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) target.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) target.setAttribute(name, "");
    else target.setAttribute(name, visible(String(value)));
  }
}

export function append(target: Element, ...children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (child instanceof globalThis.Node) target.appendChild(child);
    else if (Array.isArray(child)) append(target, ...(child as Child[]));
    else target.appendChild(document.createTextNode(visible(String(child))));
  }
}

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  put(made, attributes);
  append(made, ...children);
  return made;
}

export function svg<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[Tag] {
  const made = document.createElementNS(SVG, tag);
  put(made, attributes);
  append(made, ...children);
  return made;
}

export function replace(target: Element, ...children: Child[]): void {
  target.replaceChildren();
  append(target, ...children);
}

/** A custom property by CSSOM: a style attribute would be refused. */
export function property<Target extends HTMLElement | SVGElement>(target: Target, name: string, value: string): Target {
  target.style.setProperty(name, value);
  return target;
}

/** Text of several lines, each shown as it is. */
export function lines(text: string): Child[] {
  return text.split("\n").flatMap((line, at) => (at === 0 ? [line] : [document.createElement("br"), line]));
}
