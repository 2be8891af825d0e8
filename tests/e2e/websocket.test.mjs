// Does a WebSocket pass through as it is?
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { WebSocket, WebSocketServer } from "ws";

import { within } from "./lib/child.mjs";
import { startWeir } from "./lib/weir.mjs";

test("messages are echoed, and the close code arrives", { timeout: 60_000 }, async (t) => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  t.after(() => server.close());
  const connected = once(server, "connection");
  server.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.echo]
endpoints = ["http://127.0.0.1:${server.address().port}"]
[[route]]
name = "echo"
path = "/*"
upstream = "echo"
`);

  const client = new WebSocket(`ws://${address}/echo?room=1`, ["chat"]);
  t.after(() => client.terminate());
  await within(once(client, "open"), "the upgrade");
  const [atServer, request] = await within(connected, "the connection");
  assert.equal(request.url, "/echo?room=1");
  assert.equal(client.protocol, "chat");

  for (const sent of ["hello", Buffer.from([0, 1, 2, 255]), "x".repeat(100_000)]) {
    const echoed = once(client, "message");
    client.send(sent);
    const [data, isBinary] = await within(echoed, "the echo");
    assert.equal(isBinary, typeof sent !== "string");
    assert.deepEqual(data, Buffer.from(sent));
  }

  const closed = once(atServer, "close");
  client.close(4001, "done");
  const [code, reason] = await within(closed, "the close");
  assert.equal(code, 4001);
  assert.equal(reason.toString(), "done");
});
