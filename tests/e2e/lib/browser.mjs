// How is a real browser started? Debian's Chromium, without a window and without asking anybody else.
import { chromium } from "playwright-core";

import { WAIT_MS } from "./child.mjs";

/** Opens an empty page in a browser of its own, which ends with the test. */
export async function openPage(t) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
    timeout: 30_000,
  });
  t.after(() => browser.close());
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  return page;
}

/** Every response's URL and protocol ("h2", "http/1.1") from now on, streams included, as they arrive. */
export async function watchProtocols(page) {
  const seen = new Map();
  const session = await page.context().newCDPSession(page);
  session.on("Network.responseReceived", ({ response }) => seen.set(response.url, response.protocol));
  await session.send("Network.enable");
  return seen;
}
