// Do heartbeats carry a silent stream through an nginx that cuts what is quiet for two seconds?
import assert from "node:assert/strict";
import { test } from "node:test";

import { Backend } from "./lib/backend.mjs";
import { within } from "./lib/child.mjs";
import { Curl } from "./lib/curl.mjs";
import { startNginx } from "./lib/nginx.mjs";
import { startWeir } from "./lib/weir.mjs";

test("a silent stream is cut without heartbeats, and lives with them", { timeout: 90_000 }, async (t) => {
  const backend = await Backend.start(t, "application/x-ndjson");
  const route = (name, every) => `
[[route]]
name = "${name}"
path = "/${name}"
upstream = "quiet"
from = "ndjson"
[route.heartbeat]
every = "${every}"
`;
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.quiet]
endpoints = ["http://${backend.address}"]
${route("bare", "off")}
${route("kept", "1s")}
`);
  const nginx = await startNginx(t, address, `
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 2s;`);

  const bare = new Curl(t, `http://${nginx}/bare`);
  const bareStream = await backend.stream();
  const kept = new Curl(t, `http://${nginx}/kept`);
  const keptStream = await backend.stream();
  for (const [curl, stream] of [[bare, bareStream], [kept, keptStream]]) {
    stream.write('{"seq":1}\n');
    assert.equal((await curl.event()).data, '{"seq":1}');
  }

  assert.equal(await bare.event(), null);
  const { code } = await within(bare.child.exited, "the cut");
  assert.notEqual(code, 0, "a cut stream must not look complete");
  assert.equal(bare.heartbeats, 0);

  // Seven heartbeats a second apart: more than six seconds, three times what nginx forgives.
  for (let beat = 0; beat < 7; beat += 1) await kept.heartbeat();
  keptStream.write('{"seq":2}\n');
  assert.equal((await kept.event()).data, '{"seq":2}');
  keptStream.end();
  assert.equal(await kept.event(), null);
  assert.equal((await within(kept.child.exited, "the end")).code, 0);
});
