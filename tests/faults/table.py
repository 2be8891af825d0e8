"""What came out, as tables?"""


NOT_IN_TIME = "not in time"
# From here on a difference is one: of times in seconds, of memory in kB and in shares.
SECONDS_MIN, KB_MIN, SHARE_MIN = 1.0, 2000, 0.25


def page(results: dict, faults, titles: dict) -> str:
    """Writes the page with every figure."""
    parts = [HEAD, about(results, titles)]
    for fault in faults:
        told = results["faults"].get(fault.key)
        if told:
            figures_table = table(told, fault.rows, titles, results["proxies"])
            parts += [f"## {fault.title}", sentence(fault.settings), figures_table]
            parts += [f"{titles[name]} left out: {figures['skipped']}." for name, figures in told.items()
                      if "skipped" in figures]
            parts += [f"{titles[name]} failed: {figures['failed']}." for name, figures in told.items()
                      if "failed" in figures]
    return "\n\n".join(parts) + "\n"


def readme(results: dict, faults, titles: dict, text: str) -> str:
    """Puts the briefer table where the project's README shows it, between its two marks."""
    before, after = text.index(README_BEGIN) + len(README_BEGIN), text.index(README_END)
    names = results["proxies"]
    lines = heading("fault | figure", names, titles)
    for fault in faults:
        title = fault.brief
        for row in fault.rows:
            if row.brief and fault.key in results["faults"]:
                lines.append(line(f"{title} | {row.brief}", results["faults"][fault.key], row, names))
                title = ""
    return "\n".join([text[:before], about(results, titles), "", *lines]) + "\n" + text[after:]


def about(results: dict, titles: dict) -> str:
    versions = ", ".join(f"{titles[name]} {version}" for name, version in results["versions"].items())
    return f"{results['date']}; {results['cores']} cores, Linux {results['kernel']}. {versions}."


def table(told: dict, rows, titles: dict, names) -> str:
    return "\n".join(heading("figure", names, titles) + [line(row.title, told, row, names) for row in rows])


def heading(first: str, names, titles: dict) -> list[str]:
    return [f"| {first} | " + " | ".join(titles[name] for name in names) + " | Weir is |",
            "|---" * (first.count("|") + 1) + "|--:" * len(names) + "|---|"]


def line(title: str, told: dict, row, names) -> str:
    cells = [cell(told.get(name, {}), row) for name in names]
    return f"| {title} | " + " | ".join(cells) + f" | {verdict(told, row, names)} |"


def cell(figures: dict, row) -> str:
    """Writes a figure, as coarse as it is sure."""
    if row.key not in figures:
        return "–"
    value = figures[row.key]
    if value is None:
        return NOT_IN_TIME if row.unit == "s" else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if row.unit == "s":
        return "< 1 s" if value < 1 else f"{value:.0f} s"
    if row.unit == "kB":
        return f"{value / 1000:,.0f} MB" if value >= 1000 else "< 1 MB"
    return f"{value:,.0f}" + (f" {row.unit}" if row.unit else "")


def verdict(told: dict, row, names) -> str:
    """Says whether Weir is ahead of all others, behind any of them, or level with the best."""
    others = [told[name][row.key] for name in names if name != "weir" and row.key in told.get(name, {})]
    if not row.better or not others or row.key not in told.get("weir", {}):
        return ""
    weir = told["weir"][row.key]
    if any(is_better(other, weir, row) for other in others):
        return "behind"
    return "ahead" if all(is_better(weir, other, row) for other in others) else "level"


def is_better(one, other, row) -> bool:
    """Whether one figure is clearly better than another."""
    if one is None or other is None:
        return one is not None
    least = {"s": SECONDS_MIN, "kB": KB_MIN}.get(row.unit, 0)
    difference = (other - one) * (1 if row.better == "less" else -1)
    return difference > least and difference > SHARE_MIN * min(one, other)


def sentence(text: str) -> str:
    """The text with a capital, unless it begins with code, and a full stop."""
    return text[0].upper() + text[1:] + "."


README_BEGIN, README_END = "<!-- tests/faults/run writes from here -->", "<!-- to here, tests/faults/run -->"

HEAD = """# Weir and its peers under faults

Written by `tests/faults/run`; [README.md](README.md) says what is done and how to read it. Times are whole seconds:
smaller differences are the machine's."""
