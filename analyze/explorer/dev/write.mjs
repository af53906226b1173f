// Writes pages of fixtures: node dev/write.mjs FOLDER [--seed N] [--profiles N] [--large N]

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { fill } from "./fill.mjs";
import { makeProfiles, makeReport, wrap } from "./fixtures.mjs";
import { Random } from "./random.mjs";

/** Names of pages, by what they are for. */
export function writeReport(folder, options = {}) {
  const { pages, named } = makeReport(options);
  const extra = new Random((options.seed ?? 1) + 1);
  pages.set("many.html", [wrap({ name: "profiles", profiles: makeProfiles(extra, 2000) }), "Many profiles"]);
  pages.set("none.html", [wrap({ name: "profiles", profiles: [] }), "No profiles"]);
  pages.set("no-signals.html", [
    wrap({ name: "signals", signals: [], signals_left_out: 0, around: {}, suppressions: [], rules: [] }),
    "No signals",
  ]);
  for (const [path, [document, title]] of pages) {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, fill(document, title));
  }
  const paths = Object.fromEntries(Object.entries(named).map(([name, made]) => [name, made.profile.href]));
  return {
    index: "index.html",
    signals: "signals.html",
    many: "many.html",
    none: "none.html",
    noSignals: "no-signals.html",
    ...paths,
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: { type: "string" }, profiles: { type: "string" }, large: { type: "string" } },
  });
  if (positionals.length !== 1) throw new Error("usage: node dev/write.mjs FOLDER [--seed N] [--profiles N] [--large N]");
  const options = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
  console.log(writeReport(positionals[0], options));
}
