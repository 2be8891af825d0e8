"""How do streams end when the proxy is asked to go, and what does a client cost that does not read?"""

import asyncio
import json
import time
from collections import Counter

from harness import Fault, Row, at_least, at_most, none
from streams import Stream, close, open_many, settle, until

DRAIN_SECONDS = 10
WRITE_SECONDS = 5


async def drain(site, name: str) -> dict:
    """Asks a proxy with many streams to go within ten seconds."""
    count = site.count(2000, 400)
    async with site.endpoints("A", "B") as endpoints, \
            site.proxy(name, "drain", endpoints, drain=DRAIN_SECONDS, is_bounded=True) as proxy:
        streams = await open_many(proxy.url, "/stream?rate=1", count, 4)
        begun = time.monotonic()
        proxy.leave()
        is_gone = await until(lambda: not proxy.is_alive(), DRAIN_SECONDS + 10)
        gone = time.monotonic() - begun
        await settle((stream.done.wait() for stream in streams), 2)
        ends = sorted(stream.ended - begun for stream in streams if stream.ended)
        clean = [stream for stream in streams if stream.end == "complete" and stream.is_whole]
        figures = {
            "streams": len(streams),
            "clean": len(clean),
            "asked_back": sum(bool(stream.asked_back) for stream in clean),
            "cut": sum(stream.end != "complete" for stream in streams),
            "torn": sum(stream.torn for stream in streams),
            "lost": sum(bool(stream.gaps or stream.duplicates) for stream in streams),
            "p5": ends[len(ends) // 20],
            "p95": ends[len(ends) * 19 // 20],
            "busiest": max(Counter(int(end) for end in ends).values()),
            "gone_seconds": gone if is_gone else None,
        }
        close(streams)
    return figures


def is_spread(value) -> bool:
    # A client that was told when to come back comes back later still: these are the ends themselves.
    return value > DRAIN_SECONDS / 2


DRAIN = Fault(
    "drain", "2,000 streams, to be gone in 10 s",
    "A proxy with many streams is asked to go within 10 s",
    "Weir: SIGTERM, `drain = \"10s\"`; nginx: QUIT, `worker_shutdown_timeout 10s`; HAProxy: USR1, "
    "`hard-stop-after 10s`",
    (
        Row("streams", "streams open", must=at_least(300)),
        Row("clean", "that end whole, between events", must=at_least(300), better="more",
            brief="streams that end whole"),
        Row("asked_back", "that tell their client when to come back", must=at_least(300), better="more"),
        Row("cut", "that are cut", must=none, better="less", brief="streams that are cut"),
        Row("torn", "that stop inside an event", must=none, better="less"),
        Row("p5", "a twentieth has ended after", "s"),
        Row("p95", "all but a twentieth have ended after", "s", must=is_spread),
        Row("busiest", "ends in the busiest second", better="less", brief="ends in the busiest second"),
        Row("gone_seconds", "until the proxy is gone", "s", must=at_most(DRAIN_SECONDS + 5)),
    ),
    drain)


async def slow(site, name: str) -> dict:
    """Has clients stop reading while their backend goes on as fast as it can."""
    count = site.count(100, 40)
    async with site.endpoints("A") as (endpoint,), \
            site.proxy(name, "slow", [endpoint], write=WRITE_SECONDS) as proxy:
        healthy = await open_many(proxy.url, "/stream?rate=10", 20, 0.5)
        before = proxy.pss_kb()
        for stream in healthy:
            stream.late = 0.0
        stuck = [Stream("/fast?size=16000", is_stuck=True) for _ in range(count)]
        await asyncio.gather(*(stream.open(proxy.url) for stream in stuck))
        await settle((stream.begun.wait() for stream in stuck), 10)
        begun, peak, state = time.monotonic(), before, count
        while state and time.monotonic() - begun < 4 * WRITE_SECONDS:
            await asyncio.sleep(0.5)
            peak = max(peak, proxy.pss_kb())
            state = await open_on(endpoint, "/fast")
        figures = {
            "stuck": count,
            "memory": peak - before,
            "late_ms": max(stream.late for stream in healthy) * 1000,
            "harmed": sum(stream.end is not None or not stream.is_whole for stream in healthy),
            "left": state,
            "ended_seconds": None if state else time.monotonic() - begun,
        }
        close(healthy + stuck)
    return figures


async def open_on(endpoint, path: str) -> int:
    """How many streams of a path the endpoint has open."""
    reader, writer = await asyncio.open_connection(*endpoint.at)
    writer.write(b"GET /state HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    told = json.loads(await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r")[0])))
    writer.close()
    return told.get(path, 0)


SLOW = Fault(
    "slow", "100 clients that stop reading",
    "Clients stop reading while their backend goes on as fast as it can",
    f"time to write: {WRITE_SECONDS} s (Weir: `[route.timeouts] write`; nginx: `send_timeout`; HAProxy: "
    "`timeout client`)",
    (
        Row("stuck", "clients that do not read"),
        Row("memory", "memory that they cost at most", "kB", must=at_most(100_000), better="less",
            brief="memory that they cost"),
        Row("late_ms", "the latest event of 20 streams beside them", "ms"),
        Row("harmed", "of these harmed", must=none, better="less"),
        Row("left", "stuck streams that are not ended after 20 s", must=none),
        Row("ended_seconds", "until all of them were ended", "s", must=at_most(15), better="less",
            brief="until all are ended"),
    ),
    slow)
