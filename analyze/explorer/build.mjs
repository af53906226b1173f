// Bundles the pages' script and style. With --tests: the tests of the pure parts, for node's runner.

import { build } from "esbuild";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const tests = process.argv.includes("--tests");
const outdir = process.argv.find((one) => one.startsWith("--outdir="))?.slice(9) ?? "dist";

if (tests) {
  const contents = readdirSync("src", { recursive: true })
    .filter((path) => path.endsWith(".test.ts"))
    .sort()
    .map((path) => `import "./src/${path}";`)
    .join("\n");
  await build({
    stdin: { contents, resolveDir: "." },
    bundle: true,
    platform: "node",
    format: "esm",
    outfile: "node_modules/.tests/all.mjs",
    sourcemap: "inline",
    logLevel: "warning",
  });
} else {
  mkdirSync(outdir, { recursive: true });
  await build({
    entryPoints: { explorer: "src/main.ts" },
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "ascii",
    legalComments: "none",
    outdir,
    logLevel: "warning",
  });
  await build({
    entryPoints: { explorer: "src/style/main.css" },
    bundle: true,
    minify: true,
    charset: "ascii",
    outdir,
    logLevel: "warning",
  });
  const script = readFileSync(`${outdir}/explorer.js`, "utf8");
  if (/<\/script|<!--/i.test(script)) throw new Error("the script holds what would end its element");
  if (/<\/style/i.test(readFileSync(`${outdir}/explorer.css`, "utf8")))
    throw new Error("the style holds what would end its element");
  const { name, version } = JSON.parse(readFileSync("node_modules/d3-hierarchy/package.json", "utf8"));
  writeFileSync(
    `${outdir}/LICENSES.txt`,
    `explorer.js contains parts of ${name} ${version}:\n\n${readFileSync("node_modules/d3-hierarchy/LICENSE", "utf8")}`,
  );
}
