"""What does a fault have at hand, and what does it tell?"""

import asyncio
import contextlib
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import proxies


@dataclass(frozen=True)
class Row:
    """One figure of a fault: its key in what the fault tells, its title, and what it must be for Weir.

    `better` says which of two is better, "less" or "more"; `brief` is its title in the project's README, if any.
    """

    key: str
    title: str
    unit: str = ""
    must: Callable | None = None
    better: str = ""
    brief: str = ""


@dataclass(frozen=True)
class Fault:
    """A fault: what is done, under which settings, what it tells of every proxy, and how it is run."""

    key: str
    brief: str
    title: str
    settings: str
    rows: tuple[Row, ...]
    run: Callable
    # Whether it mostly waits, so that all such faults of all proxies run at the same time.
    waits: bool = False


class Skipped(Exception):
    """A fault cannot be run here, or not with this proxy; its text says why."""


@dataclass
class Site:
    """Where the proxies run."""

    place: Path
    programs: dict[str, str]
    quick: bool

    def count(self, whole: int, quick: int) -> int:
        """How many: in a whole run, and in a quick one."""
        return quick if self.quick else whole

    @contextlib.asynccontextmanager
    async def proxy(self, name: str, fault: str, endpoints, **settings):
        """Runs a fresh proxy in front of the endpoints."""
        proxy = proxies.PROXIES[name](self.programs[name], self.place / fault / name)
        try:
            # In a thread, so that what runs at the same time goes on.
            yield await asyncio.to_thread(proxy.start, [endpoint.at for endpoint in endpoints], **settings)
        finally:
            proxy.end()

    @contextlib.asynccontextmanager
    async def endpoints(self, *names: str):
        """Runs endpoints."""
        running = [await asyncio.to_thread(proxies.Endpoint, name) for name in names]
        try:
            yield running
        finally:
            for endpoint in running:
                endpoint.end()

    def version(self, name: str) -> str:
        """Asks the program itself."""
        flag = {"weir": "--version", "nginx": "-v", "haproxy": "-v"}[name]
        told = subprocess.run([self.programs[name], flag], capture_output=True, text=True)
        found = re.search(r"(\d+\.\d+[\w.]*)", told.stdout + told.stderr)
        return found.group(1) if found else "unknown"


# What figures must be.

def none(value):
    return value == 0


def all_of(value):
    return value is True


def at_most(most):
    def is_so(value):
        return value is not None and value <= most
    return is_so


def at_least(least):
    def is_so(value):
        return value is not None and value >= least
    return is_so
