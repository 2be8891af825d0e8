// Does Weir read in JSON what Python does, in every framing of it, and tell what is broken?
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Child, within } from "./lib/child.mjs";
import { directory } from "./lib/place.mjs";
import { binary, convert } from "./lib/weir.mjs";

const PYTHON = process.env.PYTHON_BIN ?? "python3";
const SEED = process.env.WEIR_SEED ?? String(Date.now());
const EXIT_DATA = 65;
const RECORD_BYTES_MAX = 4096;
const DEPTH_MAX = 1024;

/** Runs a checker, which fails where anything is not as it should be; gives what it counted. */
async function checked(t, script, count) {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const checker = new Child(t, PYTHON, [file, binary(), SEED, String(count)]);
  const { code } = await within(checker.exited, `the end of ${script}`, 50_000);
  assert.equal(code, 0, checker.errors);
  return JSON.parse(await checker.line());
}

test("random documents give what json and ijson read in them, byte for byte", { timeout: 60_000 }, async (t) => {
  const counts = await checked(t, "json_documents.py", 120);
  for (const [framing, count] of Object.entries(counts)) assert.ok(count > 20, `${count} documents of ${framing}`);
});

test("random event streams are JSON that says the same", { timeout: 60_000 }, async (t) => {
  assert.ok(await checked(t, "json_events.py", 60) > 100);
});

const deep = (depth) => "[".repeat(depth) + "]".repeat(depth);
const long = `"${"x".repeat(RECORD_BYTES_MAX)}"`;
const CUT = "the input ended inside a record";
const TOO_DEEP = `more than ${DEPTH_MAX} deep`;
const TOO_LONG = `a record is longer than ${RECORD_BYTES_MAX} bytes`;

/** What is fed to which framing, the lines that come of it, and the fault behind them, if there is one. */
const BROKEN = [
  ["a cut line", "ndjson", '{"a":1}\n{"b":', ['{"a":1}'], CUT],
  ["a number that may go on", "ndjson", "[1]\n12", ["[1]"], CUT],
  ["a line beyond the limit", "ndjson", `1\n${long}\n2\n`, ["1"], TOO_LONG],
  ["lines that are no JSON", "ndjson", '{"a":\n]\n', ['{"data":"{\\"a\\":"}', '{"data":"]"}'], null],
  ["a cut value", "json", '{"a":1}{"b":"}', ['{"a":1}'], CUT],
  ["half a literal", "json", "null\ntru", ["null"], CUT],
  ["a number that may go on", "json", "1 2", ["1"], CUT],
  ["a bracket of another kind", "json", '{"a":1} [{"b":[}]', ['{"a":1}'], "a bracket closes one of another kind"],
  ["a bracket that nothing opened", "json", "[1]]", ["[1]"], "a JSON value was expected"],
  ["no value at all", "json", "[1] ok", ["[1]"], "a JSON value was expected"],
  ["a word that is none", "json", "[1] nil [2]", ["[1]"], "neither a number nor true, false or null"],
  ["too many brackets", "json", `1 ${deep(DEPTH_MAX + 1)} 2 `, ["1"], TOO_DEEP],
  ["many brackets", "json", `${deep(DEPTH_MAX)} 2 `, [JSON.stringify({ data: deep(DEPTH_MAX) }), "2"], null],
  ["a value beyond the limit", "json", `1 ${long}`, ["1"], TOO_LONG],
  ["an array without its end", "json-array", '[{"a":1},\n{"b":2}', ['{"a":1}', '{"b":2}'], CUT],
  ["a cut element", "json-array", '[{"a":1},{"b":', ['{"a":1}'], CUT],
  ["no array", "json-array", '{"a":1}', [], 'does not begin with "["'],
  ["no comma", "json-array", "[1 2]", ["1"], 'neither "," nor "]"'],
  ["no element behind a comma", "json-array", "[1,]", ["1"], "a JSON value was expected"],
  ["more behind the end", "json-array", "[1,2]\n[3]", ["1", "2"], 'behind the array\'s "]"'],
  ["too many brackets", "json-array", `[1,${deep(DEPTH_MAX + 1)}]`, ["1"], TOO_DEEP],
  ["an element beyond the limit", "json-array", `[1,${long}]`, ["1"], TOO_LONG],
  ["no separator at first", "json-seq", "{}\n", [], "does not begin with RS"],
  ["a cut text", "json-seq", '\x1e{"a":1}\n\x1e{"b":', ['{"a":1}'], CUT],
  ["a number without its line end", "json-seq", "\x1e1\n\x1e2", ["1"], CUT],
  ["broken texts before sound ones", "json-seq", "\x1e{]}\n\x1e{\n\x1enil\n\x1e12\x1e[1]\n", ["[1]"], null],
  ["too many brackets", "json-seq", `\x1e${deep(DEPTH_MAX + 1)}\n\x1e2\n`, ["2"], null],
  ["a text beyond the limit", "json-seq", `\x1e1\n\x1e${long}\n`, ["1"], TOO_LONG],
];

test("what is broken ends with 65, behind all that was whole", { timeout: 60_000 }, async (t) => {
  const place = await directory(t);
  const toml = path.join(place, "proxy.toml");
  await writeFile(toml, `
[[listener]]
address = "127.0.0.1:0"
[upstream.none]
endpoints = ["http://127.0.0.1:1"]
[[route]]
name = "json"
upstream = "none"
limits = { record = "${RECORD_BYTES_MAX}B" }
`);
  for (const [index, [what, framing, input, expected, fault]] of BROKEN.entries()) {
    const which = `${framing}: ${what}`;
    const file = path.join(place, String(index));
    await writeFile(file, input);
    const { lines, errors, code } = await convert(
      t, framing, file, "--to", "ndjson", "--config", toml, "--route", "json",
    );
    assert.deepEqual(lines, expected, `${which}: ${errors}`);
    assert.ok(errors.includes(fault ?? ""), `${which}: ${errors} should say ${fault}`);
    assert.equal(code, fault === null ? 0 : EXIT_DATA, `${which}: ${errors}`);
  }
});
