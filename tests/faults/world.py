"""How does the harness get networks, file systems and process ids of its own, and clean them up?

Everything runs in namespaces: ports and mounts collide with nobody's, packets can be dropped without touching
the machine's network, and whatever is left at the end is ended by the kernel.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

MARK = "WEIR_FAULTS_INSIDE"
NEAR_LINK, FAR_LINK = "02:00:00:00:00:01", "02:00:00:00:00:02"
_numbers = itertools.count()


UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def why_not() -> str | None:
    """Says what is missing here, if anything."""
    for command, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        if not shutil.which(command):
            return f"{command} is not installed ({package})"
    tried = subprocess.run([*unshare(), "true"], capture_output=True, text=True)
    return f"no namespaces can be had here: {tried.stderr.strip()}" if tried.returncode else None


def unshare() -> list[str]:
    """Who is not root becomes it in a namespace of users."""
    return UNSHARE if os.geteuid() == 0 else [*UNSHARE, "--user", "--map-root-user"]


def enter(known: dict) -> None:
    """Starts this program again inside, where `inside()` tells it what is known."""
    os.environ[MARK] = json.dumps(known)
    sys.stdout.flush()
    command = [*unshare(), sys.executable, *sys.argv]
    os.execvp(command[0], command)


def inside() -> dict | None:
    """What was known outside; None where we are outside. Brings up the network."""
    if MARK not in os.environ:
        return None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run("ip", "link", "set", "lo", "up")
    # So that a client that does not read is full after a moment, and not after megabytes.
    for name in ("wmem", "rmem"):
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv4/tcp_{name}").write_text("4096 65536 262144")
    return json.loads(os.environ[MARK])


class Far:
    """A second network at the other end of a wire, whose packets can be made to vanish."""

    def __init__(self):
        number = next(_numbers)
        self._near_device, self._device = f"near{number}", f"far{number}"
        # The addresses of either end.
        self.near, self.address = f"10.213.{number}.1", f"10.213.{number}.2"
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        try:
            self._join()
        except subprocess.CalledProcessError as fault:
            self.end()
            raise OSError(f"no second network: {fault.stderr.decode().strip()}") from fault

    def _join(self):
        ours = os.stat("/proc/self/ns/net").st_ino
        while os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino == ours:
            os.sched_yield()
        run("ip", "link", "add", self._near_device, "address", NEAR_LINK, "type", "veth",
            "peer", "name", self._device, "address", FAR_LINK, "netns", self.holder.pid)
        for at, device, address in ((run, self._near_device, self.near), (self.run, self._device, self.address)):
            at("ip", "addr", "add", f"{address}/24", "dev", device)
            at("ip", "link", "set", device, "up")
        # Else the kernel would find out by itself, asking who has the address.
        run("ip", "neigh", "replace", self.address, "lladdr", FAR_LINK, "nud", "permanent", "dev", self._near_device)
        self.run("ip", "neigh", "replace", self.near, "lladdr", NEAR_LINK, "nud", "permanent", "dev", self._device)

    def command(self, *command) -> list[str]:
        """The command that runs `command` there."""
        return ["nsenter", "--net", f"--target={self.holder.pid}", *map(str, command)]

    def run(self, *command) -> str:
        return run(*self.command(*command))

    def vanish(self) -> None:
        """From now on nothing from there arrives, and nothing that is sent there is answered."""
        self.run("ip", "addr", "del", f"{self.address}/24", "dev", self._device)

    def end(self) -> None:
        self.holder.kill()
        self.holder.wait()


def run(*command) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout.decode().strip()


class Disk:
    """A small file system for a log."""

    def __init__(self, place: Path):
        self.log = place / "log"
        self._filling = place / "filling"

    def fill(self) -> None:
        """Fills it to the last byte."""
        with contextlib.suppress(OSError), self._filling.open("ab", buffering=0) as filling:
            while True:
                filling.write(b"x" * 512)

    def free(self) -> None:
        self._filling.unlink()


@contextlib.contextmanager
def full_disk(place: Path):
    """Mounts a file system of 64 kB; yields it, still with room."""
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place)
    try:
        yield Disk(place)
    finally:
        # Whoever still writes there keeps it until it ends.
        run("umount", "--lazy", place)
