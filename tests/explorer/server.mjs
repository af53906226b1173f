// A server as the explorer's own is, for its pages: documents beside pages, and decisions that change them.

import { createServer } from "node:http";
import { fill } from "../../analyze/explorer/dev/fill.mjs";
import { makeReport } from "../../analyze/explorer/dev/fixtures.mjs";

export async function serve({ token = "secret-token" } = {}) {
  const { pages } = makeReport({ profiles: 4, large: 400, mode: { kind: "live", may_write: true } });
  const requests = [];
  const answer = (response, status, type, body) => response.writeHead(status, { "Content-Type": type }).end(body);
  const refuse = (response, status, error, hint = null) =>
    answer(response, status, "application/json", JSON.stringify({ error, hint }));
  const decide = (id, request, response) => {
    const { signals, suppressions } = pages.get("signals.html")[0].page;
    const one = suppressions.find((each) => each.id === id);
    if (!one) return refuse(response, 404, `there is no suppression ${id}`);
    if (one.predicate !== request.predicate) return refuse(response, 409, "it was changed meanwhile", "Look at it again.");
    if (request.reason === "refuse me") return refuse(response, 422, "the reason is <b>no</b> reason", "Say why.");
    const about = signals.filter((each) => each.rule === one.rule && each.target === one.evidence.target);
    if (request.decision === "accept") about.forEach((each) => (each.suppressed_by = id));
    else about.forEach((each) => (each.suppressed_by = null));
    Object.assign(one, {
      state: { accept: "accepted", reject: "rejected", remove: "removed" }[request.decision],
      author: request.author,
      reason: request.reason,
      expires_at: request.expires_at,
      hides: request.decision === "accept" ? about.length : 0,
      would_hide: request.decision === "accept" ? 0 : about.length,
    });
    one.commands = {
      accept: request.decision === "accept" ? null : `wsp suppress accept ${id}`,
      reject: null,
      remove: request.decision === "accept" ? `wsp suppress remove ${id}` : null,
    };
    return answer(
      response,
      200,
      "application/json",
      JSON.stringify({
        hidden: request.decision === "accept" ? about.length : 0,
        shown: request.decision === "remove" ? about.length : 0,
      }),
    );
  };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname.slice(1)) || "index.html";
    requests.push(`${request.method} ${path}`);
    if (request.method === "POST") {
      let body = "";
      request.on("data", (part) => (body += part));
      request.on("end", () => {
        if (request.headers.authorization !== `Bearer ${token}`) return refuse(response, 401, "the token is not the server's");
        return decide(path.replace("api/suppressions/", ""), JSON.parse(body), response);
      });
      return;
    }
    const page = pages.get(path.replace(/\.json$/, ".html"));
    if (!page) return refuse(response, 404, "not found");
    if (path.endsWith(".json")) return answer(response, 200, "application/json", JSON.stringify(page[0]));
    return answer(response, 200, "text/html; charset=utf-8", fill(...page));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    address: `http://127.0.0.1:${server.address().port}/`,
    token,
    requests,
    close: () => new Promise((done) => server.close(done)),
  };
}
