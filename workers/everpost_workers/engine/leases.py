"""Renews a worker's leases from a thread, so that a job that blocks the event loop keeps its lease."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from everpost_workers.engine.held import HeldJob, now_s
from everpost_workers.engine.log_fields import as_event
from everpost_workers.engine.loop_watch import LoopWatch
from everpost_workers.engine.lua import script_source
from everpost_workers.engine.trouble import REDIS_TROUBLE

logger = logging.getLogger("arq.worker")

RETRY_KEY_TTL_S = 88_400  # arq's life of a try counter
ROUNDS_PER_LEASE = 3
RESTORE_BYTES = 16 * 1024 * 1024  # payloads of one call; with more, Redis may answer too late
LONGEST_ROUND_S = 1.0  # seconds; after FLUSHALL, running jobs look abandoned until the next round


def _portions(jobs: list[HeldJob]) -> Iterator[list[HeldJob]]:
    """Portions of `jobs` for one call each; a single payload may exceed the limit."""
    portion: list[HeldJob] = []
    size_bytes = 0
    for job in jobs:
        payload_bytes = len(job.restorable_payload)
        if portion and size_bytes + payload_bytes > RESTORE_BYTES:
            yield portion
            portion, size_bytes = [], 0
        portion.append(job)
        size_bytes += payload_bytes
    if portion:
        yield portion


class LeaseKeeper:
    """Renews the leases of all held jobs with one command, each second and at least three times in a lease.

    The thread starts with the first job and ends once no job was held for a round. It is a daemon: it never
    keeps a dying process alive.

    Args:
        client: A blocking client that only the thread uses; it connects with the first command.
        lease_s: How long a lease lasts after its last renewal.
        queue_names: All queues, in the order of the claims' queue numbers.
        watch: Looks in each round whether the event loop that runs the jobs still turns.
    """

    def __init__(
        self, client: "redis.Redis", *, lease_s: float, queue_names: Sequence[str], watch: "LoopWatch | None" = None
    ) -> None:
        self._watch = watch
        self._client = client
        self._lease_ms = int(lease_s * 1000)
        self._round_s = min(lease_s / ROUNDS_PER_LEASE, LONGEST_ROUND_S)
        self._queue_names = list(queue_names)
        self._held: dict[str, HeldJob] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._thread_guard = threading.Lock()
        # Held while lost jobs are put back, and taken before a job is released, so that no ended job is put back.
        self.restoring = threading.Lock()

    def hold(self, job: HeldJob) -> None:
        """Keep the lease of `job` from now on."""
        self._held[job.job_id] = job
        with self._thread_guard:
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._run, name="job-leases", daemon=True)
                self._thread.start()

    def drop(self, job: HeldJob) -> None:
        """Stop keeping the lease of `job`; no harm if it is not kept."""
        if self._held.get(job.job_id) is job:
            del self._held[job.job_id]

    def stop(self, *, but: Sequence[HeldJob] = ()) -> None:
        """Let all leases run out, except those of the jobs `but`, which are kept as long as the process lives."""
        kept = {job.job_id: job for job in but if self._held.get(job.job_id) is job}
        self._held = kept
        if not kept:
            self._stop.set()

    def _run(self) -> None:
        client = self._client
        try:
            wait_s = self._round_s
            while not self._stop.wait(wait_s) and not self._is_idle():
                if self._watch is not None:
                    self._watch.look(wait_s)
                wait_s = self._run_round(client)
        finally:
            with self._thread_guard:
                if self._thread is threading.current_thread():
                    self._thread = None
            client.connection_pool.disconnect()

    def _is_idle(self) -> bool:
        with self._thread_guard:
            if self._held:
                return False
            self._thread = None
            return True

    def _run_round(self, client: "redis.Redis") -> float:
        """Renew all leases; returns the seconds until the next round."""
        try:
            missing = self._renew(client, self._snapshot())
            for portion in _portions(missing):
                self._restore(client, portion)
        except REDIS_TROUBLE as error:
            fields = as_event("leases.not_renewed", error=f"{type(error).__name__}: {error}")
            logger.warning("leases could not be renewed, trying again: %r", error, extra=fields)
            client.connection_pool.disconnect()  # the server may have become a replica
            return min(0.5, self._round_s / 4)
        except Exception:
            logger.exception("leases could not be renewed, trying again", extra=as_event("leases.not_renewed"))
        return self._round_s

    def _snapshot(self) -> list[HeldJob]:
        while True:
            with contextlib.suppress(RuntimeError):  # the event loop changed the dict meanwhile
                return [job for job in list(self._held.values()) if not job.is_fenced]

    def _renew(self, client: "redis.Redis", jobs: list[HeldJob]) -> list[HeldJob]:
        """Renew our leases and mark the jobs that another worker holds; returns the jobs that no worker holds."""
        if not jobs:
            return []
        arguments: list[Any] = [self._lease_ms]
        for job in jobs:
            arguments += (job.job_id, job.queue_number, job.token)
        until_s = now_s() + self._lease_ms / 1000
        missing: list[HeldJob] = []
        lost: set[int] = set()
        for position in self._evaluate(client, "renew", arguments):
            lost.add(abs(position) - 1)
            if position > 0:
                missing.append(jobs[position - 1])
            else:
                self._fence(jobs[-position - 1])
        for number, job in enumerate(jobs):
            if number not in lost:
                job.leased_until = until_s
        return missing

    def _restore(self, client: "redis.Redis", jobs: list[HeldJob]) -> None:
        """Put back the jobs that Redis lost and that still run here."""
        with self.restoring:
            jobs = [job for job in jobs if not job.is_releasing and self._held.get(job.job_id) is job]
            if not jobs:
                return
            arguments: list[Any] = [self._lease_ms, RETRY_KEY_TTL_S]
            for job in jobs:
                arguments += (job.job_id, job.queue_number, job.token, job.counted_tries, job.restorable_payload)
            until_s = now_s() + self._lease_ms / 1000
            taken = self._evaluate(client, "restore", arguments)
        for position in taken:
            self._fence(jobs[position - 1])
        for number, job in enumerate(jobs, 1):
            if number not in taken:
                job.leased_until = until_s
        if len(taken) < len(jobs):
            back = len(jobs) - len(taken)
            told = "put back %d running jobs that redis had lost"
            logger.warning(told, back, extra=as_event("jobs.put_back", jobs=back, job_id=jobs[0].job_id))

    def _fence(self, job: HeldJob) -> None:
        if self._held.get(job.job_id) is job and not job.is_releasing:
            job.is_fenced = True
            told = "job %s was taken over by another worker while it ran here"
            logger.warning(told, job.job_id, extra=as_event("job.taken_over", job_id=job.job_id, was="running"))

    def _evaluate(self, client: "redis.Redis", script: str, arguments: list[Any]) -> list[int]:
        answer: Any = client.eval(script_source(script), len(self._queue_names), *self._queue_names, *arguments)
        return list(answer)
