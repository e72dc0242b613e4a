"""What the documentation says is so: settings, routes, codes, statuses, commands, moves."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from everpost import errors as service_errors
from everpost.api.http.problems import STATUS_OF_CODE
from everpost.api.openapi.frame import document_of
from everpost.app import create_app
from everpost.cli import COMMANDS, everpost
from everpost.errors import ServiceError
from everpost.metrics import COUNTERS, HISTOGRAMS
from everpost.settings import PREFIX, VARIABLES, Settings, temporary_settings
from everpost.task.model import MOVES, ErrorClass, TaskStatus
from everpost.task.submission import PublishRequest
from everpost.testing import PublisherDouble, Stack
from everpost.testing.trial import Fault, try_publisher
from everpost.views.bulk_answers import REASONS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS, HTTP, ERRORS, LISTED_COMMANDS = (
    (DOCS / "reference" / f"{name}.md").read_text("utf-8") for name in ("settings", "http", "errors", "commands")
)
STATUSES = (DOCS / "statuses.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
METHODS = "GET|POST|PUT|PATCH|DELETE|OPTIONS"


def section(text: str, title: str) -> str:
    return re.split(r"^## ", text.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row whose first cell begins with code."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def first_words(text: str) -> list[str]:
    return [cells[0].strip("|` ") for cells in rows(text)]


TESTING = (DOCS / "testing.md").read_text("utf-8")


def documented_names(title: str) -> set[str]:
    """The names in the first column of a section's table, without their arguments."""
    cells = [cells[0] for cells in rows(section(TESTING, title))]
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


def public_names(of: type) -> set[str]:
    found = {name for name in vars(of) if not name.startswith("_")} | set(of.__annotations__)
    constructor = inspect.getsource(of.__init__)  # type: ignore[misc]  # its source, whatever it is called on
    return found | set(re.findall(r"self\.([a-z]\w*)\b.* = ", constructor))


@pytest.mark.parametrize(
    ("title", "of", "others"),
    [("The stack", Stack, set()), ("The double", PublisherDouble, {"look_up", "publish", "publisher_class"})],
)
def test_the_testing_kit_is_documented_whole(title: str, of: type, others: set[str]) -> None:
    assert documented_names(title) == public_names(of) - others


def test_the_trial_of_publishers_is_documented_whole() -> None:
    arguments = set(inspect.signature(try_publisher).parameters)
    assert documented_names("Trying a publisher of your own") == arguments | set(Fault.__members__)


def shown_default(value: object) -> str:
    if value is None:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def plain_route(method: str, path: str) -> str:
    return f"{method} {re.sub('{[^}]*}', '{}', path)}"


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {cells[0].strip("` "): cells[1] for cells in rows(SETTINGS)}
    defaults = Settings()
    assert documented == {
        f"{PREFIX}{name.upper()}": shown_default(getattr(defaults, name)) for name in Settings.__struct_fields__
    }


def test_every_field_of_a_task_is_documented() -> None:
    table = section((DOCS / "posting.md").read_text("utf-8"), "The fields")
    documented = {name for cells in rows(table) for name in re.findall(r"`(\w+)`", cells[0])}
    assert documented == set(PublishRequest.__struct_fields__)


def test_every_setting_named_anywhere_exists() -> None:
    names = ("compose.yaml", "compose.cluster.yaml", "Dockerfile", "Makefile", "CHANGELOG.md")
    deployed = (file for file in (ROOT / "deploy").rglob("*") if file.is_file())
    files = [*DOCUMENTS, *(ROOT / name for name in names), *deployed]
    known = set(VARIABLES)
    # Variables of compose and of the chaos tests.
    others = {"EVERPOST_PUBLISHED_PORT", "EVERPOST_CHAOS_SECONDS", "EVERPOST_CHAOS_SEED", "EVERPOST_CHAOS_PREVIOUS"}
    for file in files:
        named = set(re.findall(r"EVERPOST_(?!ACCOUNT_)[A-Z_]*[A-Z]", file.read_text("utf-8")))  # others are credentials
        assert named <= known | others, file


@pytest.fixture(scope="module")
def served() -> set[str]:
    """Every route as `METHOD /path`, with braces in place of parameters."""
    app = create_app(temporary_settings(ROOT, redis="redis://127.0.0.1:1/0"))
    paths = document_of(app)["paths"]
    return {plain_route(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_every_route_is_documented_and_the_reverse(served: set[str]) -> None:
    documented = {
        plain_route(*route) for cells in rows(HTTP) for route in re.findall(rf"`({METHODS}) (/[^`]*)`", cells[0])
    }
    assert documented == served


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_every_route_named_anywhere_exists(file: Path, served: set[str]) -> None:
    for method, path in re.findall(rf"`({METHODS}) (/[^`\s?]*)", file.read_text("utf-8")):
        named = plain_route(method, re.sub(r"\b[A-Z_]{2,}\b", "{}", path))  # such as /tasks/ID
        assert named in served or named.replace(" ", " /api/v1", 1) in served, f"{method} {path}"


def test_every_code_is_documented_with_its_status() -> None:
    documented = {cells[0].strip("` "): int(cells[1]) for cells in rows(ERRORS.split("\n## ", 1)[0])}
    assert documented == {code: int(status) for code, status in STATUS_OF_CODE.items()}


def test_every_reason_to_pass_a_task_over_is_documented() -> None:
    assert set(first_words(section(ERRORS, "Skipped tasks"))) == set(REASONS) - set(STATUS_OF_CODE)


def test_every_error_has_a_status() -> None:
    errors = [kind for kind in vars(service_errors).values() if isinstance(kind, type)]
    codes = {kind.code for kind in errors if issubclass(kind, ServiceError)}
    assert codes <= set(STATUS_OF_CODE)


def test_every_status_is_explained() -> None:
    assert first_words(STATUSES.split("\n## ", 1)[0]) == [status.value for status in TaskStatus]


def test_every_error_class_is_explained() -> None:
    assert first_words(section(STATUSES, "What ends an attempt")) == [kind.value for kind in ErrorClass]


def test_the_drawing_of_the_statuses_is_the_table_of_moves() -> None:
    drawing = STATUSES.split("```mermaid", 1)[1].split("```", 1)[0]
    drawn = set(re.findall(r"(\w+) --> (\w+)", drawing))
    assert drawn == {(start.value, end.value) for start, ends in MOVES.items() for end in ends}


def test_tasks_begin_where_the_drawing_says() -> None:
    assert set(re.findall(r"\[\*\] --> (\w+)", STATUSES)) == {"pending", "scheduled"}


def test_every_command_is_documented_and_the_reverse() -> None:
    documented = {word.removeprefix("everpost ") for word in first_words(LISTED_COMMANDS)}
    assert documented == set(COMMANDS)


def test_the_checkout_has_no_built_packages_in_it() -> None:
    assert sorted(ROOT.glob("*.whl")) == []


@pytest.mark.parametrize("file", [*DOCUMENTS, ROOT / "compose.yaml", ROOT / "Makefile"], ids=lambda file: file.name)
def test_every_command_named_anywhere_exists(file: Path) -> None:
    named = set(re.findall(r"(?:`|\$\(BIN\)/|\$ )everpost ([a-z]+)", file.read_text("utf-8")))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_and_what_each_option_means(name: str) -> None:
    context = click.Context(everpost)
    command = everpost.get_command(context, name)
    assert command is not None
    assert command.name == name
    assert command.help
    assert [option.name for option in command.params if isinstance(option, click.Option) and not option.help] == []


def test_every_metric_is_documented_and_the_reverse() -> None:
    document = (DOCS / "metrics.md").read_text("utf-8")
    metrics = [
        *({"name": counter.name + "_total", "labels": counter.labels} for counter in COUNTERS),
        *({"name": histogram.name, "labels": histogram.labels} for histogram in HISTOGRAMS),
    ]
    documented = {cells[0].strip("`"): cells[1] for cells in rows(section(document, "Counted by every process"))}
    assert documented == {metric["name"]: ", ".join(f"`{label}`" for label in metric["labels"]) for metric in metrics}


def test_every_line_of_the_log_that_is_explained_is_written() -> None:
    events = first_words(section((DOCS / "trouble.md").read_text("utf-8"), "Lines of the log to know"))
    named = {name for event in events for name in event.replace("`", "").split(", ")}
    code = "".join(file.read_text("utf-8") for side in ("service", "workers") for file in (ROOT / side).rglob("*.py"))
    assert {name for name in named if f'"{name}"' not in code} == set()


def test_every_promise_is_named() -> None:
    promises = section((DOCS / "how-it-works.md").read_text("utf-8"), "The promises")
    assert re.findall(r"^\| (I\d) \|", promises, flags=re.MULTILINE) == [f"I{number}" for number in range(1, 9)]


def anchors(file: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_every_link_leads_somewhere(file: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https://)([^)#\s]*)(?:#([^)\s]*))?\)", file.read_text("utf-8")):
        found = file.parent / target if target else file
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_nothing_is_left_to_be_filled_in(file: Path) -> None:
    assert re.findall(r"^(?:[A-Z]{4,}|.*\b(?:TODO|TBD|FIXME|XXX)\b.*)$", file.read_text("utf-8"), re.MULTILINE) == []


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_every_source_file_named_anywhere_exists(file: Path) -> None:
    for name in re.findall(r"(?:service|workers|tests)/[\w./]*\.(?:py|sql|lua|toml)\b", file.read_text("utf-8")):
        assert (ROOT / name).is_file(), name


def test_decisions_are_numbered_and_short() -> None:
    assert [int(file.name[:4]) for file in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for file in DECISIONS:
        lines = file.read_text("utf-8").splitlines()
        assert len(lines) <= 40, file
        wanted = ["## Context", "## Choice", "## What was given up", "## How to tell it was wrong"]
        assert [line for line in lines if line.startswith("## ")] == wanted, file


def test_every_file_of_the_layout_exists() -> None:
    drawing = (DOCS / "layout.md").read_text("utf-8").split("```")[1]
    folder = ROOT
    for line in drawing.strip().splitlines():
        if not line.startswith(" "):
            folder = ROOT
        for name in re.findall(r"[\w/]+\.(?:py|sql)|[\w/]+/(?=\s|$)", line):
            assert (folder / name).exists(), name
            if not line.startswith(" "):
                folder = ROOT / name
