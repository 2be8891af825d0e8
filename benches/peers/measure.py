"""How is one work measured through every proxy, round by round?"""

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path

import peers
import process

LOAD_CORE = 1
BACKEND_SECONDS = 10
# What a run may take beyond the seconds it asks for: to open thousands of streams, and to end them.
SPARE_SECONDS = 120
# No proxy at all: what client and backend need by themselves.
DIRECT = "direct"


def measure(site: peers.Site, load: str, row, name: str, quick: bool) -> dict:
    """Runs the row's work once through a fresh proxy; tells what the load client told, or `failed`."""
    try:
        with contextlib.ExitStack() as stack:
            upstream = stack.enter_context(backend(site, load))
            if name == DIRECT:
                return run(site, load, row, upstream, [], quick)
            proxy, ports = stack.enter_context(site.proxy(peers.PEERS[name], upstream))
            return run(site, load, row, ports[row.listener], process.pids(proxy.pid), quick)
    except peers.Failed as fault:
        return {"failed": str(fault)}


@contextlib.contextmanager
def backend(site: peers.Site, load: str):
    """Runs the load tool's backend; yields its port."""
    with tempfile.TemporaryFile() as log:
        running = process.start([load, "backend"], LOAD_CORE, log)
        try:
            yield told_port(running, log)
        finally:
            process.end(running)


def told_port(running, log) -> int:
    """Waits for the line `listening 127.0.0.1:PORT`."""
    said = b""

    def has_told():
        nonlocal said
        log.seek(0)
        said = log.read()
        return said.startswith(b"listening ") and said.endswith(b"\n")

    if not process.wait_until(has_told, BACKEND_SECONDS, running):
        raise peers.Failed(f"the backend does not start: {said.decode(errors='replace')}")
    return int(said.split()[1].rpartition(b":")[2])


def run(site: peers.Site, load: str, row, port: int, pids: list[int], quick: bool) -> dict:
    """Runs the load client; its report, with what it said where it did not end well."""
    scheme = "https" if row.listener == "tls" and pids else "http"
    report = site.place / "report.json"
    report.unlink(missing_ok=True)
    command = [load, "run", "--url", f"{scheme}://127.0.0.1:{port}/", *row.arguments(quick), "--json", report]
    command += ["--insecure"] if scheme == "https" else []
    command += [part for pid in pids for part in ("--proxy-pid", pid)]
    with tempfile.TemporaryFile() as log:
        client = process.start([*command, "--quiet"], LOAD_CORE, log)
        try:
            client.wait(row.options.get("seconds", 0) + SPARE_SECONDS)
        except subprocess.TimeoutExpired:
            raise peers.Failed("the load client does not come to an end") from None
        finally:
            process.end(client)
        log.seek(0)
        said = log.read()[-1000:].decode(errors="replace").strip()
    measurement = read_report(report)
    if client.returncode != 0:
        measurement["complaint"] = said or f"the load client ends with {client.returncode}"
    if not measurement.get("work"):
        raise peers.Failed(measurement["complaint"] if client.returncode else "the load client tells nothing")
    return measurement


def read_report(report: Path) -> dict:
    try:
        return json.loads(report.read_text())
    except (OSError, ValueError):
        return {}


def rounds(site, load, rows, names, count: int, quick: bool, keep) -> None:
    """Measures every row with every proxy, `count` times; hands each measurement to `keep` at once.

    Within a round the proxies follow one another row by row, so that a drift of the machine hits all
    alike; every other round goes through them backwards.
    """
    for number in range(count):
        for row in rows:
            here = [name for name in names if name == "weir" or name in row.peers]
            here += [DIRECT] if row.needs_direct else []
            for name in here if number % 2 == 0 else reversed(here):
                measurement = measure(site, load, row, name, quick)
                keep({"round": number, "row": row.key, "peer": name, **measurement})
