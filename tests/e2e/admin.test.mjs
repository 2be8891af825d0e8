// Does the admin page show in a real browser what is open, let its operator end and tap it, and fit a phone?
import assert from "node:assert/strict";
import { get } from "node:http";
import { test } from "node:test";

import { Backend } from "./lib/backend.mjs";
import { openPage } from "./lib/browser.mjs";
import { within } from "./lib/child.mjs";
import { startWeir } from "./lib/weir.mjs";

const TOKEN = "0123456789abcdef0123456789abcdef";
// Shown as it is written, it is a name; taken for HTML, it would run.
const NAME = "<img src=x onerror=document.title='broken'>";

/** A proxy with this in [admin] in front of a backend; gives the admin page's URL, too. */
async function start(t, admin = "", address = "127.0.0.1:0") {
  const backend = await Backend.start(t, "application/x-ndjson");
  const weir = await startWeir(t, `
[process]
threads = 2
drain = "1s"
[admin]
address = "${address}"
${admin}
[[listener]]
address = "127.0.0.1:0"
[upstream.chat]
endpoints = ["http://${backend.address}"]
[[route]]
name = "${NAME}"
upstream = "chat"
[route.heartbeat]
every = "1s"
`);
  return { backend, weir, url: `http://${weir.addresses[1]}/` };
}

/** A client of a stream: what it has got, and its end. */
async function openStream(t, { weir, backend }, path) {
  const client = { body: "" };
  const request = get(`http://${weir.address}${path}`);
  t.after(() => request.destroy());
  const stream = backend.stream();
  const response = await within(new Promise((resolve, reject) => request.on("response", resolve).on("error", reject)), "a response");
  response.setEncoding("utf8").on("data", (text) => { client.body += text; });
  client.ended = new Promise((resolve) => response.on("end", () => resolve(true)).on("error", () => resolve(false)));
  return { client, upstream: await stream };
}

/** The page, with what its console complains of. */
async function openAdmin(t, url, { width = 1280, height = 800, colorScheme = "light" } = {}) {
  const page = await openPage(t);
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme });
  await page.goto(url);
  return { page, complaints };
}

const row = (page, body, pattern) => page.locator(`#${body} tr`).filter({ hasText: pattern });

test("what happens is shown as it happens, and only as text", { timeout: 120_000 }, async (t) => {
  const world = await start(t);
  const { page, complaints } = await openAdmin(t, world.url);
  await page.getByRole("status").filter({ hasText: "Live" }).waitFor();

  const { client, upstream } = await openStream(t, world, "/chat/a?secret=1");
  const stream = row(page, "streams", "/chat/a");
  await stream.waitFor();
  upstream.write('{"n":1}\n{"n":2}\n');
  await stream.locator("td").filter({ hasText: /^2$/ }).waitFor();
  // A heartbeat a second: silence is shown, too.
  await row(page, "routes", NAME).locator("td").nth(4).filter({ hasText: /[1-9]/ }).waitFor();
  await row(page, "endpoints", world.backend.address).filter({ hasText: "up" }).waitFor();
  assert.equal(await page.locator("#total-open").textContent(), "1");
  assert.equal(await page.getByRole("row").filter({ hasText: "/chat/a" }).count(), 1, "a table for those who do not see it");

  upstream.end();
  assert.equal(await client.ended, true);
  await row(page, "endings", "/chat/a").filter({ hasText: "complete" }).waitFor();
  await stream.waitFor({ state: "detached" });

  assert.equal(await page.title(), "Weir");
  assert.equal(await page.locator("img").count(), 0, "names are text");
  assert.ok(!(await page.content()).includes("secret"), "no query is shown");
  assert.deepEqual(complaints, []);
});

test("a stream is ended from the page, after a question", { timeout: 120_000 }, async (t) => {
  const world = await start(t);
  const { page, complaints } = await openAdmin(t, world.url);
  const { client, upstream } = await openStream(t, world, "/a");
  const other = await openStream(t, world, "/other");

  const end = row(page, "streams", "/a").getByRole("button", { name: /^End stream/ });
  await end.click();
  await page.getByRole("button", { name: "Let it flow" }).click();
  upstream.write("1\n");
  await row(page, "streams", "/a").locator("td").filter({ hasText: /^1$/ }).first().waitFor();
  await end.click();
  await page.getByRole("button", { name: "End it" }).click();

  assert.equal(await within(client.ended, "the stream's end"), true, "it ends whole");
  assert.match(client.body, /data: 1\n\n(:\n)*retry: \d+\n\n$/);
  await row(page, "endings", "/a").filter({ hasText: "closed" }).waitFor();
  await page.getByRole("status").filter({ hasText: "is told to end" }).waitFor();
  assert.equal(await page.locator("#streams tr").count(), 1, "the other one flows");
  other.upstream.write("2\n");
  await row(page, "streams", "/other").locator("td").filter({ hasText: /^1$/ }).first().waitFor();
  assert.deepEqual(complaints, []);
});

test("a tap shows a stream's events, where the file allows taps", { timeout: 120_000 }, async (t) => {
  const world = await start(t, "tap = true");
  const { page, complaints } = await openAdmin(t, world.url);
  const { client, upstream } = await openStream(t, world, "/a");
  await row(page, "streams", "/a").getByRole("button", { name: /^Tap stream/ }).click();
  const log = page.locator("#tap-log");
  // The client's heartbeats show that the tap is open.
  await log.filter({ hasText: ":" }).waitFor();
  upstream.write('{"text":"<b>bold</b>"}\n');
  await log.filter({ hasText: 'data: {"text":"<b>bold</b>"}' }).waitFor();
  assert.equal(await log.locator("b").count(), 0);
  upstream.end();
  await page.locator("#tap-state").filter({ hasText: "The stream has ended: complete." }).waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  assert.equal(await client.ended, true);
  assert.deepEqual(complaints, []);

  const without = await start(t);
  const { page: plain } = await openAdmin(t, without.url);
  await openStream(t, without, "/a");
  await row(plain, "streams", "/a").waitFor();
  assert.equal(await plain.getByRole("button", { name: /^Tap stream/ }).count(), 0);
});

test("a token is asked for, and kept for the tab", { timeout: 120_000 }, async (t) => {
  const world = await start(t, `token = "${TOKEN}"`);
  const { page } = await openAdmin(t, world.url);
  await openStream(t, world, "/a");
  const field = page.getByLabel("Token", { exact: true });
  await field.fill("this-is-not-the-token");
  await page.getByRole("button", { name: "Show" }).click();
  await page.getByRole("status").filter({ hasText: "This is not the token." }).waitFor();
  assert.equal(await page.locator("#board").isVisible(), false);
  await field.fill(TOKEN);
  await page.getByRole("button", { name: "Show" }).click();
  await row(page, "streams", "/a").waitFor();
  await page.reload();
  await row(page, "streams", "/a").waitFor();
  assert.equal(await field.isVisible(), false);
  assert.ok(!page.url().includes(TOKEN));
  assert.deepEqual(await page.context().cookies(), [], "nothing that a stranger's page could have sent along");
});

test("it fits a phone, by day and by night", { timeout: 120_000 }, async (t) => {
  const world = await start(t, "tap = true");
  await openStream(t, world, `/${"long/".repeat(60)}`);
  const grounds = new Set();
  for (const colorScheme of ["light", "dark"]) {
    const { page, complaints } = await openAdmin(t, world.url, { width: 360, height: 740, colorScheme });
    const stream = row(page, "streams", "long");
    await stream.waitFor();
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, 360, "only the tables scroll sideways");
    const end = stream.getByRole("button", { name: /^End stream/ });
    await end.scrollIntoViewIfNeeded();
    const box = await end.boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 360, `the button is on the screen: ${JSON.stringify(box)}`);
    assert.ok(box.height >= 32, "a thumb finds it");
    await end.click();
    const dialog = await page.locator("#end-dialog").boundingBox();
    assert.ok(dialog.x >= 0 && dialog.x + dialog.width <= 360, JSON.stringify(dialog));
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${colorScheme}-end.png` });
    await page.getByRole("button", { name: "Let it flow" }).click();
    grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    if (process.env.SCREENSHOTS) await page.screenshot({ path: `${process.env.SCREENSHOTS}/${colorScheme}.png`, fullPage: true });
    assert.deepEqual(complaints, []);
  }
  assert.equal(grounds.size, 2);
});

test("the page comes back when Weir does not answer for a while", { timeout: 120_000 }, async (t) => {
  const world = await start(t);
  const { page } = await openAdmin(t, world.url);
  await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
  await world.weir.child.stop();
  await page.getByRole("status").filter({ hasText: "cannot be reached" }).waitFor();
  const again = await start(t, "", world.weir.addresses[1]);
  await page.getByRole("status").filter({ hasText: "Live" }).waitFor();
  await openStream(t, again, "/a");
  await row(page, "streams", "/a").waitFor();
});
