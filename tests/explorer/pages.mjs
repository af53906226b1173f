// Where the pages are that are tested: by name in EXPLORER_PAGES (JSON, name to address), else fixtures, which are written now.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export async function pages(options = {}) {
  if (process.env.EXPLORER_PAGES) return JSON.parse(process.env.EXPLORER_PAGES);
  const { writeReport } = await import("../../analyze/explorer/dev/write.mjs");
  const folder = mkdtempSync(join(tmpdir(), "explorer-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const paths = writeReport(folder, options);
  return Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, pathToFileURL(join(folder, path)).href]));
}
