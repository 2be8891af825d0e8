"""Runs `weir convert`, and reads the JSON texts that it writes as Python's json reads them."""

import json
import subprocess
from decimal import Decimal

BLANKS = " \t\r\n"


def convert(weir, origin, to, wire):
    """What `weir convert` makes of these bytes, which it must not refuse."""
    command = [weir, "convert", "--from", origin, "--to", to]
    run = subprocess.run(command, input=wire, capture_output=True, timeout=15, check=False)
    assert run.returncode == 0, f"exit code {run.returncode}: {run.stderr.decode()}"
    return run.stdout


def texts(output, to):
    """The JSON texts of an output of this kind, each of which must stand on a line of its own."""
    lines = output.decode().split("\n")
    assert lines.pop() == "", "the last line has an end"
    start = {"ndjson": "", "json-seq": "\x1e", "sse": "data: "}[to]
    if to == "sse":
        assert not any(lines[1::2]), "a blank line behind each event"
        lines = lines[::2]
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start).strip(BLANKS) for line in lines]


def value(text):
    """What the text says: numbers as exactly as they are written, members in their order, doubles too."""
    return json.loads(text, parse_float=Decimal, parse_constant=refuse, object_pairs_hook=tuple)


def is_json(text):
    try:
        value(text)
    except ValueError:
        return False
    return True


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def squeezed(text):
    """The text without the white space outside its strings."""
    is_inside = is_escaped = False
    kept = []
    for letter in text:
        is_inside ^= letter == '"' and not is_escaped
        is_escaped = letter == "\\" and not is_escaped
        if is_inside or letter not in BLANKS:
            kept.append(letter)
    return "".join(kept)
