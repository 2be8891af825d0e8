"""Writes random tables into a folder, and prints what Python's csv module reads in each, a JSON object a line.

An object has the table's file, its content type, its records, and whether it ends inside of quotes. Every other
table is none that a writer made: quotes, commas and line ends anywhere. Usage: csv_tables.py FOLDER SEED COUNT
"""

import csv
import io
import json
import random
import sys
from pathlib import Path

LETTERS = 'ab ,,""\n\r\\/\t#0;äö€\u2028🌊\x01'
HURTING = '""",,,\n\r a#é'
LAST = ["a row behind all others"]


def main(folder, seed, count):
    for index in range(count):
        source = random.Random(f"{seed}/{index}")
        text = written(source) if index % 2 else "".join(source.choices(HURTING, k=source.randrange(60)))
        # Without its line end the last row might be cut.
        text += "" if text.endswith(("\n", "\r")) or not text else "\n"
        has_header = bool(index % 2)
        rows, is_cut = read(text)
        file = Path(folder, f"{index}.csv")
        file.write_bytes((source.choice(["", "\ufeff"]) + text).encode())
        print(json.dumps({
            "file": str(file),
            "contentType": f"text/csv; charset=utf-8; header={'present' if has_header else 'absent'}",
            "records": [dict(zip(rows[0], row)) for row in rows[1:]] if has_header else rows,
            "isCut": is_cut,
        }), flush=True)


def written(source):
    """A table with a header, by a writer of any style."""
    out = io.StringIO(newline="")
    quoting, ends = source.choice([(csv.QUOTE_MINIMAL, ["\r\n"]), (csv.QUOTE_ALL, ["\n", "\r\n", "\r"])])
    writer = csv.writer(out, quoting=quoting, lineterminator=source.choice(ends))
    columns = source.randrange(1, 6)
    writer.writerow([f"{column} {cell(source)}" for column in range(columns)])
    for _ in range(source.randrange(20)):
        writer.writerow([cell(source) for _ in range(source.randrange(1, columns + 1))])
    return out.getvalue()


def cell(source):
    return "".join(source.choices(LETTERS, k=source.choice([0, 1, 5, 300])))


def read(text):
    """The rows that are not empty lines, and whether the last one ends inside of quotes."""
    rows = [row for row in csv.reader(io.StringIO(f"{text}{LAST[0]}\n", newline="")) if row]
    return rows[:-1], rows[-1] != LAST


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
