"""Writes random multipart bodies into a folder, and prints what Python's email module reads in each, a JSON object a line.

An object has the body's file, its content type, the data of its parts as a client gets it, and whether it is cut.
Usage: multipart_bodies.py FOLDER SEED COUNT
"""

import base64
import email
import json
import random
import re
import string
import sys
from pathlib import Path

BOUNDARY_CHARACTERS = string.ascii_letters + string.digits + "'()+_,-./:=?"
PIECES = ["\n", "\r\n", "-", "--", "---", " ", "a", "ä", "🌊", "{", "}", '"', ":"]


def main(folder, seed, count):
    for index in range(count):
        body = Body(random.Random(f"{seed}/{index}"))
        wire = body.wire()
        records = read(body.content_type, wire)
        is_cut = index % 4 == 0
        if is_cut:
            wire = wire[: body.random.randrange(wire.rindex(b"--"))]
        file = Path(folder, f"{index}.bin")
        file.write_bytes(wire)
        print(json.dumps({
            "file": str(file), "contentType": body.content_type, "records": records, "isCut": is_cut,
        }), flush=True)


class Body:
    """A body of some parts, in the way of one sender."""

    def __init__(self, source):
        self.random = source
        self.boundary = "".join(source.choices(BOUNDARY_CHARACTERS, k=source.choice([1, 2, 20, 70])))
        self.content_type = f'multipart/mixed; x=y; boundary="{self.boundary}"; z="a;b"'
        self.line_end = source.choice([b"\n", b"\r\n"])

    def wire(self):
        delimiter = b"--" + self.boundary.encode()
        start = self.random.choice([b"", self.line_end, b"a preamble" + self.line_end])
        parts = [self.part() for _ in range(self.random.randrange(1, 8))]
        padding = self.random.choice([b"", b" ", b"\t "])
        wire = start + b"".join(delimiter + padding + self.line_end + part + self.line_end for part in parts)
        return wire + delimiter + b"--" + self.random.choice([b"", self.line_end + b"an epilogue"])

    def part(self):
        kind, content = self.random.choice([self.text, self.json, self.binary, self.untold])()
        fields = [("X-Other", "a;\r\n b" if self.line_end == b"\r\n" else "a;\n b")]
        fields += [("content-type", kind)] if kind else []
        fields += [("Content-Length", str(len(content)))] if self.random.random() < 0.5 else []
        self.random.shuffle(fields)
        head = b"".join(f"{name}: {value}".encode() + self.line_end for name, value in fields)
        return head + self.line_end + content

    def text(self):
        return self.random.choice(["text/plain; charset=utf-8", "Text/HTML", "application/xml"]), self.content().encode()

    def untold(self):
        return None, self.content().encode()

    def json(self):
        value = {self.content(): [self.content(), {"n": self.random.random()}, []]}
        text = json.dumps(value, ensure_ascii=False, indent=self.random.choice([None, 1]))
        kind = self.random.choice(["application/json", "application/x+json; v=1"])
        return kind, text.encode()

    def binary(self):
        content = self.random.randbytes(self.random.choice([0, 1, 100, 5000]))
        # A CR by itself is a line end for the email module; before an LF of the delimiter's it is none.
        return "image/jpeg", self.free(content.replace(b"\r", b"-"))

    def content(self):
        text = "".join(self.random.choices(PIECES, k=self.random.choice([0, 1, 10, 100])))
        return self.free(text.encode()).decode()

    def free(self, content):
        """Without a delimiter, and the line end that could begin one with what follows."""
        content = re.sub(rb"(^|[\r\n])--", rb"\1+-", content)
        return content if not content.endswith((b"\n", b"\r")) else content + b"."


def read(content_type, wire):
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + wire)
    assert message.is_multipart() and not message.defects, message.defects
    return [record(part) for part in message.get_payload()]


def record(part):
    content = part.get_payload(decode=True)
    if part.get_content_type() == "image/jpeg":
        return base64.b64encode(content).decode()
    return re.sub(r"\r\n?", "\n", content.decode())


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
