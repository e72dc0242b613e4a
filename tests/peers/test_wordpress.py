"""The publisher `wordpress` against a real WordPress."""

import asyncio
import base64
import itertools
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from command_kit import SETTINGS, KeptCheckpoints
from everpost.demo.peers import peers_folder
from everpost.platforms import Platform
from everpost.publishing import (
    AuthError,
    InvalidError,
    NotFound,
    OutcomeUnknownError,
    PublishError,
    PublishJob,
    PublishResult,
    RateLimitedError,
    TransientError,
)
from everpost.testing import AccountDouble, Stack
from everpost.testing.trial import try_publisher
from everpost_workers.publishers.wordpress.publisher import WordPressPublisher
from publisher_kit import CuttingProxy, HttpDouble, Request, Response, media_file
from wordpress_server import USER, WordPress

pytestmark = pytest.mark.peer

PLATFORM = Platform(id=9, name="wordpress", publisher="wordpress")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LANES = 4  # exchanges at a time: the site has as many workers
CUTS_AT_ONCE = 200  # then the site's posts are compared
LONGER = 64  # bytes by which an exchange may grow, as the site's ids and the titles do
KEYS = iter(f"{number:032x}" for number in range(1, 100_000))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wordpress(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WordPress]:
    folder = peers_folder(os.environ) / "wordpress"
    async with WordPress(folder, tmp_path_factory.mktemp("wordpress") / "site").serve() as site:
        yield site


@asynccontextmanager
async def publisher_of(**options: Any) -> AsyncIterator[WordPressPublisher]:
    publisher = WordPressPublisher({"allow_http": True, "allow_private": True, **options}, SETTINGS)
    try:
        yield publisher
    finally:
        await publisher.close()


def job_at(url: str, site: WordPress, data: dict[str, Any], **fields: Any) -> PublishJob:
    account = AccountDouble("main", {"username": USER, "password": site.password}, {"url": url})
    fields = {"account": account, "keeper": KeptCheckpoints(), "idempotency_key": next(KEYS), **fields}
    return PublishJob(task_id="t1", data=data, platform=PLATFORM, **fields)


async def posts_titled(site: WordPress, title: str) -> list[dict[str, Any]]:
    """All posts with this title, drafts included."""
    params = {"rest_route": "/wp/v2/posts", "search": title, "status": "any", "context": "edit", "per_page": "100"}
    async with httpx.AsyncClient(auth=(USER, site.password), timeout=60) as client:
        found = (await client.get(site.url, params=params)).json()
    return [post for post in found if post["title"]["raw"] == title]


async def test_a_post_has_all_that_its_task_says(wordpress: WordPress, tmp_path: Path) -> None:
    files = (
        media_file(tmp_path, "cover.png", PNG, "image/png", alt="A dot"),
        media_file(tmp_path, "second.png", PNG, "image/png", alt='Another "dot"'),
    )
    data = {
        "title": "标题 & more",
        "text": "<p>Hello</p>",
        "excerpt": "short",
        "slug": "my-own-slug",
        "categories": ["News", "Städte"],
        "tags": ["one", "two"],
    }
    async with publisher_of() as publisher:
        job = job_at(wordpress.url, wordpress, data, files=files)
        result = await publisher.publish(job)
        again = await publisher.publish(job_at(wordpress.url, wordpress, {**data, "title": "Second", "slug": None}))
        assert await publisher.check_account(job.account) == USER
    (post,) = await posts_titled(wordpress, "标题 & more")
    assert (result.provider_post_id, result.publish_url) == (str(post["id"]), post["link"])
    assert (post["status"], post["slug"], post["excerpt"]["raw"]) == ("publish", "my-own-slug", "short")
    assert post["content"]["raw"].startswith("<p>Hello</p>\n\n<!-- wp:image")
    assert 'alt="Another &quot;dot&quot;"' in post["content"]["raw"]
    assert (len(post["categories"]), len(post["tags"])) == (2, 2)
    async with httpx.AsyncClient(timeout=60) as client:
        params = {"rest_route": f"/wp/v2/media/{post['featured_media']}"}
        cover = (await client.get(wordpress.url, params=params)).json()
        assert cover["alt_text"] == "A dot"
        assert (await client.get(cover["source_url"])).content == PNG
    (second,) = await posts_titled(wordpress, "Second")
    assert (second["slug"], second["categories"]) == ("second", post["categories"])
    assert again.detail == {"status": "publish", "slug": "second"}


async def test_nothing_is_public_before_its_draft_is_saved(wordpress: WordPress) -> None:
    seen: list[str] = []

    class Watching(KeptCheckpoints):
        async def keep(self, checkpoint: bytes) -> None:
            await super().keep(checkpoint)
            seen.extend(post["status"] for post in await posts_titled(wordpress, "Watched"))

    async with publisher_of() as publisher:
        await publisher.publish(job_at(wordpress.url, wordpress, {"title": "Watched"}, keeper=Watching()))
    assert seen == ["draft"]


async def test_a_look_up_tells_drafts_posts_and_deleted_ones(wordpress: WordPress) -> None:
    async with publisher_of() as publisher:
        job = job_at(wordpress.url, wordpress, {"title": "Looked up"})
        assert await publisher.look_up(job) is NotFound.NOT_FOUND
        result = await publisher.publish(job)
        found = await publisher.look_up(job)
        assert isinstance(found, PublishResult)
        assert (found.provider_post_id, found.publish_url) == (result.provider_post_id, result.publish_url)
        params = {"rest_route": f"/wp/v2/posts/{result.provider_post_id}"}
        async with httpx.AsyncClient(auth=(USER, wordpress.password), timeout=60) as client:
            for force in ("false", "true"):  # into the trash, and for good
                answer = await client.delete(wordpress.url, params={**params, "force": force})
                assert answer.status_code == 200
                assert await publisher.look_up(job) is NotFound.NO_VERDICT


async def forwarding(site: WordPress, request: Request) -> Response:
    """WordPress's own answer."""
    passed = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
    async with httpx.AsyncClient(timeout=60) as client:
        url = f"{site.url}{request.path}"
        answer = await client.request(request.method, url, params=request.query, headers=passed, content=request.body)
    return Response(answer.status_code, answer.json())


@pytest.mark.parametrize(
    ("fault", "expected", "seconds"),
    [
        (Response(429, headers={"Retry-After": "7"}), RateLimitedError, 7),
        (Response(429), RateLimitedError, 60),
        (Response(503, headers={"Retry-After": "5"}), RateLimitedError, 5),
        (Response(500), TransientError, None),
        (Response(hangs_up=True), TransientError, None),
        (Response(200, {"odd": True}), TransientError, None),
        (Response(413), InvalidError, None),
    ],
)
async def test_a_fault_before_the_draft_has_its_class_and_is_gone_afterwards(
    wordpress: WordPress, fault: Response, expected: type[PublishError], seconds: float | None
) -> None:
    double = HttpDouble(lambda request: forwarding(wordpress, request))
    title = f"Fault {fault.status} {seconds} {fault.hangs_up}"
    async with double.serve(), publisher_of() as publisher:
        double.fail_next("/", Response(200, []), fault)  # the look for a draft, and its making
        job = job_at(double.url, wordpress, {"title": title})
        with pytest.raises(expected) as caught:
            await publisher.publish(job)
        assert type(caught.value) is expected
        assert caught.value.retry_after_s == seconds
        await publisher.publish(job)
    assert [post["status"] for post in await posts_titled(wordpress, title)] == ["publish"]


@pytest.mark.parametrize("fault", [Response(500), Response(hangs_up=True), Response(200, {}, delay_s=2.5)])
async def test_an_answer_about_the_publication_that_is_lost_is_looked_up(wordpress: WordPress, fault: Response) -> None:
    title = f"Lost {fault.status} {fault.delay_s}"
    carried_out: list[int] = []

    async def answer(request: Request) -> Response:
        response = await forwarding(wordpress, request)
        if b'"publish"' in request.body and not carried_out:
            carried_out.append(response.status)
            return fault
        return response

    double = HttpDouble(answer)
    async with double.serve(), publisher_of(timeout_s=2.0) as publisher:
        job = job_at(double.url, wordpress, {"title": title})
        with pytest.raises(OutcomeUnknownError):
            await publisher.publish(job)
        assert isinstance(await publisher.look_up(job), PublishResult)
        assert (await publisher.publish(job)).detail["status"] == "publish"
    assert carried_out == [200]
    assert len(await posts_titled(wordpress, title)) == 1


async def test_a_wrong_password_is_told_without_it(wordpress: WordPress) -> None:
    job = job_at(wordpress.url, wordpress, {"title": "t"})
    wrong = AccountDouble("main", {"username": USER, "password": "wrong-secret"}, {"url": wordpress.url})
    job = msgspec.structs.replace(job, account=wrong)
    async with publisher_of() as publisher:
        with pytest.raises(AuthError) as caught:
            await publisher.publish(job)
    assert "secret" not in str(caught.value)


async def attempts_until_it_is_over(publisher: WordPressPublisher, job: PublishJob) -> PublishResult:
    """What a worker does after an attempt of unknown outcome, or one that may be repeated."""
    for _ in range(5):
        try:
            return await publisher.publish(job)
        except OutcomeUnknownError:
            found = await publisher.look_up(job)
            if isinstance(found, PublishResult):
                return found
        except TransientError:
            continue
    raise AssertionError("it is never over")


def id_of(result: PublishResult) -> int:
    return int(str(result.provider_post_id))


async def posts_since(site: WordPress, post_id: int) -> list[tuple[str, int, str]]:
    """Title, id and status of all newer posts, drafts included."""
    found: list[tuple[str, int, str]] = []
    wanted = {"status": "any", "context": "edit", "orderby": "id", "per_page": "100", "_fields": "id,status,title"}
    async with httpx.AsyncClient(auth=(USER, site.password), timeout=60) as client:
        for page in itertools.count(1):
            params = {"rest_route": "/wp/v2/posts", "page": str(page), **wanted}
            newest = (await client.get(site.url, params=params)).json()
            newer = [post for post in newest if post["id"] > post_id]
            found += [(post["title"]["raw"], post["id"], post["status"]) for post in newer]
            if len(newer) < len(newest):
                return found
    raise AssertionError("the pages never end")


async def cut_at_each(site: WordPress, places: Sequence[int]) -> list[tuple[str, int, str]]:
    """Post once for each place where its connections break; returns the posts that there must be."""
    left = iter(places)
    made: list[tuple[str, int, str]] = []

    async def lane(publisher: WordPressPublisher) -> None:
        async with CuttingProxy(site.port).serve() as proxy:
            for place in left:
                title = f"Cut {place}"
                job = job_at(proxy.url, site, {"title": title, "tags": ["one"]})
                proxy.cut_after(place)
                try:
                    result = await publisher.publish(job)
                except (OutcomeUnknownError, TransientError):
                    proxy.cut_after(None)
                    result = await attempts_until_it_is_over(publisher, job)
                made.append((title, id_of(result), "publish"))

    async with publisher_of() as publisher:
        await asyncio.gather(*(lane(publisher) for _ in range(LANES)))
    return made


async def test_a_connection_that_is_cut_anywhere_makes_one_post(wordpress: WordPress) -> None:
    """CUTS says at how many places, spread over the whole exchange: 40, or `every` for each byte (twenty minutes)."""
    async with CuttingProxy(wordpress.port).serve() as proxy, publisher_of() as publisher:
        data = {"title": "Whole", "tags": ["one"]}
        await publisher.publish(job_at(proxy.url, wordpress, data))  # makes the tag, so that all others find it
        proxy.cut_after(None)
        last_id = id_of(await publisher.publish(job_at(proxy.url, wordpress, data)))
        size = proxy.passed + LONGER
    wanted = os.environ.get("CUTS", "40")
    cuts = size if wanted == "every" else int(wanted)
    places = [1 + number * size // cuts for number in range(cuts)]
    for begin in range(0, cuts, CUTS_AT_ONCE):
        made = await cut_at_each(wordpress, places[begin : begin + CUTS_AT_ONCE])
        assert sorted(await posts_since(wordpress, last_id)) == sorted(made)
        last_id = max(post_id for _, post_id, _ in made)


async def test_a_post_is_on_the_site_once_whatever_happens_to_its_worker(
    wordpress: WordPress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERPOST_ACCOUNT_WORDPRESS", wordpress.password)
    monkeypatch.setenv("EVERPOST_ACCOUNT_WORDPRESS_USER", USER)
    media_file(tmp_path, "cover.png", PNG, "image/png")

    async def add_account(stack: Stack) -> None:
        references = {"username": "env:EVERPOST_ACCOUNT_WORDPRESS_USER", "password": "env:EVERPOST_ACCOUNT_WORDPRESS"}
        body = {"platform": "trial", "account_id": "account", "credentials": references}
        answer = await stack.client.post("/api/v1/accounts", json=body)
        assert answer.status_code == 201, answer.text

    async def published() -> list[str]:
        params = {"rest_route": "/wp/v2/posts", "search": "trial", "per_page": "100"}
        async with httpx.AsyncClient(timeout=60) as client:
            return [post["title"]["rendered"] for post in (await client.get(wordpress.url, params=params)).json()]

    report = await try_publisher(
        "wordpress",
        posts=published,
        options=lambda address: {"url": f"http://{address}", "allow_http": True, "allow_private": True},
        platform_at=("127.0.0.1", wordpress.port),
        fields={"file_path": "cover.png"},
        prepare=add_account,
        media=tmp_path,
        cuts=1,
        max_attempts=6,
    )
    report.check()
