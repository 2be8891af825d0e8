// Do backends that speak what is no event stream reach curl as events, each the moment it is whole?
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as createSocketServer } from "node:net";
import path from "node:path";
import { test } from "node:test";

import { Backend } from "./lib/backend.mjs";
import { Curl } from "./lib/curl.mjs";
import { directory } from "./lib/place.mjs";
import { startWeir } from "./lib/weir.mjs";

/** Weir with one route to `endpoint`, and curl reading it: `route` is what stands below `[[route]]`. */
async function stream(t, endpoint, route, ...args) {
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.legacy]
endpoints = ["${endpoint}"]
[[route]]
name = "legacy"
upstream = "legacy"
${route}
`);
  return new Curl(t, ...args, `http://${address}/`);
}

const dockerFrame = (type, text) => {
  const head = Buffer.alloc(8);
  head[0] = type;
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
};

test("a container's logs come from Docker's socket line by line, by stream", { timeout: 60_000 }, async (t) => {
  const socket = path.join(await directory(t), "docker.sock");
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "application/vnd.docker.multiplexed-stream" });
    response.flushHeaders();
    server.emit("logs", response);
  });
  await new Promise((resolve) => server.listen(socket, resolve));
  t.after(() => server.closeAllConnections() ?? server.close());
  const asked = new Promise((resolve) => server.once("logs", resolve));
  const curl = await stream(t, `unix:${socket}`, 'preset = "docker-logs"');
  const logs = await asked;
  // One line in two frames, with the other stream's in between, and a frame in two writes.
  logs.write(dockerFrame(1, "hello "));
  logs.write(dockerFrame(2, "careful\n"));
  assert.deepEqual(await curl.event(), { event: "stderr", data: "careful" });
  const frame = dockerFrame(1, "world\nlast");
  logs.write(frame.subarray(0, 10));
  logs.write(frame.subarray(10));
  assert.deepEqual(await curl.event(), { event: "stdout", data: "hello world" });
  logs.end();
  assert.deepEqual(await curl.event(), { event: "stdout", data: "last" });
  assert.equal(await curl.event(), null);
  assert.equal((await curl.child.exited).code, 0);
});

test("a camera's pictures come in base64, and its hanging up between them is the end", { timeout: 60_000 }, async (t) => {
  const picture = Buffer.from([0xff, 0xd8, 0x0d, 0x0a, 0x2d, 0x2d, 0x00, 0xff, 0xd9]);
  // As cameras do: HTTP/1.0, no length, no last delimiter.
  const camera = createSocketServer((socket) => {
    socket.once("data", async () => {
      socket.write("HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n");
      for (const _ of [1, 2]) {
        socket.write(`--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ${picture.length}\r\n\r\n`);
        socket.write(picture);
        await new Promise((resolve) => camera.once("next", resolve));
        socket.write("\r\n");
      }
      socket.end();
    });
  });
  await new Promise((resolve) => camera.listen(0, "127.0.0.1", resolve));
  t.after(() => camera.close());
  const curl = await stream(t, `http://127.0.0.1:${camera.address().port}`, 'from = "multipart"');
  for (const _ of [1, 2]) {
    // Before anything of the next part has come: the length says that this one is whole.
    assert.deepEqual(await curl.event(), { data: picture.toString("base64") });
    camera.emit("next");
  }
  assert.equal(await curl.event(), null);
  assert.equal((await curl.child.exited).code, 0);
});

test("an endless array's elements come at their brackets, and its missing end is told", { timeout: 60_000 }, async (t) => {
  const backend = await Backend.start(t, "application/json");
  const curl = await stream(t, `http://${backend.address}`, 'preset = "gemini"');
  const array = await backend.stream();
  array.write('[{\n  "candidates": [{"text": "1\\n, ]"}]\n}');
  assert.deepEqual(await curl.event(), { data: '{"candidates":[{"text":"1\\n, ]"}]}' });
  array.write(',\r\n{"n": 2}');
  assert.deepEqual(await curl.event(), { data: '{"n": 2}' });
  // The message ends as HTTP would have it; the array does not.
  array.end();
  const { event, data } = await curl.event();
  assert.equal(event, "stream-error");
  assert.equal(JSON.parse(data).code, "upstream_truncated");
  assert.equal((await curl.child.exited).code, 18);
});

test("an LLM's failure after its first words is no end of its answer", { timeout: 60_000 }, async (t) => {
  const backend = await Backend.start(t, "application/x-ndjson");
  const curl = await stream(t, `http://${backend.address}`, 'preset = "ollama"');
  const chat = await backend.stream();
  chat.write('{"message":{"content":"Hi"},"done":false}\n');
  assert.deepEqual(await curl.event(), { data: '{"message":{"content":"Hi"},"done":false}' });
  chat.write('{"error":"out of memory"}\n');
  assert.deepEqual(await curl.event(), { data: '{"error":"out of memory"}' });
  const { event, data } = await curl.event();
  assert.equal(event, "stream-error");
  assert.equal(JSON.parse(data).code, "upstream_error");
  assert.equal((await curl.child.exited).code, 18);
  await chat.left();
});

test("clients that cannot read events get NDJSON of the same events", { timeout: 60_000 }, async (t) => {
  const backend = await Backend.start(t, "application/json");
  const curl = await stream(
    t, `http://${backend.address}`, 'preset = "kubernetes-watch"', "-H", "Accept: application/x-ndjson",
  );
  const watch = await backend.stream();
  watch.write('{"type":"ADDED","object":{"metadata":{"resourceVersion":"7"}}}');
  const line = await curl.child.line("a line");
  assert.deepEqual(JSON.parse(line), {
    event: "ADDED",
    id: "7",
    data: { type: "ADDED", object: { metadata: { resourceVersion: "7" } } },
  });
  watch.end();
  assert.equal(await curl.child.line("the end"), null);
});
