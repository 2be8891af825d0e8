"""Writes random Amazon event streams into a folder, and prints what botocore reads in each, a JSON object a line.

An object has the stream's file, its events as pairs of name and data, and what has to be said of its end: null where
it is complete. Usage: aws_eventstream.py FOLDER SEED COUNT
"""

import json
import random
import struct
import sys
import zlib
from pathlib import Path

from botocore.eventstream import EventStreamBuffer, ParserError

ENDINGS = ["complete", "exception", "error", "cut", "flipped"]
LETTERS = 'abc {}[]":,\\ \t\n0123456789äöü€\u2028🌊'


def main(folder, seed, count):
    for index in range(count):
        stream = Stream(random.Random(f"{seed}/{index}"), ENDINGS[index % len(ENDINGS)])
        file = Path(folder, f"{index}.bin")
        file.write_bytes(stream.wire)
        print(json.dumps({"file": str(file), "events": stream.events(), "fault": stream.fault}), flush=True)


class Stream:
    """Some messages, and an ending of this kind."""

    def __init__(self, source, ending):
        self.random = source
        self.wire = b"".join(self.event() for _ in range(source.randrange(12)))
        self.fault = None
        if ending == "exception":
            name = self.word() + "Exception"
            self.wire += self.message({":message-type": "exception", ":exception-type": name}) + self.event()
            self.fault = f"the upstream reported {name}"
        elif ending == "error":
            code, said = self.word(), self.word()
            self.wire += self.message({":message-type": "error", ":error-code": code, ":error-message": said})
            self.fault = f"the upstream reported {code}: {said}"
        elif ending == "cut":
            last = self.event()
            self.wire += last[: source.randrange(1, len(last))]
            self.fault = "the input ended inside a record"
        elif ending == "flipped":
            last = bytearray(self.event())
            last[source.randrange(len(last))] ^= 1 << source.randrange(8)
            self.wire += last + self.event()
            self.fault = "the checksum"

    def events(self):
        """What botocore reads, however it gets the bytes."""
        events, buffer, rest = [], EventStreamBuffer(), self.wire
        try:
            while rest:
                length = self.random.choice([1, 7, 100, 10_000])
                buffer.add_data(rest[:length])
                rest = rest[length:]
                for message in buffer:
                    kind = message.headers.get(":message-type")
                    if kind == "error":
                        return events
                    name = message.headers.get(":exception-type" if kind == "exception" else ":event-type")
                    events.append([name, message.payload.decode()])
                    if kind == "exception":
                        return events
        except ParserError as error:
            assert self.fault == "the checksum", error
        return events

    def event(self):
        return self.message({":message-type": "event", ":event-type": self.word()})

    def message(self, names):
        """A message with these headers and others of every type, in any order."""
        headers = [header(name, 7, sized(value.encode())) for name, value in names.items()]
        headers += [self.header(f"x-{index}") for index in range(self.random.randrange(6))]
        self.random.shuffle(headers)
        payload = "".join(self.random.choices(LETTERS, k=self.random.choice([0, 1, 30, 3000])))
        return message(b"".join(headers), payload.encode())

    def header(self, name):
        kind = self.random.randrange(10)
        fixed = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
        if kind in fixed:
            return header(name, kind, self.random.randbytes(fixed[kind]))
        if kind == 7:
            return header(name, kind, sized(self.word().encode()))
        return header(name, kind, sized(self.random.randbytes(self.random.randrange(300))))

    def word(self):
        return "".join(self.random.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", k=12))


def header(name, kind, value):
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!B", kind) + value


def sized(value):
    return struct.pack("!H", len(value)) + value


def message(headers, payload):
    prelude = sealed(struct.pack("!II", 16 + len(headers) + len(payload), len(headers)))
    return sealed(prelude + headers + payload)


def sealed(wire):
    return wire + struct.pack("!I", zlib.crc32(wire))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
