"""Which work is run, and what is its goal?"""

from dataclasses import dataclass

from peers import CONVERTING, PASSING


@dataclass(frozen=True)
class Figure:
    """One number of a measurement, and the ratio of Weir's to the best of `against` that is aimed at."""

    title: str
    unit: str
    at: tuple[str, ...]
    goal: float | None = None
    against: tuple[str, ...] = PASSING
    # What the proxy adds to the same work done without it.
    added: bool = False

    def value(self, measurement: dict | None, direct: dict | None) -> float | None:
        """Reads the figure out of what the load client told; None where it told nothing."""
        value = look(measurement, self.at)
        if value is None or not self.added:
            return value
        without = look(direct, self.at)
        # Less than the clock's step cannot be told from nothing.
        return None if without is None else max(value - without, ADDED_US_MIN)


@dataclass(frozen=True)
class Row:
    """A work over a transport, with the load client's options, in full and for a quick trial."""

    key: str
    title: str
    work: str
    listener: str
    http: str
    options: dict
    quick: dict
    figures: tuple[Figure, ...]
    peers: tuple[str, ...] = PASSING

    @property
    def needs_direct(self) -> bool:
        return any(figure.added for figure in self.figures)

    def arguments(self, quick: bool) -> list[str]:
        """The load client's options for this row, but for its address."""
        options = {**self.options, **(self.quick if quick else {})}
        named = ["--work", self.work, "--http", self.http]
        return named + [part for name, value in options.items() for part in (f"--{name}", str(value))]


def look(measurement: dict | None, at: tuple[str, ...]) -> float | None:
    for key in at:
        measurement = (measurement or {}).get(key)
    return measurement


ADDED_US_MIN = 1
BOTH = PASSING + CONVERTING
KB = ("proxy", "kb_per_stream")
EVENT = ("proxy", "cpu_us_per_event")
STREAM = ("proxy", "cpu_us_per_stream")
MB = ("proxy", "cpu_ms_per_mb")
P99 = ("latency_us", "p99")


def memory(goal, against=PASSING):
    return Figure("memory", "kB a stream", KB, goal, against)


def cpu_event(goal, against=PASSING):
    return Figure("CPU", "µs an event", EVENT, goal, against)


def cpu_mb(goal, against=PASSING):
    return Figure("CPU", "ms a MB", MB, goal, against)


def p99(goal):
    return Figure("p99 added", "µs", P99, goal, ("haproxy",), added=True)


def row(key, title, work, transport, options, quick, figures, peers=PASSING):
    listener, http = {"h1": ("h1", "1.1"), "h1+TLS": ("tls", "1.1"), "h2+TLS": ("tls", "2")}[transport]
    return Row(key, f"{title}, {transport}", work, listener, http, options, quick, figures, peers)


IDLE = {"seconds": 5}
TICK = {"streams": 200, "rate": 25, "size": 200, "seconds": 10}
SHORT = {"seconds": 2}
LLM = {"streams": 50, "rate": 100, "size": 120, "seconds": 10}
FIRE = {"streams": 4, "batch": 64, "size": 200, "seconds": 5}
BIG = {"streams": 4, "size": 65_000, "seconds": 5}

ROWS = {
    row.key: row
    for row in (
        row("idle-h1", "idle: 4,000 silent streams", "idle", "h1", {"streams": 4000, **IDLE},
            {"streams": 500, **SHORT}, (memory(0.5), memory(None, CONVERTING)), BOTH),
        row("idle-h1-tls", "idle: 2,000 silent streams", "idle", "h1+TLS", {"streams": 2000, **IDLE},
            {"streams": 300, **SHORT}, (memory(0.6),)),
        row("idle-h2-tls", "idle: 4,000 silent streams, 100 a connection", "idle", "h2+TLS",
            {"streams": 4000, "per-connection": 100, **IDLE}, {"streams": 500, **SHORT}, (memory(0.5),)),
        row("idle-browser", "idle, as browsers do: 1,500 silent streams, 1 a connection", "idle", "h2+TLS",
            {"streams": 1500, "per-connection": 1, **IDLE}, {"streams": 200, **SHORT},
            (memory(0.6, ("nginx",)), memory(None, ("haproxy",)))),
        row("tick-h1", "tick: 200 streams, 25 events/s of 200 B each", "tick", "h1", TICK, SHORT,
            (cpu_event(0.9), cpu_event(None, CONVERTING), p99(1.0)), BOTH),
        row("llm-h1", "llm: 50 streams, 100 events/s of 120 B each", "llm", "h1", LLM,
            SHORT, (cpu_event(0.9), p99(1.0))),
        row("tick-h2-tls", "tick: 200 streams, 25 events/s of 200 B each, 50 a connection", "tick", "h2+TLS",
            {**TICK, "per-connection": 50}, SHORT, (cpu_event(1.0),)),
        row("fire-h1", "fire: 4 streams at full speed, 64 events of 200 B a chunk", "fire", "h1", FIRE, SHORT,
            (cpu_mb(1.0), cpu_event(0.4, CONVERTING)), BOTH),
        row("fire-h2-tls", "fire: 4 streams at full speed, 64 events of 200 B a chunk", "fire", "h2+TLS",
            FIRE, SHORT, (cpu_mb(1.0),)),
        row("big-h1", "big: 4 streams at full speed, events of 65 kB", "big", "h1", BIG, SHORT, (cpu_mb(None),)),
        row("churn-h1", "churn: 3,000 streams of 5 events, 32 at once", "churn", "h1",
            {"streams": 3000, "records": 5, "concurrency": 32}, {"streams": 500},
            (Figure("CPU", "µs a stream", STREAM, 1.0),)),
        row("slow-h1", "slow: 1,000 clients that stop reading", "slow", "h1", {"streams": 1000, **IDLE},
            {"streams": 100, **SHORT}, (memory(None),)),
    )
}
