"""What other people's tools say of the HTTP interface; `make api-suite` runs it.

spectral and redocly read the OpenAPI document, openapi-python-client makes a client of it, schemathesis sends what it
allows and what it does not to a running `everpost up`, and promtool reads /metrics. The tools are fetched, never kept:
npm's below a temporary folder, Python's into an environment of their own. Exits with 1 if one of them finds anything.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VENV = ROOT / ".venv" / "api-suite"
REQUIREMENTS = ("openapi-python-client>=0.26", "ruff", "schemathesis>=4")
NODE_PACKAGES = ("@redocly/cli@2", "@stoplight/spectral-cli@6")
TOKEN = "only-for-this-run"
HEADER = f"Authorization: Bearer {TOKEN}"
STARTS_WITHIN_S = 60
EXAMPLES = 20  # requests a route and phase
# positive_data_acceptance: that a platform is in the catalogue, or an Idempotency-Key new, is in no schema.
# use_after_free: what was deleted lies in the archive, and can be looked at for ever.
NOT_CHECKED = "positive_data_acceptance,use_after_free"


def make_environment() -> Path:
    """Where the Python tools are; installed if they are not."""
    stamp = VENV / "installed"
    wanted = "\n".join(REQUIREMENTS)
    if not stamp.exists() or stamp.read_text("utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *REQUIREMENTS], check=True)
        stamp.write_text(wanted, "utf-8")
    return VENV / "bin"


def fetch_node_tools(folder: Path) -> Path:
    """Where npm's tools are, fetched into `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("make api-suite needs Node.js and npm, for spectral and redocly.")
    subprocess.run([npm, "install", "--silent", "--no-save", "--prefix", folder, *NODE_PACKAGES], check=True)
    return folder / "node_modules" / ".bin"


@contextmanager
def everpost(folder: Path) -> Iterator[str]:
    """`everpost up`, ready; its address."""
    environment = {
        **os.environ,
        "EVERPOST_DATA": str(folder / "data"),
        "EVERPOST_TOKEN": TOKEN,
        "EVERPOST_PORT": "8973",
    }
    address = "http://127.0.0.1:8973"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "everpost.cli", "up"], env=environment, stdout=log, stderr=log, cwd=ROOT
        )
        try:
            wait_until_ready(address)
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def wait_until_ready(address: str) -> None:
    """Wait for the first `ready`; the transport's retries wait between attempts to connect."""
    transport = httpx.HTTPTransport(retries=10)
    with httpx.Client(
        transport=transport, timeout=STARTS_WITHIN_S, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as http:
        task = http.post(f"{address}/api/v1/publish", json={"platform": 1, "account_id": "a", "title": "first"}).json()
        http.get(f"{address}/api/v1/tasks/{task['task_id']}", params={"wait": STARTS_WITHIN_S}).raise_for_status()
        http.get(f"{address}/health/ready").raise_for_status()


def run(name: str, command: Sequence[str | Path], *, cwd: Path, **environment: str) -> str | None:
    """Run a tool in a folder it may write to; its name if it finds anything, with what it says printed."""
    sys.stdout.write(f"== {name}\n")
    sys.stdout.flush()
    ran = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    said = ran.stdout + ran.stderr
    if ran.returncode == 0 and "WARNING" not in said.partition("SUMMARY")[0]:
        return None
    sys.stdout.write(said)
    return name


def run_promtool(address: str) -> str | None:
    """Have promtool read /metrics, where there is a promtool."""
    promtool = shutil.which("promtool")
    if promtool is None:
        sys.stdout.write("== promtool: not on this machine, left out (Debian: apt-get install promtool)\n")
        return None
    page = httpx.get(f"{address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    sys.stdout.write("== promtool\n")
    ran = subprocess.run([promtool, "check", "metrics"], input=page, text=True, check=False)
    return None if ran.returncode == 0 else "promtool"


def main() -> int:
    """Run all of them, tell which found something."""
    python_tools = make_environment()
    with tempfile.TemporaryDirectory(prefix="api-suite-") as made:
        folder = Path(made)
        node_tools = fetch_node_tools(folder)
        document = folder / "openapi.json"
        with everpost(folder) as address:
            document.write_bytes(httpx.get(f"{address}/schema/openapi.json").content)
            found = [
                run_linter("spectral", node_tools, document, "-r", HERE / "spectral.yaml", "-F", "info"),
                run_linter("redocly", node_tools, document, "--config", HERE / "redocly.yaml"),
                run_client_generator(python_tools, document, folder / "client"),
                run_schemathesis(python_tools, address, folder),
                run_promtool(address),
            ]
    wrong = [name for name in found if name is not None]
    sys.stdout.write(f"Something was found by {', '.join(wrong)}.\n" if wrong else "None of them found anything.\n")
    return 1 if wrong else 0


def run_linter(name: str, tools: Path, document: Path, *options: str | Path) -> str | None:
    """Have a linter of npm's read the document."""
    return run(name, [tools / name, "lint", document, *options], cwd=document.parent)


def run_client_generator(tools: Path, document: Path, client: Path) -> str | None:
    """Make a client of the document."""
    command: list[str | Path] = [
        tools / "openapi-python-client",
        "generate",
        "--path",
        document,
        "--output-path",
        client,
    ]
    options: list[str | Path] = ["--meta", "none", "--config", HERE / "client.yaml", "--fail-on-warning"]
    return run(
        "openapi-python-client",
        [*command, *options],
        cwd=document.parent,
        PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
    )


def run_schemathesis(tools: Path, address: str, folder: Path) -> str | None:
    """Send requests; what it remembers of them goes into `folder`."""
    command: list[str | Path] = [tools / "schemathesis", "run", f"{address}/schema/openapi.json", "--header", HEADER]
    options = ["--max-examples", str(EXAMPLES), "--exclude-checks", NOT_CHECKED, "--warnings", "off"]
    return run("schemathesis", [*command, *options], cwd=folder, SCHEMATHESIS_HOOKS="ndjson", PYTHONPATH=str(HERE))


if __name__ == "__main__":
    sys.exit(main())
