// What a front-end developer writes against the API from its schema alone. Prints what it has seen, as JSON.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Connection = components["schemas"]["ConnectionState"];
type Problem = components["schemas"]["ProblemDocument"];

const [baseUrl, cookie, csrfToken] = process.argv.slice(2) as [string, string, string];
const api = createClient<paths>({ baseUrl, headers: { cookie, "X-CSRFToken": csrfToken } });

function got<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.data === undefined) {
    throw new Error(`${answer.response.url}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  }
  return answer.data;
}

async function everyConnection(): Promise<Connection[]> {
  const found: Connection[] = [];
  let cursor = "";
  for (;;) {
    const query = cursor ? { page_size: 2, cursor } : { page_size: 2 };
    const page = got(await api.GET("/api/oauth/v1/connections/", { params: { query } }));
    found.push(...page.results);
    if (page.next === null) return found;
    cursor = new URL(page.next).searchParams.get("cursor") ?? "";
  }
}

const providers = got(await api.GET("/api/oauth/v1/providers/")).results;
const slug = providers[0]!.slug;
const started = got(
  await api.POST("/api/oauth/v1/providers/{slug}/start/", {
    params: { path: { slug } },
    body: { scopes: ["read"], next: "/notes/" },
  }),
);

const connections = await everyConnection();
const id = connections[0]!.id;
const at = { params: { path: { id } } };
const labelled: Connection = got(
  await api.PATCH("/api/oauth/v1/connections/{id}/", { ...at, body: { label: "Work \u{1F4BC}" } }),
);

// A call's path has slashes of its own, which a template would quote.
const path = "files/a/b";
const call = await api.GET("/api/oauth/v1/connections/{id}/call/{path}", {
  params: { path: { id, path } },
  pathSerializer: (address, values) =>
    address.replace("{id}", String(values["id"])).replace("{path}", String(values["path"])),
  parseAs: "json",
});
const called = got(call) as { path: string };

const refused = await api.GET("/api/oauth/v1/connections/{id}/call/{path}", {
  params: { path: { id, path: "admin" } },
});
const problem = refused.error as Problem;

const healthy = got(await api.GET("/api/oauth/v1/health/"));
const ended = got(await api.POST("/api/oauth/v1/connections/{id}/disconnect/", at));
const events = got(await api.GET("/api/oauth/v1/connections/{id}/events/", at)).results;

console.log(
  JSON.stringify({
    providers: providers.map((provider) => provider.name),
    connectUrl: started.connect_url,
    connections: connections.length,
    label: labelled.label,
    called: called.path,
    source: call.response.headers.get("OAuth-Flows-Source"),
    problem: [refused.response.status, problem.code],
    health: [healthy.status, healthy.connections.active],
    ended: [ended.status, ended.revocation],
    events: events.map((event) => [event.kind, event.by]),
  }),
);
