// What the sources promise.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { embed, fill } from "../../analyze/explorer/dev/fill.mjs";
import { HOSTILE } from "../../analyze/explorer/dev/behaviour.mjs";
import { wrap } from "../../analyze/explorer/dev/fixtures.mjs";

const explorer = new URL("../../analyze/explorer/", import.meta.url);
const read = (path) => readFileSync(new URL(path, explorer), "utf8");

test("nothing makes elements of markup, or code of text", () => {
  const sources = readdirSync(new URL("src", explorer), { recursive: true })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => `src/${path}`);
  assert.ok(sources.length > 20);
  for (const path of [...sources, "dist/explorer.js", "page.html"]) {
    assert.doesNotMatch(
      read(path),
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|new Function|setAttribute\("style"|srcdoc|new Worker/,
      path,
    );
  }
});

test("a document cannot leave its element, and the policy names what is inlined", () => {
  const document = wrap({ name: "profiles", profiles: [] });
  document.store = HOSTILE.join(" ") + "\u2028\u2029";
  assert.deepEqual(JSON.parse(embed(document)), document);
  assert.doesNotMatch(embed(document), /[<>&\u2028\u2029]/);
  const page = fill(document, "</title><script>alert(1)</script>");
  assert.equal(page.match(/<script/g).length, 2);
  const script = page.match(/<script>([^]*?)<\/script>/)[1];
  assert.ok(page.includes(`script-src 'sha256-${createHash("sha256").update(script).digest("base64")}'`));
  assert.ok(page.includes("connect-src 'none'"));
});

test("packages come from npm's own registry, in exact versions", () => {
  for (const folder of [explorer, new URL("./", import.meta.url)]) {
    const lock = JSON.parse(readFileSync(new URL("package-lock.json", folder), "utf8"));
    for (const [name, one] of Object.entries(lock.packages)) {
      if (name !== "") assert.match(one.resolved, /^https:\/\/registry\.npmjs\.org\//, name);
    }
    const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8"));
    for (const version of Object.values({ ...dependencies, ...devDependencies })) assert.match(version, /^\d/);
  }
});

test(
  "what is committed is what the sources are built to",
  { skip: !existsSync(new URL("node_modules/esbuild", explorer)) && "npm ci was not run in analyze/explorer" },
  () => {
    const outdir = mkdtempSync(join(tmpdir(), "explorer-build-"));
    try {
      execFileSync(process.execPath, ["build.mjs", `--outdir=${outdir}`], { cwd: explorer });
      for (const name of ["explorer.js", "explorer.css", "LICENSES.txt"])
        assert.equal(readFileSync(join(outdir, name), "utf8"), read(`dist/${name}`), name);
    } finally {
      rmSync(outdir, { recursive: true });
    }
  },
);
