"""The client of the running API, for the commands that ask it."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Self, cast
from urllib.parse import quote

import click
import httpx

from everpost.cli.refusals import refusal_text
from everpost.cli.uplock import api_url
from everpost.errors import ServiceError
from everpost.printable import printable
from everpost.settings import read_settings

PREFIX = "/api/v1"
TIMEOUT_S = 70.0  # longer than the longest `wait`
SILENT_S = 40.0  # longer than two signs of life of a stream of events


class ApiUnreachable(ServiceError):
    """No API answers at the address."""

    code = "api_unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"No API answers at {printable(url)} ({printable(reason)}). "
            "Start one with `everpost up`, or give its address with --url."
        )


class ApiRefused(ServiceError):
    """The API answered with an error; `status` is its HTTP status."""

    code = "api_refused"

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """A connection to the API."""

    def __init__(self, url: str, token: str | None, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self._has_token = token is not None
        headers = {"User-Agent": "everpost-command"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url + PREFIX, headers=headers, timeout=timeout_s, trust_env=False)

    @classmethod
    def open(cls, url: str | None, timeout_s: float = TIMEOUT_S) -> "Api":
        """The API at `url`, else that of a running `everpost up` on the data folder, else that of the settings."""
        settings = read_settings(os.environ)
        return cls((url or api_url(settings)).rstrip("/"), settings.key or settings.token, timeout_s)

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a GET; parameters that are None are left out. Raises the same errors as `post`."""
        return self._send("GET", path, parameters, None)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The answer to a POST.

        Raises:
            ApiUnreachable: No API answers.
            ApiRefused: The API answered with an error; the message is in the words of the command line.
        """
        return self._send("POST", path, parameters, body, headers)

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a PUT. Raises the same errors as `post`."""
        return self._send("PUT", path, None, body)

    def delete(self, path: str) -> dict[str, Any]:
        """The answer to a DELETE. Raises the same errors as `post`."""
        return self._send("DELETE", path, None, None)

    def send_bytes(
        self, method: str, path: str, headers: Mapping[str, str], content: Iterable[bytes] = ()
    ) -> httpx.Response:
        """The answer to a request with this body. Raises the same errors as `post`; `ApiRefused` has the `status`."""
        try:
            answer = self._client.request(method, path, headers=dict(headers), content=content)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ApiUnreachable(self.url, str(error)) from error
        if answer.is_error:
            content_type = answer.headers.get("content-type", "")
            told = answer.json() if content_type.endswith("json") and answer.content else None
            raise ApiRefused(_refusal(told, answer.status_code, has_token=self._has_token), answer.status_code)
        return answer

    @contextmanager
    def stream(self, path: str, parameters: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """The content of a stream, as it comes. One that is silent for `SILENT_S` is lost. Errors as in `post`."""
        given = {name: value for name, value in parameters.items() if value is not None}
        timeout = httpx.Timeout(10.0, read=SILENT_S)
        try:
            with self._client.stream("GET", path, params=given, headers=dict(headers), timeout=timeout) as answer:
                if answer.is_error:
                    told = answer.json() if answer.read() else None
                    raise ApiRefused(_refusal(told, answer.status_code, has_token=self._has_token), answer.status_code)
                yield answer.iter_bytes()
        except (httpx.TransportError, httpx.InvalidURL, ValueError) as error:
            raise ApiUnreachable(self.url, str(error)) from error

    def patch(self, path: str, body: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a PATCH; errors as in `post`."""
        return self._send("PATCH", path, parameters, body)

    def download(self, path: str, parameters: Mapping[str, Any]) -> Iterator[bytes]:
        """The content of the answer to a GET, as it comes; parameters that are None are left out.

        Raises:
            ApiUnreachable: No API answers, or the answer was cut off.
            ApiRefused: The API answered with an error.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            with self._client.stream("GET", path, params=given) as answer:
                if answer.is_error:
                    answer.read()
                    content = answer.json() if answer.headers.get("content-type", "").endswith("json") else None
                    told = _refusal(content, answer.status_code, has_token=self._has_token)
                    raise ApiRefused(told, answer.status_code)
                yield from answer.iter_bytes()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ApiUnreachable(self.url, str(error)) from error

    def _send(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        try:
            answer = self._client.request(method, path, params=given, json=body, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ApiUnreachable(self.url, str(error)) from error
        try:
            content = answer.json()
        except ValueError as error:
            raise ApiUnreachable(self.url, f"another server answers there, with {answer.status_code}") from error
        if answer.is_error:
            raise ApiRefused(_refusal(content, answer.status_code, has_token=self._has_token), answer.status_code)
        return cast("dict[str, Any]", content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


def task_path(task_id: str) -> str:
    """An id as one segment of a path. An id such as `../cancel/x` or `.` cannot reach another route.

    HTTP clients resolve `.` and `..` in a path, but not `%2E%2E`.
    """
    return quote(task_id, safe="").replace(".", "%2E")


def _refusal(content: Any, status: int, *, has_token: bool) -> str:
    if not isinstance(content, dict):
        return f"The API answered {status}."
    command, options = _running_command()
    return refusal_text(content, command, options, has_token=has_token)


def _running_command() -> tuple[str, Mapping[str, str]]:
    """The running command, and its options by parameter name."""
    context = click.get_current_context(silent=True)
    if context is None:
        return "", MappingProxyType({})
    options = {
        str(option.name): option.opts[0] for option in context.command.params if isinstance(option, click.Option)
    }
    return str(context.info_name), options
