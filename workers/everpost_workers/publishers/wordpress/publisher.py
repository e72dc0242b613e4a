"""The publisher `wordpress`. What it needs for sending is imported with the first post: most workers send none."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from everpost.clock import Clock, system_clock
from everpost.publishing import (
    Account,
    NotFound,
    Publisher,
    PublisherClass,
    PublishJob,
    PublishResult,
    read_options,
)
from everpost.settings import Settings
from everpost_workers.publishers.addresses import check_address
from everpost_workers.publishers.first_use import FirstUse
from everpost_workers.publishers.wordpress.options import WordPressOptions
from everpost_workers.publishers.wordpress.post import (
    MARK,
    Attachment,
    PostFields,
    draft_of,
    publication_of,
    read_fields,
)

if TYPE_CHECKING:
    from everpost_workers.publishers.http_api import HttpApi
    from everpost_workers.publishers.wordpress.site import Site

IS_OUT = frozenset({"publish", "future", "private"})
IN_TRASH = "trash"


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint of a task.

    Attributes:
        attachments: The files that the site has, in the task's order.
        post_id: The draft, which only now may be published.
    """

    attachments: list[Attachment] = msgspec.field(default_factory=list)
    post_id: int | None = None


class WordPressPublisher(Publisher):
    """Makes a draft, keeps its id, and then publishes it. Publishing a draft a second time changes nothing.

    Raises:
        SettingsError: An option is unknown or wrong.
    """

    publisher_class = PublisherClass.CHECKABLE
    needs_account = True

    def __init__(self, options: Mapping[str, Any], settings: Settings, clock: Clock = system_clock) -> None:
        self._options = read_options(options, WordPressOptions)
        if self._options.url is not None:
            check_address("url", self._options.url, allow_http=self._options.allow_http)
        self._connections = settings.max_jobs
        self._clock = clock
        self._api = FirstUse(self._make_api)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def publish(self, job: PublishJob) -> PublishResult:
        """Publish it, from where an earlier attempt stopped.

        Raises:
            OutcomeUnknownError: It was being published, and no whole answer came.
            PublishError: It is not published.
        """
        job.trace.nothing_sent()
        fields = read_fields(job.data, job.files)
        site = await self._site(job.account)
        saved = read_saved(job.saved)
        if saved.post_id is None:
            saved = await self._prepare(job, site, fields, saved)
        assert saved.post_id is not None, "it is prepared"
        return _result(await site.publish(saved.post_id, publication_of(fields), job), saved.post_id)

    async def look_up(self, job: PublishJob) -> PublishResult | NotFound:
        """Ask for the state of the draft in the checkpoint. Without one, nothing can have been published."""
        saved = read_saved(job.saved)
        if saved.post_id is None:
            return NotFound.NOT_FOUND
        post = await (await self._site(job.account)).find_post(saved.post_id)
        if post is None or post.get("status") == IN_TRASH:
            return NotFound.NO_VERDICT  # deleted by a person, before or after it was published
        return _result(post, saved.post_id) if post.get("status") in IS_OUT else NotFound.NOT_FOUND

    async def check_account(self, account: Account) -> str | None:
        """The name of the account's user."""
        return await (await self._site(account)).name_of_user()

    async def _prepare(self, job: PublishJob, site: "Site", fields: PostFields, saved: Saved) -> Saved:
        """Upload what is missing, and make the draft; only the site's editors can see it."""
        attachments = list(saved.attachments)
        for media in job.files[len(attachments) :]:
            attachments.append(await site.upload(job, media))
            saved = Saved(attachments=list(attachments))
            await job.checkpoint(msgspec.to_builtins(saved))
        post_id = await site.find_draft(f"{MARK}{job.idempotency_key}")
        if post_id is None:
            terms = {
                taxonomy: [await site.term(taxonomy, name) for name in names]
                for taxonomy, names in (("categories", fields.categories), ("tags", fields.tags))
                if names
            }
            post_id = await site.make_draft(draft_of(fields, job.idempotency_key, attachments, terms))
        saved = msgspec.structs.replace(saved, post_id=post_id)
        await job.checkpoint(msgspec.to_builtins(saved))
        return saved

    async def _site(self, account: Account) -> "Site":
        from everpost_workers.publishers.wordpress.site import Site  # noqa: PLC0415 - see the module's docstring

        return Site(await self._api.get(), self._options, account, self._clock)

    def _make_api(self) -> "HttpApi":
        from everpost_workers.publishers.http_api import HttpApi  # noqa: PLC0415 - see the module's docstring

        options = self._options
        return HttpApi(
            connections=self._connections, allow_http=options.allow_http, allow_private=options.allow_private
        )


def read_saved(saved: Any) -> Saved:
    """The task's checkpoint."""
    return Saved() if saved is None else msgspec.convert(saved, Saved)


def _result(post: Mapping[str, Any], post_id: int) -> PublishResult:
    link = post.get("link")
    return PublishResult(
        provider_post_id=str(post_id),
        publish_url=link if isinstance(link, str) else None,
        detail={"status": post.get("status"), "slug": post.get("slug")},
    )
