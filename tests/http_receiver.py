"""A server in a thread that receives POSTs: each is given to a function, whose answer is sent."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Received(NamedTuple):
    """A request; the names of headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """The answer to a request."""

    body: bytes = b"{}"
    status: int = 200
    content_type: str = "application/json"


@contextmanager
def receiving(answer: Callable[[Received], Reply]) -> Iterator[int]:
    """Serve on a port of its own, which it yields. `answer` runs in the server's threads."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            reply = answer(Received(self.path, headers, body))
            self.send_response(reply.status)
            self.send_header("content-type", reply.content_type)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
