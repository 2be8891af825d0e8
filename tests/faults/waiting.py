"""Who notices that a peer has vanished, or never says anything?"""

import asyncio
import sys
import time

import proxies
from harness import Fault, Row, Skipped, all_of, at_least, at_most, none
from leaving import open_on
from streams import Stream, close, open_many, settle, until
from world import Far

STREAMS = 10
# As long as Weir's connections may have bytes unacknowledged, and a moment.
NOTICE_SECONDS_MAX = 80
QUICK_SECONDS_MAX = 4
IDLE_SECONDS = 5
IMPATIENT_SECONDS = 5


def second_network() -> Far:
    try:
        return Far()
    except OSError as fault:
        raise Skipped(str(fault)) from fault


async def client_vanishes(site, name: str) -> dict:
    """Lets the packets of clients vanish, and looks at the endpoint for who is given up."""
    far = second_network()
    reader = None
    try:
        async with site.endpoints("A") as (endpoint,), \
                site.proxy(name, "client-vanishes", [endpoint], address="0.0.0.0", unacknowledged=5) as proxy:
            paths = ["/stream?rate=2", "/silent?seconds=1000"]
            command = far.command(sys.executable, "-B", proxies.HERE / "streams.py", far.near, proxy.port, STREAMS,
                                  *paths)
            reader = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            said = await asyncio.wait_for(reader.stdout.readline(), 30)
            healthy = await open_many(proxy.url, "/stream?rate=2", 5, 0.1)
            far.vanish()
            begun, noticed = time.monotonic(), {}
            paths = {"/stream": len(healthy), "/silent": 0}
            while len(noticed) < len(paths) and time.monotonic() - begun < NOTICE_SECONDS_MAX:
                await asyncio.sleep(0.5)
                for path, expected in paths.items():
                    if path not in noticed and await open_on(endpoint, path) <= expected:
                        noticed[path] = time.monotonic() - begun
            figures = {
                "opened": int(said.split()[0]),
                "busy_seconds": noticed.get("/stream"),
                "quiet_seconds": noticed.get("/silent"),
                "harmed": sum(stream.end is not None or not stream.is_whole for stream in healthy),
            }
            close(healthy)
        return figures
    finally:
        if reader:
            reader.kill()
            await reader.wait()
        far.end()


CLIENT_VANISHES = Fault(
    "client-vanishes", "clients' packets vanish",
    "The packets of clients vanish in the middle of their streams, without a FIN",
    'Weir: `[listener.timeouts] unacknowledged = "5s"`; nginx: `so_keepalive=5s:1s:3`; HAProxy: `tcp-ut 5s`, '
    "`clitcpka`",
    (
        Row("opened", "streams of clients that vanish", must=at_least(2 * STREAMS)),
        Row("busy_seconds", "until the proxy gives up streams with events", "s", must=at_most(NOTICE_SECONDS_MAX),
            better="less", brief="until streams with events are given up"),
        Row("quiet_seconds", "until it gives up silent ones", "s", must=at_most(NOTICE_SECONDS_MAX), better="less",
            brief="until silent streams are given up"),
        Row("harmed", "of 5 streams beside them harmed", must=none, better="less"),
    ),
    client_vanishes, waits=True)


async def endpoint_vanishes(site, name: str) -> dict:
    """Lets the packets of an endpoint vanish in the middle of its replies."""
    far = second_network()
    endpoint = None
    try:
        port = 9000
        endpoint = proxies.Endpoint("F", port, far, far.address)
        answers = lambda: proxies.process.accepts(port, far.address)  # noqa: E731
        if not await until(answers, 15):
            raise proxies.Failed("the endpoint in the second network does not start")
        async with site.proxy(name, "endpoint-vanishes", [endpoint], idle=IDLE_SECONDS) as proxy:
            streams = await open_many(proxy.url, "/stream?rate=2", STREAMS, 0.1)
            far.vanish()
            begun = time.monotonic()
            await settle((stream.done.wait() for stream in streams), 4 * IDLE_SECONDS)
            asked = time.monotonic()
            new = await Stream("/stream?rate=2").open(proxy.url)
            await settle([new.done.wait()], 15)
            figures = {
                "opened": sum(stream.status == 200 for stream in streams),
                "cut": sum(stream.end == "cut" for stream in streams),
                "complete": sum(stream.end == "complete" for stream in streams),
                "told": sum(stream.told is not None for stream in streams),
                "seconds": max((stream.ended or time.monotonic()) - begun for stream in streams),
                "new_status": new.status,
                "new_seconds": new.ended - asked if new.ended else None,
            }
            close([*streams, new])
        return figures
    finally:
        if endpoint:
            endpoint.end()
        far.end()


ENDPOINT_VANISHES = Fault(
    "endpoint-vanishes", "an endpoint's packets vanish",
    "The packets of an endpoint vanish in the middle of its replies",
    f"{IDLE_SECONDS} s of silence (Weir: `[route.timeouts] idle`; nginx: `proxy_read_timeout`; HAProxy: "
    "`timeout server`); 1 s to connect",
    (
        Row("opened", "streams open", must=at_least(STREAMS)),
        Row("cut", "of these that the client sees cut", must=at_least(STREAMS)),
        Row("complete", "of these that look complete", must=none, better="less"),
        Row("told", "of these whose client is told why", must=at_least(STREAMS), better="more",
            brief="clients that are told why, of 10"),
        Row("seconds", "until all were cut", "s", must=at_most(4 * IDLE_SECONDS), better="less",
            brief="until the clients know"),
        Row("new_status", "status of a new request then", must=at_least(500)),
        Row("new_seconds", "until it was answered", "s", must=at_most(15)),
    ),
    endpoint_vanishes, waits=True)


async def silent(site, name: str) -> dict:
    """Asks endpoints that never answer, answer late, or fall silent, the latter two through an impatient nginx."""
    if "nginx" not in site.programs:
        raise Skipped("there is no nginx to put in front")
    async with site.endpoints("A") as endpoints, \
            site.proxy(name, "never", endpoints, idle=3) as strict, \
            site.proxy(name, "silent", endpoints, before_reply="2s") as patient, \
            site.proxy("nginx", f"front-of-{name}", [At(patient.url)], idle=IMPATIENT_SECONDS) as front:
        begun = time.monotonic()
        never, hushed, late = (Stream("/never"), Stream("/silent?seconds=12"), Stream("/late?seconds=8"))
        await asyncio.gather(never.open(strict.url), hushed.open(front.url), late.open(front.url))
        await settle((stream.done.wait() for stream in (never, hushed, late)), 30)
        return {
            "never_status": never.status,
            "never_seconds": never.ended - begun if never.ended else None,
            "silent": hushed.end == "complete" and hushed.is_whole and hushed.events == 2,
            "late": late.end == "complete" and late.is_whole and late.events == 1,
        }


class At:
    """Something that is already there, as an endpoint."""

    def __init__(self, at):
        self.at = at


SILENT = Fault(
    "silent", "silent endpoints, an impatient hop in front",
    "An endpoint never answers, falls silent for 12 s, or answers after 8 s only",
    f"3 s for the first answer, else no limit; in front of the latter two an nginx with `proxy_read_timeout "
    f"{IMPATIENT_SECONDS}s`; Weir: `heartbeat = {{ every = \"2s\", before_reply = \"2s\" }}`",
    (
        Row("never_status", "status where there is no answer", must=at_least(504)),
        Row("never_seconds", "until that is told", "s", must=at_most(15)),
        Row("silent", "the silent stream survives the impatient hop", must=all_of, better="more",
            brief="silence of 12 s survives"),
        Row("late", "the late answer survives it", must=all_of, better="more", brief="an answer after 8 s survives"),
    ),
    silent, waits=True)
