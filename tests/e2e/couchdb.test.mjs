// Do the changes of a database that speaks CouchDB's protocol reach clients, by long polls and by its stream?
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import path from "node:path";

import { Child, until } from "./lib/child.mjs";
import { Curl } from "./lib/curl.mjs";
import { directory, freePort } from "./lib/place.mjs";
import { startWeir } from "./lib/weir.mjs";

const CONFIG = (couch) => `
[[listener]]
address = "127.0.0.1:0"
[upstream.polled]
endpoints = ["${couch}"]
[upstream.polled.poll]
query = "since"
cursor = { at = "/last_seq" }
[upstream.couch]
endpoints = ["${couch}"]
[[route]]
name = "changes"
path = "/db/_changes"
upstream = "polled"
[[route]]
name = "continuous"
path = "/live/*"
upstream = "couch"
from = "ndjson"     # it declares text/plain
rewrite = { strip_prefix = "/live" }
`;

test("a client that comes back misses no change and gets none twice", { timeout: 90_000 }, async (t) => {
  const couch = await startCouch(t);
  const { address } = await startWeir(t, CONFIG(couch));
  await put(couch, "one");
  const target = `http://${address}/db/_changes?feed=longpoll&timeout=60000`;
  const curl = new Curl(t, "-D", "-", target);
  const { status, fields } = await curl.head();
  assert.match(status, /^HTTP\/1\.1 200/);
  assert.equal(fields["content-type"], "text/event-stream");
  assert.deepEqual(await changed(curl), { id: "1", changed: ["one"] });

  // The poll is held back by now.
  for (const [number, name] of [["2", "two"], ["3", "three"]]) {
    await put(couch, name);
    assert.deepEqual(await changed(curl), { id: number, changed: [name] });
  }
  await curl.leave();
  await put(couch, "four");
  await put(couch, "five");
  const again = new Curl(t, "-H", "Last-Event-ID: 3", target);
  const { id, changed: names } = await changed(again);
  assert.deepEqual({ id, names: names.sort() }, { id: "5", names: ["five", "four"] });
  await put(couch, "six");
  assert.deepEqual(await changed(again), { id: "6", changed: ["six"] });
});

test("the continuous feed is a stream of its own", { timeout: 90_000 }, async (t) => {
  const couch = await startCouch(t);
  const { address } = await startWeir(t, CONFIG(couch));
  await put(couch, "one");
  // Its heartbeats are empty lines, which are no events.
  const curl = new Curl(t, `http://${address}/live/db/_changes?feed=continuous&since=0&heartbeat=200`);
  for (const name of ["one", "two", "three"]) {
    if (name !== "one") await put(couch, name);
    const { data } = await curl.event();
    assert.equal(JSON.parse(data).id, name);
  }
});

/** The next event's id, and the documents that it says have changed. */
async function changed(curl) {
  const { id, data } = await curl.event();
  const { results, last_seq } = JSON.parse(data);
  assert.equal(String(last_seq), id);
  return { id, changed: results.map((change) => change.id) };
}

async function put(couch, name) {
  const response = await fetch(`${couch}/db/${name}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  assert.equal(response.status, 201);
  await response.arrayBuffer();
}

/** PouchDB's server, in memory, with an empty database "db". */
async function startCouch(t) {
  const where = await directory(t);
  const port = await freePort();
  const server = createRequire(import.meta.url).resolve("pouchdb-server/bin/pouchdb-server");
  const child = new Child(t, process.execPath, [
    server, "--in-memory", "--no-stdout-logs", "--host", "127.0.0.1", "--port", String(port),
    "--config", path.join(where, "config.json"),
  ], { cwd: where });
  const couch = `http://127.0.0.1:${port}`;
  const isThere = async () => {
    if (child.process.exitCode !== null) throw new Error(`the database ended: ${child.errors}`);
    try {
      return (await fetch(`${couch}/db`, { method: "PUT" })).ok;
    } catch {
      return false;
    }
  };
  await until(isThere, "a database", 30_000);
  return couch;
}
