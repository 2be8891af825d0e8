// Does EventSource get every field of a backend that speaks Server-Sent Events itself?
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backend } from "./lib/backend.mjs";
import { openPage } from "./lib/browser.mjs";
import { startWeir } from "./lib/weir.mjs";

const PAGE = `<!doctype html><title>events</title><link rel="icon" href="data:,"><script>
  globalThis.seen = [];
  globalThis.errors = 0;
  const tell = ({ type, data, lastEventId }) => seen.push({ type, data, lastEventId });
  globalThis.source = new EventSource("/events");
  globalThis.opened = new Promise((resolve) => { source.onopen = resolve; });
  source.onmessage = tell;
  source.onerror = () => { errors += 1; };
  source.addEventListener("update", tell);
</script>`;

test("names, ids, retry and lines of data arrive whole", { timeout: 90_000 }, async (t) => {
  const backend = await Backend.start(t, "text/event-stream; charset=utf-8", { "/": PAGE });
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.events]
endpoints = ["http://${backend.address}"]
[[route]]
name = "events"
path = "/events"
upstream = "events"
from = "sse"
[[route]]
name = "page"
path = "/*"
upstream = "events"
`);
  const page = await openPage(t);
  await page.goto(`http://${address}/`);
  const stream = await backend.stream();
  assert.equal(stream.request.headers.accept, "text/event-stream");

  // The backend has sent its head and not one byte more.
  await page.waitForFunction(() => opened.then(() => true));
  assert.equal(await page.evaluate(() => source.readyState), 1);
  assert.deepEqual(await seen(page, 0), []);

  stream.write("data: unnamed\n\n");
  assert.deepEqual(await seen(page, 1), [{ type: "message", data: "unnamed", lastEventId: "" }]);

  stream.write("id: 7\nevent: update\ndata: first\ndata:  indented\ndata\ndata: ünïcode ✓\n\n");
  assert.deepEqual((await seen(page, 2))[1], {
    type: "update", data: "first\n indented\n\nünïcode ✓", lastEventId: "7",
  });

  // CRLF is a line end too; half an event is none, however long its other half takes.
  stream.write("retry: 50\r\ndata: again\r\n");
  stream.write(": a comment of the backend\r\n\r\n");
  assert.deepEqual((await seen(page, 3))[2], { type: "message", data: "again", lastEventId: "7" });
  assert.equal(await page.evaluate(() => errors), 0);

  // A clean end: the browser comes back after the 50 ms it was told, with the last id.
  stream.end();
  const next = await backend.stream();
  assert.equal(next.request.headers["last-event-id"], "7");
  assert.equal(await page.evaluate(() => errors), 1);
  next.write("data: back\n\n");
  assert.equal((await seen(page, 4))[3].data, "back");

  await page.evaluate(() => source.close());
  await next.left();
});

/** Waits until the page has seen `count` events, and gives them all. */
async function seen(page, count) {
  await page.waitForFunction((wanted) => globalThis.seen.length >= wanted, count);
  return page.evaluate(() => globalThis.seen);
}
