"""Writes random records into a folder, a JSON object a line, and prints the events that clients must get of each file.

An event is a name, a last event id and data. Of a record `name` and `id` are what they say, and `text` the data; where
there is no text, the whole record is. Usage: sse_records.py FOLDER SEED COUNT
"""

import json
import random
import sys
from pathlib import Path

PIECES = ["\n", "\r", "\r\n", "\n\n", " ", "  ", ":", "data: x", "id: 7", "event: evil", "retry: 1", ": comment", "\t",
          "x", "[DONE]", "{}", "äöü€", "🌊", "\u2028", "\u2029", "\u0085", "\ufeff", "\ufffd", "\0", "\x0b\x0c\x1c", "word",
          "long " * 3000]
WORDS = ["tick", "message", "", " x", "x ", ":", "äöü€🌊", "\u2028", "a\nb", "\r", "\0", "id: 7", 7, -1.50, True, None, []]


def main(folder, seed, count):
    for index in range(count):
        source = random.Random(f"{seed}/{index}")
        file = Path(folder, f"{index}.ndjson")
        lines, events, last_id = [], [], ""
        for _ in range(source.randrange(25)):
            record = {key: source.choice(WORDS) for key in ["name", "id"] if source.random() < 0.5}
            if source.random() < 0.9:
                record["text"] = "".join(source.choices(PIECES, k=source.choice([0, 1, 2, 12])))
            line = json.dumps(record, ensure_ascii=source.random() < 0.5)
            lines.append(line)
            last_id = said(record.get("id"), last_id)
            events.append([said(record.get("name"), "") or "message", last_id, data(record.get("text", line))])
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
        print(json.dumps({"file": str(file), "events": events}), flush=True)


def said(value, otherwise):
    """A name or id: a text without what would end it, a number or a boolean as it is written."""
    if value is None or value == [] or set(str(value)) & set("\r\n\0"):
        return otherwise
    return value if isinstance(value, str) else json.dumps(value)


def data(text):
    """The text as a client gets it, for which every line end is the same."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
