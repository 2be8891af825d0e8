// Does Weir read in the streams of Connect and gRPC-Web what Connect's own library writes into them?
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";

import { Code, ConnectError } from "@connectrpc/connect";
import { createEnvelopeReadableStream, encodeEnvelope } from "@connectrpc/connect/protocol";
import { codeToString, endStreamFlag, endStreamToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus, trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";

import { events } from "./lib/events.mjs";
import { directory } from "./lib/place.mjs";
import { convert } from "./lib/weir.mjs";

const SEED = Number(process.env.WEIR_SEED ?? Date.now());
const COUNT = 40;
const EXIT_DATA = 65;
const CODES = Object.values(Code).filter(Number.isInteger);
const WORDS = ["a", "ä", "🌊", " ", "100%", "%41", '"', "\\", "\u0002"];
const encode = (text) => new TextEncoder().encode(text);

const FORMATS = {
  connect: { from: "connect", contentType: "application/connect+json", end: connectEnd },
  "gRPC-Web": { from: "grpc-web", contentType: "application/grpc-web+json", end: grpcWebEnd },
  "gRPC-Web in base64": { from: "grpc-web", contentType: "application/grpc-web-text+json", end: grpcWebEnd },
};

for (const [name, format] of Object.entries(FORMATS)) {
  test(`random streams of ${name} give what the library wrote`, { timeout: 60_000 }, async (t) => {
    const folder = await directory(t);
    for (let index = 0; index < COUNT; index += 1) {
      const random = generator(SEED + index);
      const error = index % 2 ? new ConnectError(words(random), pick(random, CODES)) : undefined;
      const isCut = index % 4 === 2;
      const messages = Array.from({ length: random(8) }, () => JSON.stringify({ [words(random)]: words(random) }));
      const { envelope, records, report } = format.end(error);
      const heartbeat = encodeEnvelope(0, new Uint8Array());
      const frames = messages.flatMap((message) => [encodeEnvelope(0, encode(message)), heartbeat].slice(random(2)));
      const wire = Buffer.concat([...frames, envelope]);
      const kept = isCut ? wire.subarray(0, random(wire.length)) : wire;

      const file = path.join(folder, `${index}.bin`);
      const isText = format.contentType.includes("-text");
      await writeFile(file, isText ? inBase64(kept, random) : kept);
      const { lines, errors, code } = await convert(t, format.from, file, "--content-type", format.contentType);
      const which = `WEIR_SEED=${SEED}, ${index} of ${name}: ${errors}`;
      const expected = [...await read(kept), ...(isCut ? [] : records)];
      assert.deepEqual(events(lines), expected, which);
      const fault = isCut ? "the input ended inside a record" : report;
      assert.equal(code, fault === undefined ? 0 : EXIT_DATA, which);
      if (fault !== undefined) assert.ok(errors.includes(fault), `${which} should say ${fault}`);
    }
  });
}

/** The messages that the library reads in `wire`, as events; heartbeats are none. */
async function read(wire) {
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(wire));
      controller.close();
    },
  });
  const found = [];
  try {
    for await (const { flags, data } of createEnvelopeReadableStream(stream)) {
      if (flags === 0 && data.length > 0) found.push([null, new TextDecoder().decode(data)]);
    }
  } catch (error) {
    // A cut inside an envelope; what was whole has come.
    assert.match(String(error), /protocol error|premature/);
  }
  return found;
}

/** The last envelope of Connect, what a client gets of it, and what is reported. */
function connectEnd(error) {
  const end = endStreamToJson(new Headers({ "x-other": "y" }), error);
  const records = error ? [["error", JSON.stringify(end.error)]] : [];
  const report = error && `the upstream reported ${codeToString(error.code)}${said(error)}`;
  return { envelope: encodeEnvelope(endStreamFlag, encode(JSON.stringify(end))), records, report };
}

/** The same of gRPC-Web, whose errors are no records. */
function grpcWebEnd(error) {
  const trailers = new Headers({ "x-other": "y" });
  setTrailerStatus(trailers, error);
  // gRPC itself writes one code another way.
  const name = error && codeToString(error.code).toUpperCase().replace("CANCELED", "CANCELLED");
  const report = error && `the upstream reported grpc-status ${error.code} (${name})${said(error)}`;
  return { envelope: encodeEnvelope(trailerFlag, trailerSerialize(trailers)), records: [], report };
}

/** What is reported of a message: the start of it, on one line. */
function said({ rawMessage }) {
  return rawMessage && `: ${[...rawMessage].slice(0, 256).join("").replaceAll("\u0002", " ")}`;
}

/** Every piece of `wire` by itself, so that padding stands anywhere. */
function inBase64(wire, random) {
  const pieces = [];
  for (let rest = wire; rest.length > 0;) {
    const length = 1 + random(rest.length);
    pieces.push(rest.subarray(0, length).toString("base64"));
    rest = rest.subarray(length);
  }
  return pieces.join("");
}

const words = (random) => Array.from({ length: pick(random, [0, 1, 5, 200]) }, () => pick(random, WORDS)).join("");
const pick = (random, list) => list[random(list.length)];

/** Numbers below the one that is asked for, always the same of one seed (mulberry32). */
function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
