// Does the probe find what a real nginx does to streams, and what has to be set?
import assert from "node:assert/strict";
import { test } from "node:test";

import { startNginx } from "./lib/nginx.mjs";
import { probe, startProbeBackend } from "./lib/weir.mjs";

const COMPRESSES = `
      gzip on;
      gzip_types text/event-stream;
      gzip_proxied any;
      gzip_min_length 1;`;
const STREAMS = `
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;`;

test("an nginx as it comes, with gzip, buffers and hides truncation", { timeout: 90_000 }, async (t) => {
  const nginx = await startNginx(t, await startProbeBackend(t), COMPRESSES);
  const { code, report } = await probe(t, `http://${nginx}/events`, ["--silence", "5s"]);

  assert.equal(code, 1, JSON.stringify(report));
  assert.deepEqual(report.hops, ["nginx"]);
  const { head, buffering, compression, truncation, request } = report.checks;
  assert.equal(head.verdict, "problem");
  assert.equal(buffering.verdict, "problem");
  assert.match(buffering.set.join("\n"), /nginx: proxy_buffering off;/);
  assert.equal(buffering.measured.response_fields_help, true);
  assert.equal(compression.measured.coding, "gzip");
  assert.equal(compression.verdict, "unknown");
  // Before 1.29.7 it speaks HTTP/1.0 to backends, whose cuts cannot be told from ends.
  assert.equal(request.verdict, request.measured.http === "HTTP/1.0" ? "problem" : "ok");
  assert.equal(truncation.verdict, request.measured.http === "HTTP/1.0" ? "problem" : "ok");
});

test("an nginx that is set for streams passes", { timeout: 90_000 }, async (t) => {
  const nginx = await startNginx(t, await startProbeBackend(t), STREAMS + COMPRESSES);
  const { code, report } = await probe(t, `http://${nginx}/events`, ["--silence", "5s"]);

  const verdicts = Object.entries(report.checks).map(([name, { verdict }]) => `${name} ${verdict}`);
  assert.deepEqual(verdicts.filter((told) => !told.endsWith(" ok")), [], JSON.stringify(report));
  assert.equal(code, 0);
  assert.equal(report.checks.compression.measured.coding, "gzip");
});

test("an nginx that cuts silence is told, with what to set", { timeout: 90_000 }, async (t) => {
  const nginx = await startNginx(t, await startProbeBackend(t), `${STREAMS}
      proxy_read_timeout 3s;`);
  const { code, report } = await probe(t, `http://${nginx}/events`, ["--silence", "10s"]);

  assert.equal(code, 1);
  const { silence } = report.checks;
  assert.equal(silence.verdict, "problem");
  assert.ok(silence.measured.cut_after_ms >= 2_500 && silence.measured.cut_after_ms < 6_000, silence.figure);
  assert.equal(silence.measured.heartbeats_help, true);
  assert.match(silence.set.join("\n"), /proxy_read_timeout/);
});
