"""What happens when descriptors or the log's disk run out?"""

import asyncio
import time

from harness import Fault, Row, all_of, at_least, at_most, none
from streams import Opener, Stream, close, open_many, settle, until
from world import full_disk

FILES = 240
CROWD = 800
WATCH_SECONDS = 3
SERVED_SECONDS_MAX = 15


async def descriptors(site, name: str) -> dict:
    """Sends more clients than there are descriptors."""
    async with site.endpoints("A") as endpoints, \
            site.proxy(name, "descriptors", endpoints, files=FILES) as proxy:
        streams = await open_many(proxy.url, "/stream?rate=5", 20, 0.5)
        crowd = [Stream("/stream?rate=1") for _ in range(CROWD)]
        await asyncio.gather(*(stream.open(proxy.url) for stream in crowd))
        await asyncio.sleep(1)
        before = proxy.cpu_seconds()
        await asyncio.sleep(WATCH_SECONDS)
        cpu = (proxy.cpu_seconds() - before) / WATCH_SECONDS * 100
        served = sum(stream.events > 0 for stream in crowd)
        refused = sum(stream.failed for stream in crowd)
        statuses = sorted({stream.status for stream in crowd if stream.status and stream.status != 200})
        close(crowd)
        left = time.monotonic()
        is_served = await serves(proxy)
        figures = {
            "streams": len(streams),
            "harmed": sum(stream.end is not None or not stream.is_whole for stream in streams),
            "served": served,
            "refused": refused,
            "statuses": ", ".join(map(str, statuses)) or "–",
            "waiting": CROWD - served - refused,
            "cpu": cpu,
            "served_seconds": time.monotonic() - left if is_served else None,
        }
        close(streams)
    return figures


async def serves(proxy) -> bool:
    """Tries new streams until one is whole."""
    deadline = time.monotonic() + SERVED_SECONDS_MAX
    while time.monotonic() < deadline:
        stream = Stream("/stream?rate=50&records=3")
        opening = asyncio.ensure_future(stream.open(proxy.url))
        await settle([stream.done.wait()], 2)
        opening.cancel()
        if stream.end == "complete" and stream.is_whole:
            return True
        close([stream])
        await asyncio.sleep(0.1)
    return False


DESCRIPTORS = Fault(
    "descriptors", "no more descriptors",
    f"{CROWD} clients come to a proxy that may open {FILES} files",
    f"`prlimit --nofile={FILES}`; nginx has that for each of its two workers; HAProxy needs a `maxconn` that fits, "
    "Weir derives as much",
    (
        Row("streams", "streams open before", must=at_least(20)),
        Row("harmed", "of these harmed", must=none, better="less", brief="open streams harmed"),
        Row("served", "of the crowd served", must=at_least(FILES // 6)),
        Row("refused", "of the crowd answered with an error, or closed unanswered", must=none, better="less",
            brief="newcomers refused, of 800"),
        Row("statuses", "with the status"),
        Row("waiting", "of the crowd left waiting"),
        Row("cpu", "processor time meanwhile", "% of a core", must=at_most(50)),
        Row("served_seconds", "until newcomers were served, once the crowd had left", "s", must=at_most(10),
            better="less", brief="until newcomers are served, once there is room"),
    ),
    descriptors)


async def disk(site, name: str) -> dict:
    """Fills the disk that the log is written to, and frees it again."""
    place = site.place / "disk-of-logs" / name
    with full_disk(place) as disk_of_logs:
        async with site.endpoints("A") as endpoints, \
                site.proxy(name, "disk", endpoints, log_file=disk_of_logs.log, level="info") as proxy:
            streams = await open_many(proxy.url, "/stream?rate=5", 50, 0.5)
            first = await some(proxy)
            at_first = disk_of_logs.log.stat().st_size
            disk_of_logs.fill()
            # What is left of the log's last page is filled by what it logs.
            meanwhile = await some(proxy)
            full = disk_of_logs.log.stat().st_size
            meanwhile += await some(proxy)
            is_lost = disk_of_logs.log.stat().st_size == full
            disk_of_logs.free()
            afterwards = await some(proxy)
            short = first + meanwhile + afterwards
            figures = {
                "logged": at_first > 0,
                "is_lost": is_lost,
                "streams": len(streams),
                "harmed": sum(stream.end is not None or not stream.is_whole for stream in streams),
                "short": len(meanwhile),
                "short_harmed": sum(stream.end != "complete" or not stream.is_whole for stream in short),
                "logs_again": await until(lambda: disk_of_logs.log.stat().st_size > full, 2),
            }
            close(streams)
    return figures


async def some(proxy) -> list[Stream]:
    """Runs short streams for a second and a half: each is a line of the log."""
    opener = Opener(proxy.url, "/stream?rate=100&records=3", 40)
    await asyncio.sleep(1.5)
    return await opener.stop()


DISK = Fault(
    "disk", "the log's disk is full",
    "The disk that the log is written to is full, and later is not",
    "log on a file system of 64 kB: standard error for Weir (`--log info`), `access_log` and `error_log` for nginx, "
    "`log stdout format raw` for HAProxy",
    (
        Row("logged", "it logs before", must=all_of),
        Row("is_lost", "what it logs is lost meanwhile", must=all_of),
        Row("streams", "streams open before"),
        Row("harmed", "of these harmed", must=none, better="less", brief="open streams harmed"),
        Row("short", "streams opened meanwhile", must=at_least(50)),
        Row("short_harmed", "of these failed or harmed", must=none, better="less", brief="new streams harmed"),
        Row("logs_again", "it logs again", must=all_of, better="more", brief="logs again, once there is room"),
    ),
    disk)
