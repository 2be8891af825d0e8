"""Does a proxy pass records on one at a time, before anything is measured?"""

import contextlib
import http.server
import os
import subprocess
import threading
import time
from concurrent import futures

import peers
import process

RECORDS = 6
PAUSE_SECONDS = 0.4
# Well below what the whole stream takes, so that one that is held back to its end is seen.
GAP_SECONDS_MAX = 1.0
FLAGS = {
    "h1": ["--http1.1"],
    "h2c": ["--http2-prior-knowledge"],
    "tls": ["--insecure", "--http2"],
    "tls h1": ["--insecure", "--http1.1"],
}


class Ticker(http.server.BaseHTTPRequestHandler):
    """Answers with records that it writes in two parts, a pause before each."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(RECORDS):
            record = b'{"n":%d}\n' % number
            for part in (record[:3], record[3:]):
                time.sleep(PAUSE_SECONDS / 2)
                self._chunk(part)
        self._chunk(b"")

    def _chunk(self, part):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Takes it that a proxy resets its connection when it ends."""

    daemon_threads = True

    def handle_error(self, *_):
        pass


@contextlib.contextmanager
def ticker():
    """Runs the backend of the check; yields its port."""
    server = Server(("127.0.0.1", 0), Ticker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def check(site: peers.Site, peer: peers.Peer) -> None:
    """Reads one stream through each of the peer's transports, all at once.

    Raises Failed, with the peer's name, where records are held back, lost, changed, or not converted.
    """
    with ticker() as upstream, site.proxy(peer, upstream) as (_, ports), futures.ThreadPoolExecutor() as pool:
        reads = {}
        for transport, flags in FLAGS.items():
            listener = transport.split()[0]
            if listener in ports:
                url = f"{'https' if listener == 'tls' else 'http'}://127.0.0.1:{ports[listener]}/"
                reads[transport] = pool.submit(read, url, flags, peer.converts)
        for transport, fault in reads.items():
            if fault.result():
                raise peers.Failed(f"{peer.title} over {transport}: {fault.result()}")


def read(url: str, flags: list[str], converts: bool) -> str | None:
    """Reads the stream; says what is wrong with it, if anything."""
    client = subprocess.Popen(["curl", "-sN", "-D", "/dev/stderr", "--max-time", "10", *flags, url],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    body, arrivals = b"", [time.monotonic()]
    try:
        while part := os.read(client.stdout.fileno(), 65536):
            body += part
            arrivals.append(time.monotonic())
        head = client.communicate()[1].decode(errors="replace").lower()
    finally:
        process.end(client)
    kind = "text/event-stream" if converts else "application/x-ndjson"
    frame = "data: %s\n\n" if converts else "%s\n"
    expected = "".join(frame % f'{{"n":{number}}}' for number in range(RECORDS))
    gap = max((after - before for before, after in zip(arrivals, arrivals[1:])), default=0)
    if client.returncode != 0:
        return f"curl ends with {client.returncode}"
    if f"content-type: {kind}" not in head:
        return f"the response is not {kind}:\n{head}"
    if body.decode(errors="replace") != expected:
        return f"the body is {body!r}"
    if gap > GAP_SECONDS_MAX or len(arrivals) <= RECORDS:
        return f"records are held back: {len(arrivals) - 1} arrivals, {gap:.1f} s apart at most"
    return None
