import type { Document } from "../contract";

const FORMAT = 1;

/** The document that the page was written with. */
export function embedded(): Document {
  return checked(JSON.parse(document.getElementById("document")?.textContent ?? "null"));
}

/** The same page's document, as it is now. */
export async function fetched(): Promise<Document> {
  const path = location.pathname.endsWith("/") ? `${location.pathname}index.html` : location.pathname;
  const answer = await fetch(path.replace(/\.html$/, ".json"), { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return checked(await answer.json());
}

function checked(document: Document | null): Document {
  if (document === null || typeof document !== "object") throw new Error("the page holds no document");
  if (document.format > FORMAT) throw new Error(`the document is of format ${document.format}, this page reads up to ${FORMAT}`);
  return document;
}
