"""Does anybody notice that the configuration is read again, or the binary replaced?"""

import asyncio
import time

from harness import Fault, Row, Skipped, all_of, at_least, at_most, none
from streams import Opener, Stream, close, open_many, settle, until

# From one reload to the next.
PAUSE_SECONDS = 0.1
SETTLE_SECONDS = 15
DRAIN_SECONDS = 5
# What the streams themselves may take; a generation that stays would take more.
MEMORY_KB_MAX = 4000
LONG, SHORT = "/stream?rate=5", "/stream?rate=50&records=5"


async def reload(site, name: str) -> dict:
    """Reloads, alternately a changed file and a broken one, while streams flow, come and go."""
    reloads = site.count(100, 30)
    async with site.endpoints("A") as endpoints, site.proxy(name, "reload", endpoints) as proxy:
        streams = await open_many(proxy.url, LONG, site.count(100, 50), 1)
        opener = Opener(proxy.url, SHORT, 30)
        await asyncio.sleep(1)
        before, at_first = proxy.pss_kb(), len(proxy.pids())
        for number in range(reloads):
            is_broken = number % 2 == 1
            proxy.configure(broken=is_broken, generation=f"g{number}")
            proxy.reload()
            await asyncio.sleep(PAUSE_SECONDS / 2)
            # Of every generation one stream lasts.
            streams.append(await Stream(LONG).open(proxy.url))
            await asyncio.sleep(PAUSE_SECONDS / 2)
        proxy.configure(generation="last")
        proxy.reload()
        took_effect = await generation_is(proxy, "last")
        await asyncio.sleep(1)
        meanwhile, processes = proxy.pss_kb(), len(proxy.pids())
        short = await opener.stop()
        harmed = [stream for stream in streams if stream.end is not None or not stream.is_whole]
        close(streams)
        await until(lambda: len(proxy.pids()) <= at_first, SETTLE_SECONDS)
        return {
            "reloads": reloads + 1,
            "took_effect": took_effect,
            "streams": len(streams) + len(short),
            "refused": sum(stream.failed for stream in short),
            "harmed": len(harmed) + sum(not stream.failed and broken_off(stream) for stream in short),
            "processes": processes - at_first,
            "pss_before": before,
            "memory_meanwhile": max(0, meanwhile - before),
            "memory_after": max(0, proxy.pss_kb() - before),
        }


async def generation_is(proxy, generation: str) -> bool:
    """Waits until new streams are opened under the generation."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        stream = await Stream(SHORT).open(proxy.url)
        await settle([stream.done.wait()], 5)
        if stream.status == 200 and proxy.generation(stream) == generation:
            return True
        await asyncio.sleep(0.1)
    return False


def broken_off(stream) -> bool:
    return stream.end != "complete" or not stream.is_whole


RELOAD = Fault(
    "reload", "101 reloads in 10 s, half of them of broken files",
    "The file is read again 101 times in 10 s, alternately changed and broken, under load",
    "Weir: HUP; nginx: HUP, no `worker_shutdown_timeout`; HAProxy: master-worker, USR2, `expose-fd listeners`, no "
    "`hard-stop-after`",
    (
        Row("took_effect", "the last change took effect", must=all_of),
        Row("streams", "streams meanwhile", must=at_least(100)),
        Row("refused", "of these refused or unanswered", must=none, better="less", brief="clients refused"),
        Row("harmed", "of these cut, or with events lost or doubled", must=none, better="less",
            brief="streams harmed"),
        Row("processes", "processes more, while streams of earlier files last", must=none, better="less",
            brief="processes left, while streams last"),
        Row("pss_before", "memory before", "kB"),
        Row("memory_meanwhile", "memory more, while streams of earlier files last", "kB",
            must=at_most(MEMORY_KB_MAX), better="less", brief="memory more, while streams last"),
        Row("memory_after", "memory more, after all streams have ended", "kB", must=at_most(MEMORY_KB_MAX),
            better="less"),
    ),
    reload)


async def upgrade(site, name: str) -> dict:
    """Puts a new binary in the place of the old one, while streams flow, come and go."""
    async with site.endpoints("A") as endpoints, \
            site.proxy(name, "upgrade", endpoints, drain=DRAIN_SECONDS) as proxy:
        if not proxy.can_upgrade():
            raise Skipped("this binary does not take SIGUSR2")
        streams = await open_many(proxy.url, LONG, site.count(200, 100), 1)
        opener = Opener(proxy.url, SHORT, 50)
        await asyncio.sleep(1)
        before, begun = set(proxy.pids()), time.monotonic()
        await asyncio.to_thread(proxy.upgrade)
        took_over = await until(lambda: proxy.runs_new(set(proxy.pids()) - before), SETTLE_SECONDS)
        # Until the old ones are gone, or for longer than a drain takes.
        await until(lambda: old_workers(proxy, before) == 0, 2 * DRAIN_SECONDS)
        short = await opener.stop()
        still = await Stream(SHORT).open(proxy.url)
        await settle([still.done.wait()], 5)
        figures = {
            "took_over": took_over and still.end == "complete",
            "short": len(short),
            "refused": sum(stream.failed for stream in short),
            "harmed": sum(not stream.failed and broken_off(stream) for stream in short),
            "streams": len(streams),
            "cut": sum(stream.end == "cut" or not stream.is_whole for stream in streams),
            "asked_back": sum(stream.end == "complete" for stream in streams),
            "left": sum(stream.end is None for stream in streams),
            "old_seconds": None if old_workers(proxy, before) else time.monotonic() - begun,
        }
        close(streams)
    return figures


def old_workers(proxy, before) -> int:
    """How many of the earlier processes there are; the master of HAProxy stays, and is the new binary."""
    return len(set(proxy.pids()) & before - proxy.kept_pids())


UPGRADE = Fault(
    "upgrade", "a new binary takes over",
    "A new binary takes over under load",
    "Weir: SIGUSR2, `drain = \"5s\"`; nginx: USR2, then QUIT; HAProxy: USR2 to the master; the peers' old processes "
    "have all the time that their streams need",
    (
        Row("took_over", "the new binary serves", must=all_of),
        Row("short", "streams opened meanwhile", must=at_least(50)),
        Row("refused", "of these refused or unanswered", must=none, better="less", brief="clients refused"),
        Row("harmed", "of these cut, or with events lost or doubled", must=none, better="less"),
        Row("streams", "long streams open before"),
        Row("cut", "of these cut, or with events lost or doubled", must=none, better="less", brief="long streams cut"),
        Row("asked_back", "of these ended whole, between events", brief="long streams ended whole"),
        Row("left", "of these still open in the old processes after 10 s", brief="long streams left in old processes"),
        Row("old_seconds", "until the old processes were gone", "s", must=at_most(9)),
    ),
    upgrade)
