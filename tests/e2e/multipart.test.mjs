// Does Weir read in multipart bodies what Python does?
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Child, within } from "./lib/child.mjs";
import { events } from "./lib/events.mjs";
import { directory } from "./lib/place.mjs";
import { convert } from "./lib/weir.mjs";

const PYTHON = process.env.PYTHON_BIN ?? "python3";
const WRITER = fileURLToPath(new URL("multipart_bodies.py", import.meta.url));
const SEED = process.env.WEIR_SEED ?? String(Date.now());
const COUNT = 100;
const EXIT_DATA = 65;

test("random bodies give the parts that Python's email module reads in them", { timeout: 60_000 }, async (t) => {
  const writer = new Child(t, PYTHON, [WRITER, await directory(t), SEED, String(COUNT)]);
  for (let count = 0; count < COUNT; count += 1) {
    const line = await writer.line("a body of the writer's");
    assert.notEqual(line, null, writer.errors);
    const { file, contentType, records, isCut } = JSON.parse(line);
    const which = `WEIR_SEED=${SEED}, ${file}`;
    const { lines, errors, code } = await convert(t, "multipart", file, "--content-type", contentType);
    const datas = events(lines).map(([, data]) => data);
    // Of a cut body comes what came of it, and no part in part.
    assert.deepEqual(datas, isCut ? records.slice(0, datas.length) : records, `${which}: ${errors}`);
    assert.equal(code, isCut ? EXIT_DATA : 0, `${which}: ${errors}`);
    assert.equal(errors.includes("the input ended inside a record"), isCut, `${which}: ${errors}`);
  }
  assert.equal((await within(writer.exited, "the writer's end")).code, 0);
});
