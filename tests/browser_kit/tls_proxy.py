"""nginx before the console: TLS, HTTP/2, and a base path that it strips."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; http2 on; server_name localhost;
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem;
    location /ops/everpost/ {{
      proxy_pass {address}/; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header Connection "";
    }}
  }}
}}
"""


@contextmanager
def proxied(folder: Path, address: str, port: int) -> Iterator[str]:
    """Run nginx before an address; its own address, with the base path."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if nginx is None:
        pytest.skip("nginx is not installed (Debian: apt install nginx-light)")
    folder.mkdir(parents=True, exist_ok=True)
    names = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *names]
    subprocess.run(request, check=True, capture_output=True)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, address=address.rstrip("/")))
    process = subprocess.Popen([nginx, "-c", str(file), "-e", str(folder / "error.log")])
    try:
        yield f"https://localhost:{port}/ops/everpost/"
    finally:
        process.terminate()
        process.wait(10)
