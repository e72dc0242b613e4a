"""Lets schemathesis write a stream of one line."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def one_line(context: Any, value: Any) -> bytes:
    """The value as a line."""
    del context
    return json.dumps(value).encode() + b"\n"
