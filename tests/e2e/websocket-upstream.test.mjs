// Do the messages of a real WebSocket server reach a real EventSource?
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { WebSocketServer } from "ws";

import { Backend } from "./lib/backend.mjs";
import { openPage } from "./lib/browser.mjs";
import { within } from "./lib/child.mjs";
import { startWeir } from "./lib/weir.mjs";

const PAGE = `<!doctype html><title>ticker</title><link rel="icon" href="data:,"><script>
  globalThis.seen = [];
  const tell = ({ type, data }) => seen.push({ type, data });
  globalThis.source = new EventSource("/ticker?symbol=WEIR");
  source.addEventListener("trade", tell);
  source.addEventListener("stream-error", tell);
</script>`;

test("messages become events, and close codes endings", { timeout: 90_000 }, async (t) => {
  const server = new WebSocketServer({
    port: 0, host: "127.0.0.1", path: "/ticker", perMessageDeflate: true,
  });
  await once(server, "listening");
  t.after(() => server.close());
  const pages = await Backend.start(t, "text/plain", { "/": PAGE });
  const { address } = await startWeir(t, `
[[listener]]
address = "127.0.0.1:0"
[upstream.ticker]
endpoints = ["http://127.0.0.1:${server.address().port}"]
[upstream.ticker.websocket]
subprotocol = "v1.ticker"
send = ['{"op":"subscribe"}']
[upstream.pages]
endpoints = ["http://${pages.address}"]
[[route]]
name = "ticker"
path = "/ticker"
upstream = "ticker"
event = { name = "trade", retry = "50ms" }
[[route]]
name = "pages"
upstream = "pages"
`);

  const first = connection(server);
  const page = await openPage(t);
  await page.goto(`http://${address}/`);
  const { socket, request, message } = await first;
  assert.equal(request.url, "/ticker?symbol=WEIR");
  assert.equal(socket.protocol, "v1.ticker");
  assert.equal(socket.extensions, "", "nothing is compressed");
  assert.equal(message, '{"op":"subscribe"}');

  socket.send('{"price":1}');
  assert.deepEqual(await seen(page, 1), [{ type: "trade", data: '{"price":1}' }]);
  // In fragments, with a ping between them; text is text however it is sent.
  socket.send("größer ", { fin: false });
  const ponged = once(socket, "pong");
  socket.ping("there?");
  assert.equal((await within(ponged, "the pong"))[0].toString(), "there?");
  socket.send("than\nbefore");
  socket.send(Buffer.from("in bytes"));
  socket.send("x".repeat(200_000));
  const events = await seen(page, 4);
  assert.deepEqual(events.slice(1, 3).map(({ data }) => data), ["größer than\nbefore", "in bytes"]);
  assert.equal(events[3].data.length, 200_000);

  // A close as it should be ends the stream cleanly, and the browser comes back.
  const second = connection(server);
  socket.close(1000, "done");
  const again = await second;
  again.socket.send("back");
  assert.deepEqual((await seen(page, 5))[4], { type: "trade", data: "back" });

  // Any other code is told.
  const third = connection(server);
  again.socket.close(4004, "no such symbol");
  const error = (await seen(page, 6))[5];
  assert.equal(error.type, "stream-error");
  assert.equal(JSON.parse(error.data).code, "upstream_error");
  assert.match(JSON.parse(error.data).message, /4004 \("no such symbol"\)/);

  const last = await third;
  const closed = once(last.socket, "close");
  await page.evaluate(() => source.close());
  assert.equal((await within(closed, "the close"))[0], 1001);
});

/** The server's next connection, once its first message has come. */
async function connection(server) {
  const [socket, request] = await within(once(server, "connection"), "a connection");
  const [message] = await within(once(socket, "message"), "a first message");
  return { socket, request, message: message.toString() };
}

/** Waits until the page has seen `count` events, and gives them all. */
async function seen(page, count) {
  await page.waitForFunction((wanted) => globalThis.seen.length >= wanted, count);
  return page.evaluate(() => globalThis.seen);
}
