// Does a browser's own EventSource read the demo, over HTTP/1.1 and over HTTP/2 with TLS?
import assert from "node:assert/strict";
import { test } from "node:test";

import { openPage, watchProtocols } from "./lib/browser.mjs";
import { selfSigned } from "./lib/place.mjs";
import { startDemo, startWeir } from "./lib/weir.mjs";

const STREAMS = ["ticker", "chat", "silent", "broken"];

test("the demo over HTTP/1.1", { timeout: 120_000 }, async (t) => {
  const demo = await startDemo(t);
  const page = await openPage(t);
  const protocols = await watchProtocols(page);
  const origin = `http://${demo.address}`;

  await page.goto(`${origin}/`);
  await checkStreams(page);

  for (const name of STREAMS) assert.equal(protocols.get(`${origin}/${name}`), "http/1.1", name);
});

test("the demo over HTTP/2 with TLS", { timeout: 120_000 }, async (t) => {
  const demo = await startDemo(t);
  const { certificate, key } = await selfSigned(t);
  const weir = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
tls = { certificate = "${certificate}", key = "${key}" }
[upstream.demo]
endpoints = ["http://${demo.address}"]
${STREAMS.map((name) => `
[[route]]
name = "${name}"
path = "/${name}"
upstream = "demo"
from = "sse"
[route.heartbeat]
every = "1s"
`).join("")}
[[route]]
name = "page"
path = "/*"
upstream = "demo"
to = "as-is"
`);
  const page = await openPage(t);
  const protocols = await watchProtocols(page);
  const origin = `https://${weir.address}`;

  await page.goto(`${origin}/`);
  await checkStreams(page);

  for (const name of STREAMS) assert.equal(protocols.get(`${origin}/${name}`), "h2", name);
  const finished = await page.evaluate(() =>
    performance.getEntriesByType("resource").map(({ name, nextHopProtocol }) => [name, nextHopProtocol]));
  assert.ok(finished.some(([name]) => name === `${origin}/chat`), JSON.stringify(finished));
  for (const [name, protocol] of finished) assert.equal(protocol, "h2", name);

  const count = await page.evaluate(openTogether, 12);
  assert.equal(count, 12, "HTTP/1.1 would stop at six");
});

/** Opens every stream of the page, and waits for what each of them has to show. */
async function checkStreams(page) {
  const part = (name, role) => page.locator(`[data-stream=${name}] [data-role=${role}]`);
  const shows = (name, role, pattern) =>
    part(name, role).filter({ hasText: pattern }).waitFor({ timeout: 20_000 });

  for (const name of STREAMS) {
    await shows(name, "state", /^closed$/);
    await part(name, "open").click();
  }

  await shows("ticker", "state", /^open$/);
  await shows("ticker", "log", /"seq":3\b/);
  assert.ok(Number(await part("ticker", "count").textContent()) >= 3);

  await shows("broken", "state", /^closed$/);
  await shows("broken", "ending", /upstream_truncated/);
  await shows("broken", "log", /"seq":5\b/);
  assert.doesNotMatch(await part("broken", "log").textContent(), /"seq":6/);
  assert.equal(await part("broken", "count").textContent(), "6", "five records and the error");

  await shows("chat", "ending", /ended normally/);
  await shows("chat", "state", /^closed$/);
  await shows("chat", "text", /^A weir is a low dam .* with streams\.$/);

  // The demo's heartbeats are two seconds apart: after six seconds of silence there were at least two.
  await shows("silent", "quiet", /^quiet for (?:[6-9]|\d\d) s, still open/);
  assert.equal(await part("silent", "count").textContent(), "1", "a heartbeat is no event");
  const silent = await page.evaluate(() => globalThis.weirDemo.streams.silent.source.readyState);
  assert.equal(silent, 1, "EventSource.OPEN");

  await page.locator("#backend-streams").filter({ hasText: /^2 streams/ }).waitFor();
  await part("ticker", "close").click();
  await part("silent", "close").click();
  await page.locator("#backend-streams").filter({ hasText: /^0 streams/ }).waitFor();
}

/** Runs in the page: opens `count` streams at once, and gives how many were open together. */
async function openTogether(count) {
  const sources = Array.from({ length: count }, () => new EventSource("/ticker"));
  await Promise.all(sources.map((source) => new Promise((resolve, reject) => {
    source.onopen = resolve;
    source.onerror = () => reject(new Error("a stream was refused"));
  })));
  const open = sources.filter((source) => source.readyState === EventSource.OPEN).length;
  for (const source of sources) source.close();
  return open;
}
