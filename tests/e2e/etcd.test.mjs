// Do the watch streams of a real etcd reach curl as events, the moment a key is put?
import assert from "node:assert/strict";
import { test } from "node:test";
import path from "node:path";

import { Child, until } from "./lib/child.mjs";
import { Curl } from "./lib/curl.mjs";
import { directory, freePort } from "./lib/place.mjs";
import { startWeir } from "./lib/weir.mjs";

const base64 = (text) => Buffer.from(text).toString("base64");

test("each put arrives as an event of the watch", { timeout: 90_000 }, async (t) => {
  const etcd = await startEtcd(t);
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.etcd]
endpoints = ["${etcd}"]
[[route]]
name = "watch"
path = "/v3/watch"
upstream = "etcd"
from = "ndjson"     # etcd declares application/json
[[route]]
name = "rest"
path = "/*"
upstream = "etcd"
to = "as-is"
`);
  const watch = JSON.stringify({ create_request: { key: base64("level") } });
  const curl = new Curl(t, "-D", "-", "-X", "POST", "-d", watch, `http://${address}/v3/watch`);

  const { status, fields } = await curl.head();
  assert.match(status, /^HTTP\/1\.1 200/);
  assert.equal(fields["content-type"], "text/event-stream");
  assert.equal(fields["content-length"], undefined);
  const created = JSON.parse((await curl.event()).data);
  assert.equal(created.result.created, true);

  for (const value of ["low", "high", "over the weir"]) {
    const put = await fetch(`http://${address}/v3/kv/put`, {
      method: "POST",
      body: JSON.stringify({ key: base64("level"), value: base64(value) }),
    });
    assert.equal(put.status, 200);
    assert.match(put.headers.get("content-type"), /^application\/json/);
    await put.arrayBuffer();

    const { data, event } = await curl.event();
    assert.equal(event, undefined);
    const { result } = JSON.parse(data);
    assert.deepEqual(result.events.map((change) => change.kv.value), [base64(value)]);
  }
});

test("the preset gives each change as an event, and its revision as the id", { timeout: 90_000 }, async (t) => {
  const etcd = await startEtcd(t);
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.etcd]
endpoints = ["${etcd}"]
[[route]]
name = "watch"
path = "/v3/watch"
upstream = "etcd"
preset = "etcd-watch"
`);
  const watch = JSON.stringify({ create_request: { key: base64("level") } });
  const curl = new Curl(t, "-X", "POST", "-d", watch, `http://${address}/v3/watch`);
  // That the watch is there only sets the id.
  const { id } = await curl.event();
  for (const [index, change] of ["put", "deleterange"].entries()) {
    const body = JSON.stringify({ key: base64("level"), value: change === "put" ? base64("low") : undefined });
    const changed = await fetch(`${etcd}/v3/kv/${change}`, { method: "POST", body });
    assert.equal(changed.status, 200);
    await changed.arrayBuffer();
    const event = await curl.event();
    assert.equal(event.event, change === "put" ? undefined : "DELETE");
    assert.equal(Number(event.id), Number(id) + index + 1);
    assert.equal(JSON.parse(event.data).kv.key, base64("level"));
  }
});

async function startEtcd(t) {
  const where = await directory(t);
  const client = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const etcd = new Child(t, "etcd", [
    "--name", "one", "--data-dir", path.join(where, "data"),
    "--listen-client-urls", client, "--advertise-client-urls", client,
    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `one=${peer}`,
  ]);
  const isHealthy = async () => {
    if (etcd.process.exitCode !== null) throw new Error(`etcd ended: ${etcd.errors}`);
    try {
      return (await (await fetch(`${client}/health`)).json()).health === "true";
    } catch {
      return false;
    }
  };
  await until(isHealthy, "a healthy etcd", 30_000);
  return client;
}
