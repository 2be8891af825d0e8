"""Prints each piece of a streamed response as `requests` hands it out, as a JSON string on a line of its own."""

import json
import sys

import requests

with requests.get(sys.argv[1], stream=True, timeout=15) as response:
    print(json.dumps([response.status_code, response.headers.get("content-type")]), flush=True)
    for piece in response.iter_content(chunk_size=None):
        print(json.dumps(piece.decode()), flush=True)
