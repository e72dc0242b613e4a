"""HTTP/1.1 for the bench: requests as bytes, made once, and answers that are parsed no further than needed."""

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


def http_request(method: str, path: str, body: bytes = b"") -> bytes:
    """A request with a JSON body, as bytes."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    return head.encode() + HEAD_END + body


def is_whole(answer: bytes) -> bool:
    """Whether an answer is complete; an answer without a Content-Length ends with its head."""
    head_end = answer.find(HEAD_END)
    if head_end < 0:
        return False
    _, found, rest = answer[:head_end].lower().partition(LENGTH)
    size = int(rest.partition(b"\r\n")[0]) if found else 0
    return len(answer) >= head_end + len(HEAD_END) + size
