// Does a Python client see each piece of an unconverted stream before the next one is sent?
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Backend } from "./lib/backend.mjs";
import { Child, within } from "./lib/child.mjs";
import { startWeir } from "./lib/weir.mjs";

const PYTHON = process.env.PYTHON_BIN ?? "python3";
const CLIENT = fileURLToPath(new URL("requests_client.py", import.meta.url));

test("plain text passes unconverted, piece by piece", { timeout: 60_000 }, async (t) => {
  const backend = await Backend.start(t, "text/plain; charset=utf-8");
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.plain]
endpoints = ["http://${backend.address}"]
[[route]]
name = "plain"
path = "/*"
upstream = "plain"
`);
  const client = new Child(t, PYTHON, [CLIENT, `http://${address}/pieces`]);
  const stream = await backend.stream();
  assert.deepEqual(JSON.parse(await client.line()), [200, "text/plain; charset=utf-8"]);

  // The next piece is not sent before the client has shown the one before it.
  for (const piece of ["ping", ":pong!", "ping", ":pong!"]) {
    stream.write(piece);
    assert.equal(JSON.parse(await client.line()), piece);
  }

  stream.end();
  assert.equal(await client.line(), null);
  assert.deepEqual(await within(client.exited, "the client's end"), { code: 0, signal: null });
});
