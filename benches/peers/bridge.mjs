// What people write in Node to turn NDJSON into Server-Sent Events.  node bridge.mjs PORT UPSTREAM_PORT
import http from 'node:http';

const [port, upstreamPort] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity });

const server = http.createServer((request, response) => {
  const options = { host: '127.0.0.1', port: upstreamPort, path: request.url, method: request.method, agent };
  const upstream = http.request(options, (reply) => {
    response.writeHead(reply.statusCode, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
    convert(reply, response);
  });
  upstream.on('error', () => response.destroy());
  response.on('close', () => response.writableFinished || upstream.destroy());
  request.pipe(upstream);
});

function convert(reply, response) {
  let held = '';
  const send = (lines) => {
    let events = '';
    for (const line of lines) {
      const record = line.endsWith('\r') ? line.slice(0, -1) : line;
      if (record) events += `data: ${record}\n\n`;
    }
    if (events && !response.write(events)) {
      reply.pause();
      response.once('drain', () => reply.resume());
    }
  };
  // Decoded across chunks, so that no character is cut.
  reply.setEncoding('utf8');
  reply.on('data', (chunk) => {
    const lines = (held + chunk).split('\n');
    held = lines.pop();
    send(lines);
  });
  reply.on('end', () => {
    send([held]);
    response.end();
  });
  reply.on('aborted', () => response.destroy());
}

server.listen({ port, host: '127.0.0.1', backlog: 4096 });
