// Does Weir read in tables of comma-separated values what Python does?
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Child, within } from "./lib/child.mjs";
import { events } from "./lib/events.mjs";
import { directory } from "./lib/place.mjs";
import { convert } from "./lib/weir.mjs";

const PYTHON = process.env.PYTHON_BIN ?? "python3";
const WRITER = fileURLToPath(new URL("csv_tables.py", import.meta.url));
const SEED = process.env.WEIR_SEED ?? String(Date.now());
const COUNT = 100;
const EXIT_DATA = 65;

test("random tables give what Python's csv module reads in them", { timeout: 60_000 }, async (t) => {
  const writer = new Child(t, PYTHON, [WRITER, await directory(t), SEED, String(COUNT)]);
  for (let count = 0; count < COUNT; count += 1) {
    const line = await writer.line("a table of the writer's");
    assert.notEqual(line, null, writer.errors);
    const { file, contentType, records, isCut } = JSON.parse(line);
    const which = `WEIR_SEED=${SEED}, ${file}`;
    const { lines, errors, code } = await convert(t, "csv", file, "--content-type", contentType);
    assert.deepEqual(events(lines).map(([, data]) => JSON.parse(data)), records, `${which}: ${errors}`);
    assert.equal(code, isCut ? EXIT_DATA : 0, `${which}: ${errors}`);
    assert.equal(errors.includes("the input ended inside a record"), isCut, `${which}: ${errors}`);
  }
  assert.equal((await within(writer.exited, "the writer's end")).code, 0);
});
