// Does curl read the same events over every protocol, and is the upstream told when it leaves?
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backend } from "./lib/backend.mjs";
import { within } from "./lib/child.mjs";
import { Curl } from "./lib/curl.mjs";
import { selfSigned } from "./lib/place.mjs";
import { startWeir } from "./lib/weir.mjs";

const WAYS = [
  { name: "HTTP/1.1", scheme: "http", args: ["--http1.1"], status: "HTTP/1.1 200 OK" },
  { name: "HTTP/2 by prior knowledge", scheme: "http", args: ["--http2-prior-knowledge"], status: "HTTP/2 200" },
  { name: "HTTP/1.1 over TLS", scheme: "https", args: ["-k", "--http1.1"], status: "HTTP/1.1 200 OK" },
  { name: "HTTP/2 over TLS", scheme: "https", args: ["-k", "--http2"], status: "HTTP/2 200" },
];

for (const { name, scheme, args, status } of WAYS) {
  test(`curl over ${name}`, { timeout: 60_000 }, async (t) => {
    const backend = await Backend.start(t, "application/x-ndjson");
    const url = `${scheme}://${await startBoth(t, backend, scheme)}/events`;

    const whole = new Curl(t, "-D", "-", ...args, url);
    const first = await backend.stream();
    const head = await whole.head();
    assert.equal(head.status, status);
    checkFields(head.fields);
    // No event is sent before curl has shown the one before it.
    for (let seq = 1; seq <= 3; seq += 1) {
      first.write(`{"seq":${seq}}\n`);
      assert.deepEqual(await whole.event(), { data: `{"seq":${seq}}` });
    }
    first.write('{"seq":4');
    first.write("}\n");
    first.end();
    assert.deepEqual(await whole.event(), { data: '{"seq":4}' });
    assert.equal(await whole.event(), null);
    assert.equal((await within(whole.child.exited, "the end")).code, 0);

    const leaving = new Curl(t, ...args, url);
    const second = await backend.stream();
    second.write('{"seq":1}\n');
    assert.deepEqual(await leaving.event(), { data: '{"seq":1}' });
    await leaving.leave();
    await second.left();

    const cut = new Curl(t, ...args, url);
    const third = await backend.stream();
    third.write('{"seq":1}\n{"se');
    assert.deepEqual(await cut.event(), { data: '{"seq":1}' });
    third.response.destroy();
    const error = await cut.event();
    assert.equal(error.event, "stream-error");
    assert.equal(JSON.parse(error.data).code, "upstream_truncated");
    assert.equal(await cut.event(), null);
    assert.notEqual((await within(cut.child.exited, "the cut")).code, 0, "a cut must not look complete");
  });
}

/** A weir in front of `backend`; gives the address that speaks `scheme`. */
async function startBoth(t, backend, scheme) {
  const { certificate, key } = await selfSigned(t);
  const { addresses } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
http = ["1.1", "2"]
[[listener]]
address = "127.0.0.1:0"
tls = { certificate = "${certificate}", key = "${key}" }
[upstream.lines]
endpoints = ["http://${backend.address}"]
[[route]]
name = "events"
path = "/events"
upstream = "lines"
from = "ndjson"
`);
  return addresses[scheme === "http" ? 0 : 1];
}

/** The fields that a converted response carries, and those it must not. */
function checkFields(fields) {
  assert.equal(fields["content-type"], "text/event-stream");
  assert.equal(fields["cache-control"], "no-cache, no-transform");
  assert.equal(fields["x-accel-buffering"], "no");
  assert.equal(fields.incremental, "?1");
  for (const absent of ["content-length", "content-encoding", "etag", "accept-ranges"]) {
    assert.equal(fields[absent], undefined, absent);
  }
}
