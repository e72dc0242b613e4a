"""nginx before the console: TLS, HTTP/2, and a base path that it strips."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli_support import until

CONFIGURATION = """
daemon off; worker_processes 1; worker_shutdown_timeout 1s; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; http2 on; server_name localhost;
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    location /ops/everpost/ {{
      proxy_pass {address}/; proxy_http_version 1.1; {more}
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Connection "";
    }}
  }}
}}
"""


@contextmanager
def proxied(folder: Path, address: str, more: str = "") -> Iterator[str]:
    """Run nginx before an address; its own address, with the base path.

    Args:
        more: Directives for the location; otherwise nginx's defaults hold, such as buffers.
    """
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if nginx is None:
        pytest.skip("nginx is not installed (Debian: apt install nginx-light)")
    folder.mkdir(parents=True, exist_ok=True)
    names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *names]
    subprocess.run(request, check=True, capture_output=True)
    port, file = free_port(), folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, address=address.rstrip("/"), more=more))
    process = subprocess.Popen([nginx, "-c", str(file), "-e", str(folder / "error.log")])
    try:
        until((folder / "nginx.pid").exists, "nginx")
        yield f"https://localhost:{port}/ops/everpost/"
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
