// Does Weir read in Amazon event streams what Amazon's own client does?
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Child, within } from "./lib/child.mjs";
import { events as read } from "./lib/events.mjs";
import { directory } from "./lib/place.mjs";
import { convert } from "./lib/weir.mjs";

const PYTHON = process.env.PYTHON_BIN ?? "python3";
const WRITER = fileURLToPath(new URL("aws_eventstream.py", import.meta.url));
const SEED = process.env.WEIR_SEED ?? String(Date.now());
const COUNT = 50;
const EXIT_DATA = 65;

test("random event streams give what botocore reads in them", { timeout: 60_000 }, async (t) => {
  const writer = new Child(t, PYTHON, [WRITER, await directory(t), SEED, String(COUNT)]);
  for (let count = 0; count < COUNT; count += 1) {
    const line = await writer.line("a stream of the writer's");
    assert.notEqual(line, null, writer.errors);
    const { file, events, fault } = JSON.parse(line);
    const which = `WEIR_SEED=${SEED}, ${file}`;
    const { lines, errors, code } = await convert(t, "aws-eventstream", file);
    assert.deepEqual(read(lines), events, which);
    if (fault === null) {
      assert.equal(code, 0, `${which}: ${errors}`);
    } else {
      assert.ok(errors.includes(fault), `${which}: ${errors} should say ${fault}`);
      assert.equal(code, EXIT_DATA, which);
    }
  }
  assert.equal((await within(writer.exited, "the writer's end")).code, 0);
});
