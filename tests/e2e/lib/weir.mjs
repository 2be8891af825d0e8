// How is the real binary started? WEIR_BIN names it; else the newest build of this checkout is taken.
import { existsSync, statSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { Child, within } from "./child.mjs";
import { directory } from "./place.mjs";

/** Runs `weir run` with this `proxy.toml`; gives the addresses it listens on, in the file's order. */
export async function startWeir(t, toml) {
  const where = await directory(t);
  const file = path.join(where, "proxy.toml");
  await writeFile(file, toml);
  const child = new Child(t, binary(), ["run", "--config", file], { cwd: where });
  const count = toml.match(/^\[\[listener\]\]/gm).length;
  const addresses = [];
  while (addresses.length < count) {
    const [, told] = await child.match(/listening(.*)/);
    addresses.push(...(told.match(/\d+\.\d+\.\d+\.\d+:\d+/g) ?? []));
  }
  return { child, addresses, address: addresses[0] };
}

/** Runs `weir demo` on a free port; gives its address. */
export async function startDemo(t) {
  const child = new Child(t, binary(), ["demo", "--address", "127.0.0.1:0"]);
  const [, address] = await child.match(/browser: http:\/\/([\d.]+:\d+)\//);
  return { child, address };
}

/** Runs `weir convert` on a file; gives the lines it wrote, what it complained of, and its exit code. */
export async function convert(t, from, file, ...args) {
  const input = await open(file);
  const child = new Child(t, binary(), ["convert", "--from", from, ...args], { stdio: [input.fd, "pipe", "pipe"] });
  const lines = [];
  for (let line = await child.line(); line !== null; line = await child.line()) lines.push(line);
  const { code } = await within(child.exited, "the end of weir convert");
  await input.close();
  return { lines, errors: child.errors, code };
}

/** Runs `weir probe --serve` on a free port; gives its address. */
export async function startProbeBackend(t) {
  const child = new Child(t, binary(), ["probe", "--serve"]);
  const [, address] = await child.match(/^listening (.*)$/);
  return address;
}

/** Runs `weir probe` on a URL; gives its exit code and the document that it wrote. */
export async function probe(t, url, args) {
  const child = new Child(t, binary(), ["probe", "--json", ...args, url]);
  const { code } = await within(child.exited, "the end of weir probe", 60_000);
  let text = "";
  for (let line = await child.line(); line !== null; line = await child.line()) text += line;
  if (text === "") throw new Error(child.errors);
  return { code, report: JSON.parse(text) };
}

/** The path of the binary under test. */
export function binary() {
  if (process.env.WEIR_BIN) return path.resolve(process.env.WEIR_BIN);
  const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
  const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
  const built = ["release", "debug"].map((profile) => path.join(target, profile, "weir")).filter(existsSync);
  if (built.length === 0) throw new Error("no weir: run `cargo build`, or name one in WEIR_BIN");
  return built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}
