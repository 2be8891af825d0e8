"""What does a client see of a stream?"""

import asyncio
import json
import sys
import time

CONNECT_SECONDS = 10


class Stream(asyncio.Protocol):
    """One GET over a connection of its own, watched from its opening to its end.

    It reads records as lines or as Server-Sent Events, whatever comes. `end` is how it ended:
    "complete" with HTTP's own end, "cut" without, "refused" before a connection, "unanswered" before a head;
    None while it is open, and "left" where we closed it. One that is stuck reads its head, and never again.
    """

    def __init__(self, path: str, is_stuck: bool = False):
        self.path, self.is_stuck = path, is_stuck
        self.opened = time.monotonic()
        self.status = self.by = self.end = self.ended = self.head_at = self.fields = None
        self.events = self.heartbeats = self.gaps = self.duplicates = 0
        # The `code` of a stream-error event, and whether the client was asked to come back.
        self.told = self.asked_back = None
        # Whether the body stopped inside an event.
        self.torn = False
        self.event_name = None
        self.late = 0.0
        self.done = asyncio.Event()
        self.begun = asyncio.Event()
        self._raw = self._text = b""
        self._rest = 0
        self._is_inside = False

    async def open(self, address, source=None):
        """Connects and asks; returns itself, whatever comes of it."""
        loop = asyncio.get_running_loop()
        try:
            connecting = loop.create_connection(lambda: self, *address, local_addr=source)
            await asyncio.wait_for(connecting, CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncio.TimeoutError):
            self._finish("refused")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost, doubled or torn so far."""
        return not (self.gaps or self.duplicates or self.torn)

    @property
    def failed(self) -> bool:
        """Whether it never became a stream."""
        return self.end in ("refused", "unanswered") or (self.status or 200) >= 400

    def leave(self):
        self._finish("left")
        if self.transport:
            self.transport.abort()

    transport = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n" % self.path.encode())

    def connection_lost(self, _):
        self._finish("unanswered" if self.status is None else "cut")

    def data_received(self, data):
        self._raw += data
        if self.status is None and not self._take_head():
            return
        if self.is_stuck:
            self.transport.pause_reading()
            return self.begun.set()
        if self.end is None:
            self._take_chunks()

    def _take_head(self) -> bool:
        head, found, rest = self._raw.partition(b"\r\n\r\n")
        if not found:
            return False
        line, *fields = head.decode("latin-1").split("\r\n")
        self.fields = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        self.status, self.head_at, self._raw = int(line.split()[1]), time.monotonic(), rest
        if self.status != 200:
            self._finish("complete")
            self.transport.abort()
        return True

    def _take_chunks(self):
        while self._raw:
            if self._rest == 0:
                line, found, rest = self._raw.partition(b"\r\n")
                if not found:
                    return
                length = int(line.split(b";")[0], 16)
                self._raw = rest
                if length == 0:
                    self._finish("complete")
                    self.transport.abort()
                    return
                self._rest = length + 2
            part, self._raw = self._raw[:self._rest], self._raw[self._rest:]
            # The line end behind a chunk is no part of it.
            data = len(part) - max(0, 2 - (self._rest - len(part)))
            self._text += part[:max(data, 0)]
            self._rest -= len(part)
            self._take_lines()

    def _take_lines(self):
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            self._is_inside = line.startswith((b"data: ", b"event: ", b"retry: "))
            if line.startswith((b"{", b"data: ")):
                self._take_record(json.loads(line.removeprefix(b"data: ")))
            elif line.startswith(b"event: "):
                self.event_name = line[7:].decode()
            elif line.startswith(b"retry: "):
                self.asked_back = True
            elif line.startswith(b":"):
                self.heartbeats += 1

    def _take_record(self, record):
        if "code" in record:
            self.told = record["code"]
            return
        number = record["n"]
        self.gaps += max(0, number - self.events)
        self.duplicates += number < self.events
        self.events = max(self.events, number + 1)
        self.by = record["by"]
        self.late = max(self.late, time.monotonic() - record["at"])
        self.begun.set()

    def _finish(self, end: str):
        if self.end is None:
            self.end, self.ended = end, time.monotonic()
            self.torn = (bool(self._text) or self._is_inside) and end != "left"
            self.done.set()
            self.begun.set()


async def open_many(address, path: str, count: int, seconds: float, source=None) -> list[Stream]:
    """Opens streams evenly over `seconds`, and waits for the first record of each."""
    begun, opening = time.monotonic(), []
    for number in range(count):
        await asyncio.sleep(begun + seconds * number / count - time.monotonic())
        opening.append(asyncio.ensure_future(Stream(path).open(address, source)))
    streams = [await stream for stream in opening]
    await settle((stream.begun.wait() for stream in streams), 15)
    return streams


class Opener:
    """Opens short streams at a rate, as clients come and go, until it is stopped."""

    def __init__(self, address, path: str, rate: float):
        self.address, self.path, self.rate = address, path, rate
        self.streams = []
        self.task = asyncio.ensure_future(self._run())

    async def _run(self):
        due = time.monotonic()
        while True:
            stream = Stream(self.path)
            self.streams.append(stream)
            asyncio.ensure_future(stream.open(self.address))
            due += 1 / self.rate
            await asyncio.sleep(due - time.monotonic())

    async def stop(self, seconds: float = 10) -> list[Stream]:
        """Opens no more, waits for those that are open, and returns all."""
        self.task.cancel()
        await settle((stream.done.wait() for stream in self.streams), seconds)
        return self.streams


async def settle(waits, seconds: float) -> None:
    """Waits for all of them, but no longer than this."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=seconds)
        for task in pending:
            task.cancel()


async def until(is_so, seconds: float) -> bool:
    """Waits until `is_so` answers true; false if the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return bool(found)


def close(streams) -> None:
    for stream in streams:
        if stream.end is None:
            stream.leave()


async def main(host: str, port: str, count: str, *paths: str) -> None:
    """Opens streams of each path, says so, and reads on until it is ended."""
    streams = []
    for path in paths:
        streams += await open_many((host, int(port)), path, int(count), 0.1)
    print(sum(stream.status == 200 for stream in streams), "open", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
