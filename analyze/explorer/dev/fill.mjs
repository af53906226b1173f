// Makes a page of the shell and a document, as the program does.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");
const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const ESCAPES = { "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029" };
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export const embed = (document) => JSON.stringify(document).replace(/[<>&\u2028\u2029]/g, (one) => ESCAPES[one]);

export function fill(document, title) {
  const style = read("dist/explorer.css");
  const script = read("dist/explorer.js");
  const connect = document.mode.kind === "live" ? "'self'" : "'none'";
  const csp = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data:; connect-src ${connect}; base-uri 'none'; form-action 'none'`;
  const values = { title: title.replace(/[&<>"']/g, (one) => ENTITIES[one]), csp, style, script, document: embed(document) };
  return read("page.html").replace(/\{\{(\w+)\}\}/g, (_, name) => values[name]);
}
