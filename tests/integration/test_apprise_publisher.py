"""The publisher `apprise`: the library itself, with a service that posts JSON to a server of the test's own."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from command_kit import SETTINGS, job_of
from everpost.errors import SettingsError
from everpost.publishing import AuthError, InvalidError, OutcomeUnknownError, PermanentError, PublisherClass
from everpost.testing import AccountDouble
from everpost_workers.publishers.apprise import ApprisePublisher
from publisher_kit import CuttingProxy, HttpDouble, Request, Response, error_from, media_file

pytestmark = pytest.mark.filterwarnings("ignore:.imghdr. is deprecated:DeprecationWarning")  # Apprise imports it


def accept(_: Request) -> Response:
    return Response(200)


@pytest.fixture
async def service() -> AsyncIterator[HttpDouble]:
    async with HttpDouble(accept).serve() as service:
        yield service


def account_of(service: HttpDouble) -> AccountDouble:
    return AccountDouble("chat", {"url": f"json://user:c4nary-secret@127.0.0.1:{service.port}/room"})


async def test_a_message_has_title_text_and_files(service: HttpDouble, tmp_path: Path) -> None:
    files = (media_file(tmp_path, "a.png", b"image", "image/png"),)
    job = job_of({"title": "标题", "description": "text"}, account=account_of(service), files=files)
    publisher = ApprisePublisher({}, SETTINGS)
    assert publisher.publisher_class is PublisherClass.NONE
    assert (await publisher.publish(job)).detail == {"media": "a.png"}
    (request,) = service.requests
    sent = request.json()
    assert (request.path, sent["title"], sent["message"]) == ("/room", "标题", "text")
    assert [attachment["filename"] for attachment in sent["attachments"]] == ["a.png"]


async def test_a_failure_leaves_the_outcome_unknown_and_tells_no_secret(service: HttpDouble) -> None:
    service.fail_next("/", Response(500), Response(500))
    with pytest.raises(OutcomeUnknownError) as caught:
        await ApprisePublisher({}, SETTINGS).publish(job_of(account=account_of(service)))
    assert "c4nary" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Response(429, headers={"Retry-After": "7"}),
        Response(429),
        Response(500),
        Response(503),
        Response(401),
        Response(hangs_up=True),
        Response(200, delay_s=30),
    ],
    ids=["429 with Retry-After", "429", "500", "503", "revoked token", "broken connection", "late answer"],
)
async def test_apprise_tells_no_failure_from_another_so_each_leaves_the_outcome_unknown(
    service: HttpDouble, fault: Response
) -> None:
    service.fail_next("/", fault)
    url = f"json://user:c4nary-secret@127.0.0.1:{service.port}/room?rto=0.3"
    with pytest.raises(OutcomeUnknownError) as caught:
        await ApprisePublisher({}, SETTINGS).publish(job_of(account=AccountDouble("chat", {"url": url})))
    assert caught.value.retry_after_s is None
    assert len(service.requests) == 1, "Apprise itself sends nothing again"


async def cut_at_each(service: HttpDouble, step: int) -> None:
    """Break the connection after every so many bytes: the message is sent once, or a person decides."""
    async with CuttingProxy(service.port).serve() as proxy:
        job = job_of(account=AccountDouble("chat", {"url": f"json://127.0.0.1:{proxy.port}/room"}))
        proxy.cut_after(None)
        await ApprisePublisher({}, SETTINGS).publish(job)
        length = proxy.passed
        for cut in range(0, length, step):
            service.requests.clear()
            proxy.cut_after(cut)
            error = await error_from(ApprisePublisher({}, SETTINGS).publish(job))
            assert error is None or type(error) is OutcomeUnknownError, cut
            assert len(service.requests) <= 1, cut
            assert service.requests or error is not None, cut


async def test_a_connection_that_breaks_sends_no_second_message(service: HttpDouble) -> None:
    await cut_at_each(service, step=97)


@pytest.mark.chaos
async def test_a_connection_that_breaks_at_any_byte_sends_no_second_message(service: HttpDouble) -> None:
    await cut_at_each(service, step=1)


async def test_what_cannot_be_sent_is_refused_before_anything_is(service: HttpDouble) -> None:
    publisher = ApprisePublisher({}, SETTINGS)
    with pytest.raises(InvalidError, match="neither"):
        await publisher.publish(job_of({"x": 1}, account=account_of(service)))
    with pytest.raises(InvalidError, match="title must be text"):
        await publisher.publish(job_of({"title": 1}, account=account_of(service)))
    with pytest.raises(AuthError, match="no credential 'url'"):
        await publisher.publish(job_of(account=AccountDouble("chat", {})))
    with pytest.raises(AuthError, match="does not understand"):
        await publisher.publish(job_of(account=AccountDouble("chat", {"url": "nonsense://c4nary"})))
    assert service.requests == []
    with pytest.raises(SettingsError, match="format"):
        ApprisePublisher({"format": "poem"}, SETTINGS)


async def test_without_the_library_it_says_what_to_install(
    service: HttpDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(PermanentError, match=r"install everpost\[apprise\]"):
        await ApprisePublisher({}, SETTINGS).publish(job_of(account=account_of(service)))
