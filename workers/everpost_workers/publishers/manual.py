"""The publisher `manual`: a person posts it, and says so by a decision."""

from everpost.publishing import ManualError, Publisher, PublishJob, PublishResult


class ManualPublisher(Publisher):
    """Publishes nothing. Each task waits, as `unknown`, for the decision of the person who posts it."""

    async def publish(self, job: PublishJob) -> PublishResult:
        """Ask a person to post it.

        Raises:
            ManualError: Always.
        """
        job.trace.nothing_sent()
        account_id = job.data.get("account_id")
        account = f" as {str(account_id)[:100]}" if account_id else ""
        raise ManualError(f"Post it on {job.platform.title or job.platform.name}{account}, and then decide.")
