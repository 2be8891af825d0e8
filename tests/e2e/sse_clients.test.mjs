// Do clients that others wrote get the very events that were meant, whatever stands in them?
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { EventSource } from "eventsource";
import { createParser } from "eventsource-parser";

import { Backend } from "./lib/backend.mjs";
import { Child, until, within } from "./lib/child.mjs";
import { directory } from "./lib/place.mjs";
import { convert, startWeir } from "./lib/weir.mjs";

const PYTHON = process.env.PYTHON_BIN ?? "python3";
const WRITER = fileURLToPath(new URL("sse_records.py", import.meta.url));
const CLIENT = fileURLToPath(new URL("httpx_client.py", import.meta.url));
const SEED = process.env.WEIR_SEED ?? String(Date.now());
const COUNT = 40;

/** A configuration in which a record says its event. */
const config = (endpoint) => `
[[listener]]
address = "127.0.0.1:0"
[upstream.records]
endpoints = ["${endpoint}"]
[[route]]
name = "records"
upstream = "records"
from = "ndjson"
[route.event]
name = { at = "/name" }
id = { at = "/id" }
data = { at = "/text" }
`;

test("eventsource-parser and httpx-sse read random events as they were meant", { timeout: 60_000 }, async (t) => {
  const place = await directory(t);
  const toml = path.join(place, "proxy.toml");
  await writeFile(toml, config("http://127.0.0.1:1"));
  const writer = new Child(t, PYTHON, [WRITER, place, SEED, String(COUNT)]);
  const streams = [];
  for (let count = 0; count < COUNT; count += 1) {
    const line = await writer.line("records of the writer's");
    assert.notEqual(line, null, writer.errors);
    const { file, events } = JSON.parse(line);
    const which = `WEIR_SEED=${SEED}, ${file}`;
    const { lines, errors, code } = await convert(t, "ndjson", file, "--config", toml, "--route", "records");
    assert.equal(code, 0, `${which}: ${errors}`);
    const text = lines.map((one) => `${one}\n`).join("");
    assert.deepEqual(parsed(text, 1 + count * 7), events, which);
    await writeFile(`${file}.sse`, text);
    streams.push({ file: `${file}.sse`, events, which });
  }
  const client = new Child(t, PYTHON, [CLIENT, ...streams.map(({ file }) => file)]);
  for (const { events, which } of streams) {
    const line = await client.line("what httpx-sse read");
    assert.notEqual(line, null, client.errors);
    assert.deepEqual(JSON.parse(line), events, which);
  }
});

test("npm's EventSource gets names and ids, and comes back with the last one", { timeout: 60_000 }, async (t) => {
  const backend = await Backend.start(t, "application/x-ndjson");
  const { address } = await startWeir(t, `${config(`http://${backend.address}`)}retry = "50ms"\n`);
  const source = new EventSource(`http://${address}/`);
  t.after(() => source.close());
  const seen = [];
  const tell = ({ type, data, lastEventId }) => seen.push([type, lastEventId, data]);
  source.onmessage = tell;
  source.addEventListener("update", tell);
  const first = await backend.stream();
  first.write('{"text":"one\\r\\n two\\n"}\n{"name":"update","id":7,"text":""}\n{"name":"other","id":"8","text":"x"}\n');
  first.write('{"text":"ünïcode ');
  first.write('🌊"}\n');
  await until(() => seen.length === 3, "three events");
  first.end();
  const second = await backend.stream();
  assert.equal(second.request.headers["last-event-id"], "8");
  second.write('{"name":"update","text":"back"}\n');
  await until(() => seen.length === 4, "an event of the second stream");
  // Where an event has no id, this client tells none to its listeners.
  assert.deepEqual(seen, [
    ["message", "", "one\n two\n"], ["update", "7", ""], ["message", "", "ünïcode 🌊"], ["update", "", "back"],
  ]);
  source.close();
  await within(second.left(), "the client's leaving");
});

/** What eventsource-parser reads in a stream that comes in pieces of this length. */
function parsed(text, length) {
  const events = [];
  let lastId = "";
  const parser = createParser({
    onEvent({ event, id, data }) {
      lastId = id ?? lastId;
      events.push([event ?? "message", lastId, data]);
    },
    onError(error) {
      throw error;
    },
  });
  for (let at = 0; at < text.length; at += length) parser.feed(text.slice(at, at + length));
  return events;
}
