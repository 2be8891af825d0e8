// Do curl and a browser decode each event of a compressed stream the moment it arrives?
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backend } from "./lib/backend.mjs";
import { openPage } from "./lib/browser.mjs";
import { within } from "./lib/child.mjs";
import { Curl } from "./lib/curl.mjs";
import { startWeir } from "./lib/weir.mjs";

const CODINGS = ["gzip", "br", "zstd"];

const PAGE = `<!doctype html><title>compressed</title><link rel="icon" href="data:,"><script>
  globalThis.seen = [];
  globalThis.read = async (path) => {
    const response = await fetch(path);
    const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece; !(piece = await text.read()).done;) seen.push(piece.value);
    seen.push("END");
  };
</script>`;

/** A weir in front of `backend`, with a path for each coding. */
function start(t, backend) {
  const route = (coding) => `
[[route]]
name = "${coding}"
path = "/${coding}"
upstream = "lines"
heartbeat = { every = "1s" }
compress = { codings = ["${coding}"] }
`;
  return startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.lines]
endpoints = ["http://${backend.address}"]
${CODINGS.map(route).join("")}
[[route]]
name = "page"
upstream = "lines"
`);
}

for (const coding of CODINGS) {
  for (const http of ["--http1.1", "--http2-prior-knowledge"]) {
    test(`curl decodes ${coding} with ${http}`, { timeout: 60_000 }, async (t) => {
      const backend = await Backend.start(t, "application/x-ndjson");
      const { address } = await start(t, backend);
      const asked = ["--compressed", "-H", `Accept-Encoding: ${coding}`, http, `http://${address}/${coding}`];

      const whole = new Curl(t, "-D", "-", ...asked);
      const first = await backend.stream();
      const { fields } = await whole.head();
      assert.equal(fields["content-encoding"], coding);
      for (let seq = 1; seq <= 3; seq += 1) {
        first.write(`{"seq":${seq}}\n`);
        assert.deepEqual(await whole.event(), { data: `{"seq":${seq}}` });
      }
      await whole.heartbeat();
      first.write('{"seq":4}');
      first.end();
      assert.deepEqual(await whole.event(), { data: '{"seq":4}' });
      assert.equal(await whole.event(), null);
      assert.equal((await within(whole.child.exited, "the end")).code, 0);

      const cut = new Curl(t, ...asked);
      const second = await backend.stream();
      second.write('{"seq":1}\n{"se');
      assert.deepEqual(await cut.event(), { data: '{"seq":1}' });
      second.response.destroy();
      assert.equal((await cut.event()).event, "stream-error");
      assert.equal(await cut.event(), null);
      assert.notEqual((await within(cut.child.exited, "the cut")).code, 0, "a cut must not look complete");
    });
  }

  test(`a browser decodes ${coding}`, { timeout: 90_000 }, async (t) => {
    const backend = await Backend.start(t, "application/x-ndjson", { "/": PAGE });
    const { address } = await start(t, backend);
    const page = await openPage(t);
    const codings = watchCodings(page);
    await page.goto(`http://${address}/`);

    await page.evaluate((path) => {
      globalThis.source = new EventSource(path);
      source.onmessage = ({ data }) => seen.push(data);
    }, `/${coding}`);
    const events = await backend.stream();
    for (let seq = 1; seq <= 3; seq += 1) {
      events.write(`${seq}\n`);
      assert.deepEqual((await seen(page, seq)).at(-1), `${seq}`);
    }
    await page.evaluate(() => { source.close(); seen.length = 0; });
    await events.left();

    // Not awaited: it reads until the stream ends.
    await page.evaluate((path) => { read(path); }, `/${coding}`);
    const fetched = await backend.stream();
    fetched.write("1\n");
    assert.deepEqual(await seen(page, 1), ["data: 1\n\n"]);
    assert.equal((await seen(page, 2))[1], ":\n", "a heartbeat");
    await page.evaluate(() => { seen.length = 0; });
    fetched.write("2\n");
    fetched.end();
    const rest = await seenEnd(page);
    assert.equal(rest.replaceAll(":\n", ""), "data: 2\n\nEND");
    assert.deepEqual(codings, [coding, coding]);
  });
}

/** The content codings of the event streams that the page gets, in their order. */
function watchCodings(page) {
  const codings = [];
  page.on("response", (response) => {
    const fields = response.headers();
    if (fields["content-type"] === "text/event-stream") codings.push(fields["content-encoding"]);
  });
  return codings;
}

/** Waits until the page has seen `count` pieces, and gives them all. */
async function seen(page, count) {
  await page.waitForFunction((wanted) => globalThis.seen.length >= wanted, count);
  return page.evaluate(() => globalThis.seen);
}

/** Waits until the page has seen the end, and gives all that it has seen. */
async function seenEnd(page) {
  await page.waitForFunction(() => globalThis.seen.at(-1) === "END");
  return page.evaluate(() => globalThis.seen.join(""));
}
