// Where do a test's files and ports come from?
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import { Child, within } from "./child.mjs";

/** A directory that goes with the test. */
export async function directory(t) {
  const made = await mkdtemp(path.join(tmpdir(), "weir-e2e-"));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}

/**
 * A port of 127.0.0.1 for a program that cannot take a free one itself.
 *
 * It lies below the range from which systems give ports away (32768 and up on Linux), or another test that
 * binds port 0, or any outgoing connection, could take it before the program does.
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const server = createServer();
    const isFree = await new Promise((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** A certificate for 127.0.0.1 and localhost that signed itself: `{ certificate, key }`, as paths. */
export async function selfSigned(t) {
  const where = await directory(t);
  const certificate = path.join(where, "cert.pem");
  const key = path.join(where, "key.pem");
  const openssl = new Child(t, "openssl", [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
    "-keyout", key, "-out", certificate,
  ]);
  const { code } = await within(openssl.exited, "the certificate");
  if (code !== 0) throw new Error(`openssl: ${openssl.errors}`);
  return { certificate, key };
}
