"""Prints the events that httpx-sse reads in each file of an event stream, as a JSON array on a line of its own."""

import json
import sys
from pathlib import Path

import httpx
import httpx_sse

for file in sys.argv[1:]:
    headers = {"content-type": "text/event-stream"}
    response = httpx.Response(200, headers=headers, content=Path(file).read_bytes())
    events = httpx_sse.EventSource(response).iter_sse()
    print(json.dumps([[event.event, event.id, event.data] for event in events]), flush=True)
