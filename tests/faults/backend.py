#!/usr/bin/env python3
"""What is behind the proxies: one endpoint, as a process that can be killed.

    backend.py PORT NAME [ADDRESS]

Each record says its number, who emits it and when: {"n":17,"by":"A","at":1893340265.956}. The path decides:

    /stream?rate=2&records=0     records at a rate; 0 records: without end
    /fast?size=65536             records as fast as they are taken
    /never                       no reply
    /silent?seconds=12           one record at once, then silence, another one, and the end
    /late?seconds=8              no reply until then, then one record and the end
    /state                       what is open here, as JSON: {"/fast": 100}
    /health                      204
"""

import asyncio
import collections
import json
import signal
import sys
import time
from urllib.parse import parse_qsl, urlsplit

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
open_streams = collections.Counter()


class Connection(asyncio.Protocol):
    """One connection: a request at a time, each answered as its path says."""

    def __init__(self, name: str):
        self.name = name
        self.received = b""
        self.path = None
        self.task = None
        self.can_write = asyncio.Event()
        self.can_write.set()

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.can_write.clear()

    def resume_writing(self):
        self.can_write.set()

    def connection_lost(self, _):
        if self.task:
            self.task.cancel()
        self._closed()

    def data_received(self, data):
        self.received += data
        # GETs alone come here: a request ends with its head.
        if b"\r\n\r\n" in self.received and self.path is None:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            url = urlsplit(head.split(b" ", 2)[1].decode())
            self.path = url.path
            open_streams[self.path] += 1
            self.task = asyncio.ensure_future(self._answer(dict(parse_qsl(url.query))))

    def _closed(self):
        if self.path is not None:
            open_streams[self.path] -= 1
            self.path = None

    async def _answer(self, asked):
        seconds, rate = float(asked.get("seconds", 0)), float(asked.get("rate", 1))
        match self.path:
            case "/stream":
                await self._stream(rate, int(asked.get("records", 0)))
            case "/fast":
                await self._fast(int(asked["size"]))
            case "/never":
                await asyncio.Event().wait()
            case "/silent":
                self.transport.write(HEAD + self._record(0))
                await asyncio.sleep(seconds)
                self.transport.write(self._record(1) + LAST)
            case "/late":
                await asyncio.sleep(seconds)
                self.transport.write(HEAD + self._record(0) + LAST)
            case "/state":
                told = json.dumps(open_streams).encode()
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
            case "/health":
                self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            case _:
                self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        self._closed()

    async def _stream(self, rate: float, records: int):
        self.transport.write(HEAD + self._record(0))
        due, number = time.monotonic(), 1
        while not records or number < records:
            due += 1 / rate
            await asyncio.sleep(due - time.monotonic())
            self.transport.write(self._record(number))
            number += 1
        self.transport.write(LAST)

    async def _fast(self, size: int):
        self.transport.write(HEAD)
        pad, number = "x" * size, 0
        while True:
            await self.can_write.wait()
            self.transport.write(self._record(number, pad))
            number += 1
            # Others have their turn, too.
            await asyncio.sleep(0)

    def _record(self, number: int, pad: str = "") -> bytes:
        record = {"n": number, "by": self.name, "at": round(time.monotonic(), 6), "pad": pad}
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        return b"%x\r\n%s\r\n" % (len(line), line)


async def main(port: int, name: str, address: str):
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(name), address, port, backlog=4096)
    print("listening", flush=True)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"))
