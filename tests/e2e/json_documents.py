"""Writes random JSON documents in every framing of JSON, and checks that `weir convert` reads what json and ijson do.

Prints how many there were of each framing. Usage: json_documents.py WEIR SEED COUNT
"""

import codecs
import io
import json
import random
import sys

import ijson

from converting import BLANKS, convert, squeezed, texts, value

FRAMINGS = ["ndjson", "json", "json-array", "json-seq"]
OUTPUTS = ["ndjson", "json-seq", "sse"]
NUMBERS = ["0", "-0", "7", "-12", "12345678901234567890123", "1.0", "-0.50", "1e5", "1E+05", "2e-7", "0e0", "1e400",
           "3.14159265358979323846264338327950288", "5e-324", "-1.7976931348623157E308"]
LETTERS = 'abc {}[]":,\\/\x7f\u0080äß€\u2028\ufeff\ufffd🌊\U0010ffff\n\r\t\b\f\0\x1b\x1e'
SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def main(weir, seed, count):
    counts = dict.fromkeys(FRAMINGS, 0)
    for index in range(count):
        framing = FRAMINGS[index % len(FRAMINGS)]
        to = OUTPUTS[index // len(FRAMINGS) % len(OUTPUTS)]
        writer = Writer(random.Random(f"{seed}/{index}"), framing, to)
        written = [writer.document() for _ in range(writer.random.randrange(12))]
        wire = writer.framed(written).encode()
        try:
            check(framing, wire, written, texts(convert(weir, framing, to, wire), to))
        except Exception as error:
            which = f"WEIR_SEED={seed}, stream {index}, from {framing} to {to}"
            raise AssertionError(f"{which}: {wire[:2000]!r}") from error
        counts[framing] += len(written)
    print(json.dumps(counts))


def check(framing, wire, written, found):
    # Byte for byte as written, but on one line.
    assert found == [one_line(text) for text in written], found
    assert [value(text) for text in found] == [value(text) for text in written]
    # And as others read the whole stream.
    assert [plain(text) for text in found] == others(framing, wire)


def one_line(text):
    text = text.strip(BLANKS)
    return squeezed(text) if "\n" in text or "\r" in text else text


def others(framing, wire):
    """What ijson reads in a stream, or json where ijson does not know the framing."""
    if framing == "json-array":
        return list(ijson.items(io.BytesIO(wire), "item"))
    if framing == "json-seq":
        return [plain(text) for text in wire.decode().split("\x1e")[1:]]
    stream = wire.removeprefix(codecs.BOM_UTF8)
    # ijson does not know a stream of nothing.
    return list(ijson.items(io.BytesIO(stream), "", multiple_values=True)) if stream.strip() else []


def plain(text):
    """The value as ijson builds it: of two members with one name the last."""
    return list(ijson.items(io.BytesIO(text.encode()), ""))[0]


class Writer:
    """Writes documents of one stream: all of them compact, or with white space."""

    def __init__(self, source, framing, to):
        self.random = source
        self.framing = framing
        blanks = [" ", "\t", "\n", "\r\n", "\n    "]
        if framing == "ndjson":
            # In an event stream a CR would begin another line of the data.
            blanks = [" ", "\t", "  ", " " if to == "sse" else "\r"]
        self.blanks = source.choice([[""], ["", "", *blanks]])

    def framed(self, documents):
        if self.framing == "json-array":
            return f"{self.blank()}[{','.join(documents) or self.blank()}]{self.blank()}"
        if self.framing == "json-seq":
            return "".join(f"\x1e{document}\n" for document in documents)
        if self.framing == "json":
            # Only between numbers and literals there has to be something; the last may be cut without.
            stream = "".join(document + self.after(document) for document in documents)
            return self.random.choice(["", "\ufeff"]) + stream
        blank_lines = ["", "", "\n", "\r\n", " \t\n"]
        lines = (document + self.random.choice(["\n", "\r\n"]) for document in documents)
        return self.random.choice(["", "\ufeff"]) + "".join(line + self.random.choice(blank_lines) for line in lines)

    def after(self, document):
        return self.blank() if document[-1] in '}]"' else self.random.choice(["\n", " ", "\r\n", "\t"])

    def document(self):
        if self.random.random() < 0.05:
            depth = self.random.randrange(50, 127)
            return "[" * depth + self.scalar() + "]" * depth
        return self.blank() + self.value(self.random.randrange(5)) + self.blank()

    def value(self, depth):
        kind = self.random.random()
        if depth == 0 or kind < 0.3:
            return self.scalar()
        count = self.random.choice([0, 1, 2, 5])
        if kind < 0.6:
            return self.brackets("[]", [self.value(depth - 1) for _ in range(count)])
        members = ((self.string(), self.value(depth - 1)) for _ in range(count))
        return self.brackets("{}", [f"{name}{self.blank()}:{self.blank()}{value}" for name, value in members])

    def brackets(self, brackets, parts):
        inner = ",".join(f"{self.blank()}{part}{self.blank()}" for part in parts) or self.blank()
        return f"{brackets[0]}{inner}{brackets[1]}"

    def scalar(self):
        kind = self.random.random()
        if kind < 0.4:
            return self.string()
        if kind < 0.6:
            return self.random.choice(["true", "false", "null"])
        return self.random.choice([*NUMBERS, str(self.random.randrange(-(10**9), 10**9)), repr(self.random.random())])

    def string(self):
        length = self.random.choice([0, 1, 5, 20, 200])
        return f'"{"".join(self.letter(letter) for letter in self.random.choices(LETTERS, k=length))}"'

    def letter(self, letter):
        """The letter as it is, or escaped in one of the ways that there are."""
        must = letter < " " or letter in '"\\'
        if not must and self.random.random() < 0.7:
            return letter
        if letter in SHORT and self.random.random() < 0.7:
            return SHORT[letter]
        units = letter.encode("utf-16-be")
        digits = "04x" if self.random.random() < 0.5 else "04X"
        pairs = (int.from_bytes(units[at:at + 2], "big") for at in range(0, len(units), 2))
        return "".join(f"\\u{unit:{digits}}" for unit in pairs)

    def blank(self):
        return self.random.choice(self.blanks)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
