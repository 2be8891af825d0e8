"""Who suffers when an endpoint dies under load?"""

import asyncio
import time

from harness import Fault, Row, at_least, at_most, none
from streams import Opener, close, open_many, settle, until

OUTAGE_SECONDS = 4
BACK_SECONDS_MAX = 20


async def run(site, name: str) -> dict:
    """Kills one of three endpoints, opens new streams all the while, and starts it again."""
    count = site.count(500, 150)
    async with site.endpoints("A", "B", "C") as endpoints, \
            site.proxy(name, "outage", endpoints) as proxy:
        streams = await open_many(proxy.url, "/stream?rate=2", count, 3)
        of_b = [stream for stream in streams if stream.by == "B"]
        others = [stream for stream in streams if stream.by in ("A", "C")]
        opener = Opener(proxy.url, "/stream?rate=20&records=3", 20)
        await asyncio.sleep(1)
        killed = time.monotonic()
        endpoints[1].end()
        await asyncio.sleep(OUTAGE_SECONDS)
        started = time.monotonic()
        await asyncio.to_thread(endpoints[1].start)
        has_returned = await until(lambda: came_back(opener, started), BACK_SECONDS_MAX)
        await settle((stream.done.wait() for stream in of_b), 1)
        new = [stream for stream in await opener.stop() if stream.opened >= killed]
        failed = [stream for stream in new if stream.failed or stream.end == "cut" or not stream.is_whole]
        figures = {
            "streams": len(others) + len(of_b),
            "on_dead": len(of_b),
            "others_harmed": sum(stream.end is not None or not stream.is_whole for stream in others),
            "dead_cut": sum(stream.end == "cut" for stream in of_b),
            "dead_whole": sum(stream.end == "complete" for stream in of_b),
            "dead_torn": sum(stream.torn for stream in of_b),
            "dead_told": sum(stream.told is not None for stream in of_b),
            "cut_seconds": max((stream.ended or time.monotonic()) - killed for stream in of_b) if of_b else None,
            "new": len(new),
            "new_failed": len(failed),
            "failing_seconds": max((stream.opened - killed for stream in failed), default=0.0),
            "back_seconds": came_back(opener, started) - started if has_returned else None,
        }
        close(streams)
    return figures


def came_back(opener, started: float) -> float | None:
    """When the endpoint had its first stream again."""
    seen = [stream.opened for stream in opener.streams if stream.by == "B" and stream.opened > started]
    return min(seen, default=None)


FAULT = Fault(
    "outage", "one of three endpoints is killed",
    "One of three endpoints is killed (kill −9) under streams, and comes back 4 s later",
    "Weir: `[upstream.all.health.check] every = \"500ms\"`; nginx: `max_fails=1 fail_timeout=2s`, "
    "`proxy_next_upstream error timeout`; HAProxy: `check inter 500ms`, `observe layer4`, `redispatch`, "
    "`retry-on conn-failure empty-response`",
    (
        Row("streams", "streams open", must=at_least(100)),
        Row("on_dead", "of these on the endpoint that dies", must=at_least(1)),
        Row("others_harmed", "the others' streams that were harmed", must=none, better="less",
            brief="other endpoints' streams harmed"),
        Row("dead_cut", "its own streams that the client sees cut"),
        Row("dead_whole", "its own streams that look complete", must=none, better="less"),
        Row("dead_torn", "its own streams that stop inside an event", must=none, better="less"),
        Row("dead_told", "its own streams whose client is told why", must=at_least(1), better="more",
            brief="its clients that are told why"),
        Row("cut_seconds", "until the last of them was cut", "s", must=at_most(5), better="less"),
        Row("new", "streams opened meanwhile"),
        Row("new_failed", "of these failed", must=none, better="less", brief="new streams that fail"),
        Row("failing_seconds", "until none failed any more", "s"),
        Row("back_seconds", "until it has streams again", "s", must=at_most(15), better="less",
            brief="until it has streams again"),
    ),
    run)
