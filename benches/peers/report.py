"""What came out, as tables?"""

from collections import Counter
from statistics import median

import plot
from measure import DIRECT
from peers import CONVERTING, PASSING, PEERS
from rows import ROWS

FAULTS = ("errors", "gaps", "duplicates", "reordered", "ended_early")


class Results:
    """Every measurement of a run, asked by row, proxy and figure."""

    def __init__(self, results: dict):
        self.about = results["about"]
        self.measurements = results["measurements"]
        self.by_key = {(m["row"], m["peer"], m["round"]): m for m in self.measurements}
        self.rounds = sorted({m["round"] for m in self.measurements})
        self.rows = [row for row in ROWS.values() if any(m["row"] == row.key for m in self.measurements)]

    def value(self, row, figure, peer, number):
        """The figure of one round, None where it was not measured."""
        measurement = self.by_key.get((row.key, peer, number))
        return figure.value(measurement, self.by_key.get((row.key, DIRECT, number)))

    def median(self, row, figure, peer):
        values = [self.value(row, figure, peer, number) for number in self.rounds]
        values = [value for value in values if value is not None]
        return median(values) if values else None

    def ratios(self, row, figure):
        """Weir to the best of the figure's peers, a pair of ratio and peer for every round."""
        found = []
        for number in self.rounds:
            weir = self.value(row, figure, "weir", number)
            others = {peer: self.value(row, figure, peer, number) for peer in figure.against}
            others = {peer: value for peer, value in others.items() if value}
            if weir is not None and others:
                best = min(others, key=others.get)
                found.append((weir / others[best], best))
        return found


def markdown(results: dict) -> str:
    """Writes the page: what was measured on what, the tables, and what went wrong."""
    run = Results(results)
    parts = [HEAD, about(run), "## Peers that pass bytes on", table(run, PASSING),
             "## Peers that convert, as people write them by hand", table(run, CONVERTING),
             "## What did not go well", faults(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def readme(results: dict, text: str) -> str:
    """Puts the tables where the project's README shows them, between its two marks."""
    run = Results(results)
    before, after = text.index(README_BEGIN) + len(README_BEGIN), text.index(README_END)
    parts = [about(run), table(run, PASSING, goals=False), "And what people write by hand to convert:",
             table(run, CONVERTING, goals=False)]
    return text[:before] + "\n" + "\n\n".join(parts) + "\n" + text[after:]


def about(run: Results) -> str:
    told = run.about
    versions = ", ".join(f"{PEERS[name].title} {version}" for name, version in told["versions"].items())
    count = f"{told['rounds']} round{'s' if told['rounds'] != 1 else ''}"
    lines = [f"{told['date']}, {count}{', quick' if told['quick'] else ''}; {told['processor']}, "
             f"{told['cores']} cores, Linux {told['kernel']}.", f"{versions}."]
    lines += [f"Left out: {PEERS[name].title} ({reason})." for name, reason in told["missing"].items()]
    return "\n".join(lines)


def table(run: Results, kind, goals: bool = True) -> str:
    shown = [peer for peer in kind if any(m["peer"] == peer for m in run.measurements)]
    if not shown:
        return "None was measured."
    names = [PEERS[peer].title for peer in shown]
    lines = ["| work | figure | Weir | " + " | ".join(names) + " | Weir to the best | goal | met |",
             "|---|---|" + "--:|" * (len(names) + 1) + "---|---|---|"]
    if not goals:
        lines = [lines[0].removesuffix(" goal | met |"), lines[1].removesuffix("---|---|")]
    for row in run.rows:
        for figure in row.figures:
            if set(figure.against) <= set(kind):
                lines.append(line(run, row, figure, shown, goals))
    return "\n".join(lines)


def line(run: Results, row, figure, shown, goals: bool) -> str:
    medians = {peer: run.median(row, figure, peer) for peer in ("weir", *shown)}
    best = min((value for value in medians.values() if value is not None), default=None)
    cells = [f"**{number(value)}**" if value == best else number(value) for value in medians.values()]
    ratios = run.ratios(row, figure)
    ratio, met = "–", "no" if figure.goal else ""
    if ratios:
        values = [value for value, _ in ratios]
        middle = median(values)
        spread = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
        winner = Counter(peer for _, peer in ratios).most_common(1)[0][0]
        ratio = f"**{middle:.2f}**{spread} {PEERS[winner].title}"
        met = "" if figure.goal is None else "yes" if middle <= figure.goal else "no"
    goal = "" if figure.goal is None else f"≤ {figure.goal}"
    if goal and len(figure.against) == 1:
        goal += f" of {PEERS[figure.against[0]].title}"
    cells += [ratio, goal, met] if goals else [ratio]
    return f"| {row.title} | {figure.title}, {figure.unit} | " + " | ".join(cells) + " |"


def number(value) -> str:
    """Writes about three digits."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:,.{digits}f}"


def faults(run: Results) -> str:
    """Lists what every proxy did not deliver; a figure beside it is worth less."""
    lines = []
    for m in run.measurements:
        said = [f"{m[key]} {key.replace('_', ' ')}" for key in FAULTS if m.get(key)]
        said += [" ".join(m[key].split()) for key in ("complaint", "failed") if m.get(key)]
        if said:
            title = PEERS[m["peer"]].title if m["peer"] in PEERS else "no proxy"
            lines.append(f"- {m['row']}, {title}, round {m['round'] + 1}: {'; '.join(said)}")
    return "\n".join(lines) or "Nothing: every stream of every proxy delivered every event, once and in order."


def plots(results: dict) -> dict[str, str]:
    """Draws the plots; each by the name of its file."""
    run = Results(results)
    drawn = {}
    for name, title, keys, index in PLOTS:
        groups = []
        for row in (ROWS[key] for key in keys):
            figure = row.figures[index]
            shown = [peer for peer in PEERS if peer == "weir" or peer in row.peers]
            bars = [(PEERS[peer].title, peer, run.median(row, figure, peer)) for peer in shown]
            bars = [(label, peer, value, number(value)) for label, peer, value in bars if value is not None]
            if bars:
                groups.append((row.title, sorted(bars, key=lambda bar: bar[2])))
        if groups:
            drawn[name] = plot.draw(title, groups)
    return drawn


PLOTS = (
    ("memory.svg", "Memory of an idle stream, kB (less is better)",
     ("idle-h1", "idle-h1-tls", "idle-h2-tls", "idle-browser"), 0),
    ("cpu.svg", "CPU of an event as it happens, µs (less is better)", ("tick-h1", "llm-h1", "tick-h2-tls"), 0),
    ("fire.svg", "CPU of a megabyte at full speed, ms (less is better)", ("fire-h1", "fire-h2-tls", "big-h1"), 0),
)

README_BEGIN, README_END = "<!-- benches/peers/run writes from here -->", "<!-- to here -->"

HEAD = """# Weir beside its peers

Written by `benches/peers/run`; [README.md](README.md) says how it is measured and how to read it. Less is
better in every figure, and the least of a line is bold. A figure is the median over the rounds; the ratio is the
median of the rounds' own ratios, with the least and the greatest. **Weir converts NDJSON to Server-Sent
Events with heartbeats armed; the peers of the first table only pass bytes on.**

![Memory](memory.svg)

![CPU](cpu.svg)

![Full speed](fire.svg)"""
