"""The webhook publisher against a real HTTP server that can misbehave in every way we know of."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from everpost.errors import SettingsError
from everpost.platforms import Catalogue
from everpost.publishing import (
    AuthError,
    InvalidError,
    Media,
    OutcomeUnknownError,
    PermanentError,
    PublishError,
    PublishJob,
    RateLimitedError,
    SendTrace,
    TransientError,
)
from everpost.settings import Settings
from everpost.task.model import BytesSent, Evidence, SendPhase
from everpost_workers.publishers.outbound import CONNECTIONS_PER_POOL, is_public
from everpost_workers.publishers.webhook import WebhookPublisher

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = "0123456789abcdef0123456789abcdef"
JOB = PublishJob(
    task_id="t1", data={"title": "测试", "x": [1, None]}, platform=Catalogue.read().find("douyin"), idempotency_key=KEY
)
Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Request(msgspec.Struct):
    line: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """An HTTP server on a free port of 127.0.0.1 that keeps requests and gives the configured answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.server_names: list[str | None] = []
        self.respond: Respond = respond_with()
        self.port = 0

    @contextlib.asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Receiver"]:
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: self.server_names.append(name)
        writers: set[asyncio.StreamWriter] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            writers.add(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    self.requests.append(await read_request(reader))
                    await self.respond(writer)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in writers:
                writer.transport.abort()


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    return Request(line, headers, await reader.readexactly(int(headers["content-length"])))


def respond_with(status: int = 200, body: bytes = b"", **headers: str) -> Respond:
    async def respond(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return respond


def flood_with(status: int) -> Respond:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} x\r\n\r\n".encode())
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    return respond


async def never_respond(_: asyncio.StreamWriter) -> None:
    """Say nothing; the connection stays open."""


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def stop_half_way(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


async def stop_half_way_and_hang_up(writer: asyncio.StreamWriter) -> None:
    await stop_half_way(writer)
    writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serve() as receiver:
        yield receiver


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[WebhookPublisher]:
    options = {"allow_http": True, "allow_private": True, "timeout_s": 10.0, **options}
    publisher = WebhookPublisher({"url": url, **options}, Settings(max_jobs=CONNECTIONS_PER_POOL))
    await publisher.open()
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.fixture
async def publisher(receiver: Receiver) -> AsyncIterator[WebhookPublisher]:
    async with opened(f"http://127.0.0.1:{receiver.port}/hook", secret=SECRET) as publisher:
        yield publisher


async def test_a_task_arrives_signed_and_its_answer_names_the_post(
    receiver: Receiver, publisher: WebhookPublisher
) -> None:
    receiver.respond = respond_with(201, b'{"id": 17, "url": "https://example.org/17"}')
    result = await publisher.publish(JOB)
    assert (result.provider_post_id, result.publish_url) == ("17", "https://example.org/17")
    assert result.detail == {"status": 201, "media": "none"}
    (request,) = receiver.requests
    assert request.line == "POST /hook HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == request.headers["webhook-id"] == KEY
    assert Webhook(SECRET).verify(request.body, request.headers) == {
        "task_id": "t1",
        "platform": "douyin",
        "data": {"title": "测试", "x": [1, None]},
    }


async def test_a_rerun_repeats_key_and_body_byte_for_byte(receiver: Receiver, publisher: WebhookPublisher) -> None:
    await publisher.publish(JOB)
    await publisher.publish(msgspec.structs.replace(JOB, attempt=2))
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert [request.headers["everpost-attempt"] for request in receiver.requests] == ["1", "2"]
    assert receiver.connections == 1


async def test_many_tasks_at_a_time_all_arrive_on_few_connections(receiver: Receiver) -> None:
    options = {"url": f"http://127.0.0.1:{receiver.port}", "allow_http": True, "allow_private": True}
    publisher = WebhookPublisher(options, Settings(max_jobs=50))
    await publisher.open()
    for _ in range(4):
        await asyncio.gather(*(publisher.publish(JOB) for _ in range(50)))
    await publisher.close()
    assert len(receiver.requests) == 200
    assert receiver.connections <= 100


async def test_media_is_described_without_its_place_on_this_machine(
    receiver: Receiver, publisher: WebhookPublisher, tmp_path: Path
) -> None:
    media = Media(path=tmp_path / "a.mp4", size_bytes=3, filename="a.mp4", content_type="video/mp4", root=tmp_path)
    await publisher.publish(msgspec.structs.replace(JOB, media=media))
    body = receiver.requests[0].body
    assert json.loads(body)["media"] == {"filename": "a.mp4", "content_type": "video/mp4", "size_bytes": 3}
    assert str(tmp_path).encode() not in body


async def test_static_headers_are_sent_and_everposts_own_win(receiver: Receiver) -> None:
    headers = {"Authorization": "Bearer t0ken-value", "idempotency-key": "mine"}
    async with opened(f"http://127.0.0.1:{receiver.port}", headers=headers) as publisher:
        await publisher.publish(JOB)
    sent = receiver.requests[0].headers
    assert (sent["authorization"], sent["idempotency-key"]) == ("Bearer t0ken-value", KEY)
    assert "webhook-signature" not in sent


async def test_a_cookie_is_neither_sent_back_nor_kept(receiver: Receiver, publisher: WebhookPublisher) -> None:
    receiver.respond = respond_with(Set_Cookie="a=b; Path=/")
    await publisher.publish(JOB)
    await publisher.publish(JOB)
    assert "cookie" not in receiver.requests[1].headers
    assert publisher._client is not None
    assert len(publisher._client.cookies) == 0


@pytest.mark.parametrize("option", ["secret_env", "secret_file"])
async def test_the_secret_may_come_from_the_environment_or_a_file(
    receiver: Receiver, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    given = "HOOK_SECRET" if option == "secret_env" else str(file)
    async with opened(f"http://127.0.0.1:{receiver.port}", **{option: given}) as publisher:
        await publisher.publish(JOB)
    Webhook(SECRET).verify(receiver.requests[0].body, receiver.requests[0].headers)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, InvalidError),
        (401, AuthError),
        (403, AuthError),
        (404, InvalidError),
        (408, TransientError),
        (409, PermanentError),
        (422, InvalidError),
        (500, TransientError),
        (503, TransientError),
        (504, OutcomeUnknownError),
    ],
)
async def test_a_refusal_has_the_class_of_its_status_and_shows_the_answer(
    receiver: Receiver, publisher: WebhookPublisher, status: int, expected: type[PublishError]
) -> None:
    receiver.respond = respond_with(status, "标题 is\r\nwrong ".encode() + b"x" * 1000)
    with pytest.raises(expected, match=f"127.0.0.1 answered {status}: 标题 is  wrong x") as caught:
        await publisher.publish(JOB)
    assert type(caught.value) is expected
    assert len(str(caught.value)) < 240


@pytest.mark.parametrize(
    ("respond", "seconds"), [(respond_with(429), 60), (respond_with(429, Retry_After="7"), 7)], ids=["silent", "7"]
)
async def test_a_rate_limit_says_when_to_come_back(
    receiver: Receiver, publisher: WebhookPublisher, respond: Respond, seconds: int
) -> None:
    receiver.respond = respond
    with pytest.raises(RateLimitedError) as caught:
        await publisher.publish(JOB)
    assert caught.value.retry_after_s == seconds


async def test_a_503_with_retry_after_is_a_rate_limit(receiver: Receiver, publisher: WebhookPublisher) -> None:
    receiver.respond = respond_with(503, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
    with pytest.raises(RateLimitedError) as caught:
        await publisher.publish(JOB)
    assert caught.value.retry_after_s == 3600


async def test_a_redirect_is_not_followed(receiver: Receiver, publisher: WebhookPublisher) -> None:
    receiver.respond = respond_with(307, Location=f"http://127.0.0.1:{receiver.port}/elsewhere")
    with pytest.raises(PermanentError, match="answered 307"):
        await publisher.publish(JOB)
    assert len(receiver.requests) == 1


async def test_an_answer_without_end_is_cut_and_its_status_counts(receiver: Receiver) -> None:
    receiver.respond = flood_with(200)
    async with opened(f"http://127.0.0.1:{receiver.port}", max_answer_bytes=1000) as publisher:
        assert (await publisher.publish(JOB)).provider_post_id is None
        receiver.respond = flood_with(400)
        with pytest.raises(InvalidError, match="answered 400: xxx"):
            await publisher.publish(JOB)


@pytest.mark.parametrize("respond", [never_respond, stop_half_way])
async def test_no_whole_answer_within_the_deadline_leaves_the_outcome_unknown(
    receiver: Receiver, respond: Respond
) -> None:
    receiver.respond = respond
    job = msgspec.structs.replace(JOB, trace=SendTrace())
    async with opened(f"http://127.0.0.1:{receiver.port}", timeout_s=0.3) as publisher:
        with pytest.raises(OutcomeUnknownError, match=r"may have accepted it: no answer within 0\.3 s"):
            await publisher.publish(job)
    assert len(receiver.requests) == 1
    has_answered = respond is not never_respond
    assert job.trace.evidence(None) == Evidence(
        phase=SendPhase.ANSWERED if has_answered else SendPhase.SENDING,
        bytes_sent=BytesSent.YES,
        last_words="The answer began with the status 200." if has_answered else "The request is being sent.",
    )


@pytest.mark.parametrize("respond", [hang_up, stop_half_way_and_hang_up])
async def test_a_connection_cut_after_sending_leaves_the_outcome_unknown(
    receiver: Receiver, publisher: WebhookPublisher, respond: Respond
) -> None:
    receiver.respond = respond
    with pytest.raises(OutcomeUnknownError, match="may have accepted it"):
        await publisher.publish(JOB)


async def test_a_receiver_that_is_not_there_is_transient(unused_port: int) -> None:
    async with opened(f"http://127.0.0.1:{unused_port}") as publisher:
        with pytest.raises(TransientError, match="was not reached"):
            await publisher.publish(JOB)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name have these addresses; returns the names asked for."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    return asked


async def test_the_connection_goes_to_the_address_that_was_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve_to(monkeypatch, "127.0.0.1")
    async with opened(f"http://hooks.example:{receiver.port}/") as publisher:
        await publisher.publish(JOB)
    assert asked == ["hooks.example"]
    assert receiver.requests[0].headers["host"] == f"hooks.example:{receiver.port}"


async def test_the_next_address_is_tried_when_one_refuses_the_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "::1", "127.0.0.1")
    async with opened(f"http://hooks.example:{receiver.port}/") as publisher:
        await publisher.publish(JOB)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("169.254.169.254",)])
async def test_a_host_with_any_address_that_is_not_global_is_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    resolve_to(monkeypatch, *addresses)
    async with opened(f"http://hooks.example:{receiver.port}/", allow_private=False) as publisher:
        with pytest.raises(PermanentError, match=f"{addresses[-1]}, which is not global"):
            await publisher.publish(JOB)
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
async def test_no_spelling_of_this_machine_gets_around_the_check(receiver: Receiver, host: str) -> None:
    async with opened(f"http://{host}:{receiver.port}/", allow_private=False) as publisher:
        with pytest.raises((PermanentError, TransientError)):
            await publisher.publish(JOB)
    assert receiver.connections == 0


async def test_a_name_that_cannot_be_resolved_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    async with opened("https://hooks.example/") as publisher:
        with pytest.raises(TransientError, match=r"hooks\.example cannot be resolved: Temporary failure"):
            await publisher.publish(JOB)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_inside_an_ipv6_address(address: Any) -> None:
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    mapped = f"::ffff:{address}"
    translated = f"64:ff9b::{high:x}:{low:x}"
    assert is_public(mapped) == is_public(str(address))
    assert is_public(translated) <= is_public(str(address))
    assert is_public(f"2002:{high:x}:{low:x}::1") <= is_public(str(address))


@pytest.mark.parametrize("address", ["::1", "fe80::1", "fc00::1", "0.0.0.0", "224.0.0.1", "100.64.0.1", "ff02::1"])
def test_an_address_of_one_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["192.0.0.8", "::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "fec0::1", "3fff::1", "5f00::1"]
)
def test_an_address_that_python_takes_for_global_and_that_is_not_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "192.0.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


async def test_no_error_shows_a_secret_even_if_the_receiver_repeats_it(receiver: Receiver) -> None:
    body = f"{SECRET} {SECRET[6:]} t0ken-value qu3ry-token /p4th-token".encode()
    receiver.respond = respond_with(400, body)
    url = f"http://127.0.0.1:{receiver.port}/p4th-token?key=qu3ry-token"
    headers = {"Authorization": "Bearer t0ken-value"}
    async with opened(url, secret=SECRET, headers=headers) as publisher:
        with pytest.raises(InvalidError) as caught:
            await publisher.publish(JOB)
    assert str(caught.value) == "127.0.0.1 answered 400: *** *** *** *** ***"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"url": "http://example.org"}, "options.url: must be https://, unless allow_http"),
        ({"url": "ftp://example.org"}, "options.url"),
        ({"url": "https://"}, "options.url"),
        ({"url": "https://exa mple\0.org"}, "options.url"),
        ({"url": "https://user:s3cret@example.org"}, "options.url: must not contain a user"),
        ({"url": "https://example.org", "secret": "s3cret"}, "options.secret"),
        ({"url": "https://example.org", "secret": "whsec_"}, "options.secret"),
        ({"url": "https://example.org", "secret": "whsec_é"}, "options.secret"),
        ({"url": "https://example.org", "secret": "whsec_s3cret!"}, "options.secret"),
        ({"url": "https://example.org", "secret_env": "NOT_SET_ANYWHERE"}, "no NOT_SET_ANYWHERE"),
        ({"url": "https://example.org", "secret": SECRET, "secret_env": "A"}, "one of secret, secret_env"),
        ({"url": "https://example.org", "secret_file": "/absent", "secret_env": "A"}, "one of secret, secret_env"),
        ({"url": "https://example.org", "secret_file": "/absent"}, "options.secret_file=/absent: the file cannot be"),
        ({"url": "https://example.org", "timeout_s": 0}, "options.timeout_s"),
        ({"url": "https://example.org", "headers": {"X": "s3cret\r\nY: z"}}, "options.headers.'X'"),
        ({"url": "https://example.org", "headers": {"X y": "s3cret"}}, "options.headers.'X y'"),
        ({}, "missing required field `url`"),
    ],
)
def test_a_wrong_option_is_refused_at_start_and_not_shown(options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        WebhookPublisher(options, Settings())
    assert named in caught.value.message
    assert "s3cret" not in caught.value.message


async def test_tls_checks_the_name_of_the_url_and_not_the_address(certificate: ssl.SSLContext) -> None:
    async with Receiver().serve(certificate) as receiver:
        async with opened(f"https://localhost:{receiver.port}/") as publisher:
            await publisher.publish(JOB)
        assert receiver.server_names == ["localhost"]


async def test_a_certificate_of_another_name_is_refused_before_anything_is_sent(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "127.0.0.1")
    async with Receiver().serve(certificate) as receiver:
        async with opened(f"https://hooks.example:{receiver.port}/") as publisher:
            with pytest.raises(TransientError, match="CERTIFICATE_VERIFY_FAILED"):
                await publisher.publish(JOB)
        assert receiver.requests == []


async def test_the_time_signed_is_the_clocks(receiver: Receiver) -> None:
    options = {"url": f"http://127.0.0.1:{receiver.port}", "allow_http": True, "allow_private": True, "secret": SECRET}
    publisher = WebhookPublisher(options, Settings(), clock=lambda: 1_767_225_600_999)
    await publisher.open()
    await publisher.publish(JOB)
    await publisher.close()
    sent = receiver.requests[0]
    assert sent.headers["webhook-timestamp"] == "1767225600"
    signed = Webhook(SECRET).sign(KEY, datetime(2026, 1, 1, tzinfo=UTC), sent.body.decode())
    assert sent.headers["webhook-signature"] == signed
