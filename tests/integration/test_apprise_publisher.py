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
from publisher_kit import HttpDouble, Request, Response, media_file

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
