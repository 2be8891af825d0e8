"""Writes random event streams in every dialect, and checks what `weir convert` makes of them as JSON.

Prints how many events there were. Usage: json_events.py WEIR SEED COUNT
"""

import random
import re
import sys

from converting import convert, is_json, texts, value

OUTPUTS = ["ndjson", "json-seq"]
DATA = ["", " ", "x", "[DONE]", "{}", '{"a": 1.50, "b": [null, "\\u00fc \\n"]}', " [1,\n 2] ", "12", "-0.0", "1e400",
        '"text"', '"\\ud83c\\udf0a"', "NaN", "Infinity", "nul", "{'a': 1}", "[1,]", "01", '{"a":1}\n{"b":2}', "\ufeff{}",
        '"\t"', "a\n\nb", "\n", ":", "data: x", "äöü€🌊\u2028", "[" * 100 + "]" * 100, "long " * 1000, '{"event":"x"}',
        '{"data":"x"}', "\0", "\x7f", "true", "null"]
WORDS = ["tick", "a\"b\\c", "äöü€🌊", "7", "", " x", "{}", "\t", "message"]


def main(weir, seed, count):
    events = 0
    for index in range(count):
        source = random.Random(f"{seed}/{index}")
        to = OUTPUTS[index % len(OUTPUTS)]
        written = [event(source) for _ in range(source.randrange(15))]
        wire = stream(source, written).encode()
        found = [value(text) for text in texts(convert(weir, "sse", to, wire), to)]
        expected = [as_json(fields) for fields in written]
        assert found == expected, f"WEIR_SEED={seed}, stream {index}, to {to}: {wire[:2000]!r} gave {found}"
        events += len(written)
    print(events)


def event(source):
    """The fields of a block: always data, or an id or a reconnection time without it."""
    fields = {"event": source.choice(WORDS), "id": source.choice(WORDS), "retry": source.randrange(10**6)}
    fields = {name: said for name, said in fields.items() if source.random() < 0.3}
    if not fields.keys() & {"id", "retry"} or source.random() < 0.9:
        fields["data"] = source.choice(DATA)
    return fields


def stream(source, events):
    """The events as one of the many senders writes them."""
    end = source.choice(["\n", "\r\n", "\r"])
    blocks = [source.choice(["", "\ufeff"])]
    for fields in events:
        lines = [(name, line) for name, said in fields.items() for line in re.split("\n", str(said))]
        blocks += [f"{name}:{source.choice([' ', ''] if not line.startswith(' ') else [' '])}{line}{end}"
                   for name, line in lines]
        noise = [f": a comment{end}", f"unknown: x{end}", f"unknown{end}", f"retry: soon{end}"]
        blocks += source.sample(noise, source.randrange(3)) + [end * source.randrange(1, 3)]
    return "".join(blocks)


def as_json(fields):
    """The one JSON text for these fields: the data alone, or all that there is."""
    told = dict(fields)
    if "data" not in told or told.get("event") == "":
        # A name says nothing without data, and an empty one nothing at all.
        told.pop("event", None)
    is_alone = told.keys() == {"data"}
    if "data" in told and is_json(told["data"]):
        told["data"] = value(told["data"])
        if is_alone:
            return told["data"]
    return tuple((name, told[name]) for name in ["event", "id", "retry", "data"] if name in told)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
