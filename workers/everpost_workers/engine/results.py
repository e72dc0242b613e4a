"""The results in Redis: whether and how long they are kept, and their bytes."""

from arq.jobs import serialize_result
from arq.worker import Worker

from everpost_workers.engine.held import HeldJob
from everpost_workers.engine.options import EngineOptions

LISTS = 128  # how many lists the results index has


class ResultRules:
    """arq's rules for results, the same on every path.

    A function's own `keep_result` and `keep_result_forever` win over the worker's, also when the job fails.

    Attributes:
        index: The key of the results index; "" without an index.
        list_ms: Each list of the index has the ids of the results of this time. It outlives its first results by as
            long.
    """

    def __init__(self, worker: Worker, options: EngineOptions) -> None:
        self._keep_result_s = worker.keep_result_s
        self._is_kept_forever = worker.keep_result_forever
        self._serializer = worker.job_serializer
        self._serializer_like = options.serializer_like
        self._is_slim = options.slim_results
        self.index = options.result_index or ""
        self.list_ms = max(1_000, round((worker.keep_result_s or 0) * 1000 / LISTS))

    def result_of(self, job: HeldJob) -> tuple[bytes, str]:
        """The result's bytes, empty if none is kept, and its life in ms, empty if it is kept for ever."""
        keep_result_s, is_kept_forever = self._keep_result_s, self._is_kept_forever
        if job.function is not None:
            if job.function.keep_result_s is not None:
                keep_result_s = job.function.keep_result_s
            if job.function.keep_result_forever is not None:
                is_kept_forever = job.function.keep_result_forever
        life_ms = round((keep_result_s or 0) * 1000)
        if not is_kept_forever and life_ms <= 0:
            return b"", ""
        return self._serialize(job) or b"", "" if is_kept_forever else str(life_ms)

    def _serialize(self, job: HeldJob) -> bytes | None:
        claim = job.claim
        is_slim = self._is_slim and job.success
        like = self._serializer_like
        return serialize_result(
            claim.function,
            () if is_slim else claim.args,
            {} if is_slim else claim.kwargs,
            claim.job_try,
            claim.enqueue_time_ms,
            job.success,
            job.result,
            job.start_ms,
            job.finish_ms,
            job.reference,
            claim.queue_name,
            job.job_id,
            serializer=self._serializer if like is None else like(claim.payload or b""),
        )
