"""Running the jobs of a plan: what is started when, what is tried again, and when to stop."""

import contextlib
import dataclasses
import json
import secrets
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training_code.foundation.errors import InputError
from training_code.foundation.files import write_text
from training_code.foundation.program import cleaning_up_at_sigterm
from training_code.notebooks import DEFAULT_KERNELS
from training_code.recording import record_failure
from training_code.records.reading import write_record
from training_code.records.record import Record
from training_code.sweep.cutting import Part, cut_out
from training_code.sweep.estimate import Estimates
from training_code.sweep.job import Job, JobState
from training_code.sweep.order import cheapest_first, in_bundles
from training_code.sweep.plan import Planner, with_half_the_batch
from training_code.sweep.pools import Finished, LostWorkerError, Pool
from training_code.sweep.reporter import Reporter
from training_code.sweep.waits import Waits
from training_code.sweep.work import Ended, Work, unpack

# How often work of a lost worker is started again, and seconds between two checks of runs of other processes.
_LOST, _POLL = 3, 1.0


@dataclass(frozen=True)
class Rules:
    """How jobs are run.

    Attributes
    ----------
    timeout
        Seconds for a cell.
    memory
        GiB for a kernel.
    retries
        How often a job that failed is tried again.
    group
        ``"backbone"``: configurations of a notebook that share one run in one kernel.
    fail_fast
        Start no other job once one has failed.
    max_hours
        Start no job that would not finish within so many hours, the cheapest first; a job that is running then is
        stopped.
    kernels
        How kernels start: ``"warm"`` or ``"fresh"``.
    """

    timeout: int | None = None
    memory: float | None = None
    retries: int = 0
    group: str | None = None
    fail_fast: bool = False
    max_hours: float | None = None
    kernels: str = DEFAULT_KERNELS


class Scheduler:
    """Runs jobs that are to run in a pool; whatever happens to one, the others continue."""

    def __init__(
        self, jobs: Sequence[Job], pool: Pool, rules: Rules, planner: Planner, estimates: Estimates, reporter: Reporter
    ) -> None:
        self.pool, self.rules, self.planner, self.estimates, self.reporter = pool, rules, planner, estimates, reporter
        self.ended: Counter[JobState] = Counter()
        self.interrupted = False
        self._stop = False
        self._deadline = None if rules.max_hours is None else time.monotonic() + 3600 * rules.max_hours
        self._tries: Counter[str] = Counter()
        self._losses: Counter[str] = Counter()
        self._halved: dict[str, Job] = {}  # by the key of the job that has half the batch size: the one it had
        self._running: dict[tuple[str, ...], list[Job]] = {}
        self._waits = Waits(reporter)
        self._mark = None if pool.shared else f"sweep-{secrets.token_hex(8)}"
        left = list(jobs) if self._deadline is None else cheapest_first(jobs, estimates)
        self._waiting = deque(in_bundles(left, rules.group))

    def run(self) -> Counter[JobState]:
        """Run all jobs and return how many ended in which state."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.pool.close)
            stack.enter_context(self._interruptible())
            if self._mark is not None:
                stack.enter_context(self._marked(self._mark))
            while self._waiting or self._running:
                if self._stop and not self._running:
                    break
                begun = self._begin()
                for finished in self.pool.wait(_POLL):
                    self._finish(finished)
                if not begun and not self._running and self._waiting:  # other processes work on all that is left
                    time.sleep(_POLL)
                self._check_time()
        for job in (job for bundle in self._waiting for job in bundle):
            self._end(job, JobState.POSTPONED, "not started")
        return self.ended

    def _begin(self) -> bool:
        """Hand to the pool what it has room for; return whether there was anything."""
        begun = False
        for _ in range(len(self._waiting)):
            if self._stop or not self.pool.has_room():
                break
            bundle = [job for job in self._waiting.popleft() if not self._done_meanwhile(job)]
            free = [job for job in bundle if not job.store.is_locked(job.run_id)]
            if busy := [job for job in bundle if job not in free]:
                self._waiting.append(busy)
                self._waits.note(busy)
            if free and not self._in_time(free):
                for job in free:
                    self._end(job, JobState.POSTPONED, "would not finish in time")
            elif free:
                work = self._work(free)
                self._running[work.run_ids] = free
                self.reporter.on_start([job.name for job in free])
                self.pool.start(work)
                begun = True
        return begun

    def _done_meanwhile(self, job: Job) -> bool:
        """Report a job whose run another sweep has made since the plan."""
        if job.rerun or not job.store.stored(job.run_id):
            return False
        self._end(job, JobState.STORED, "another process made it")
        return True

    def _work(self, jobs: Sequence[Job]) -> Work:
        job, rules = jobs[0], self.rules
        parts = [Part(each.run_id, each.cell, each.varied, each.rerun, each.varied_anomalies) for each in jobs]
        notebook = cut_out(job.notebook, parts)
        given = {**job.notebook.parameters, **job.parameters}
        results = job.notebook.evaluate(job.notebook.experiment, given).get("results", "results")
        left = None if self._deadline is None else max(1.0, self._deadline - time.monotonic())
        return Work(
            json.dumps(notebook),
            tuple(each.run_id for each in jobs),
            job.parameters,
            str(results),
            self._mark,
            min((limit for limit in (rules.timeout, left) if limit is not None), default=None),
            rules.memory,
            self.pool.threads,
            rules.kernels,
        )

    def _finish(self, finished: Finished) -> None:
        jobs = {job.run_id: job for job in self._running.pop(finished.work.run_ids)}
        if isinstance(finished.error, LostWorkerError):
            self._lost(list(jobs.values()), finished.error)
            return
        if finished.error is not None:
            error = f"{type(finished.error).__name__}: {finished.error}"
            for job in jobs.values():
                self._failed(job, Ended(job.run_id, "failed", error))
            return
        for ended in finished.ended:
            try:
                self._ended(jobs[ended.run_id], ended)
            except Exception as error:  # a full disk for instance
                self._end(jobs[ended.run_id], JobState.FAILED, f"{type(error).__name__}: {error}")

    def _ended(self, job: Job, ended: Ended) -> None:
        """Handle the end of a run."""
        store = job.store
        if ended.files is not None:
            unpack(ended.files, store, job.run_id)
        record = store.record(job.run_id)
        # A stored result counts, whatever happened to the notebook after it: its kernel may have been told to exit.
        if record is not None and record.status == "ok" and (ended.status is None or ended.recorded):
            if origin := self._halved.pop(job.key, None):
                self._retried(origin, job, record)
                return
            self.estimates.learn(record, ended.seconds)
            self.reporter.on_result(record)
            self._end(job, JobState.OK, ", ".join(_shown(record)), ended.seconds)
            return
        if self._deadline is not None and ended.status == "timeout" and time.monotonic() >= self._deadline:
            self._end(job, JobState.POSTPONED, "stopped: time is up", ended.seconds)
            return
        recorded = record is not None and ended.recorded
        if record is not None and ended.recorded:  # the kernel recorded the failure itself, and knows more about it
            ended = dataclasses.replace(ended, status=record.status, error=record.error or ended.error)
        self._failed(job, dataclasses.replace(ended, recorded=recorded))

    def _failed(self, job: Job, ended: Ended) -> None:
        """Record a failure, and try again where that may help."""
        assert job.prepared is not None  # the others are never started
        status, error = ended.status or "failed", ended.error or "the notebook ended without a result"
        if not ended.recorded:  # otherwise the kernel has recorded more about it
            with contextlib.suppress(OSError):  # on a full disk what matters is that the sweep says so
                record_failure(job.store, job.conditions, job.prepared, status, error)
        origin = self._halved.pop(job.key, None)
        if status == "out_of_memory" and origin is None and (halved := self._halve(job)):
            again = f"tried again with half the batch size{_renamed(job, halved)}"
            self.reporter.on_message(f"{job.name}: out of memory, {again}")
            self._halved[halved.key] = job
            self._waiting.appendleft([halved])
            return
        self._tries[job.key] += 1
        if origin is None and self._tries[job.key] <= self.rules.retries:
            self.reporter.on_message(f"{job.name}: {status}, {error.splitlines()[0]}; try {self._tries[job.key] + 1}")
            self._waiting.appendleft([job])
            return
        self._end(origin or job, JobState(status), error.splitlines()[0], ended.seconds)
        if self.rules.fail_fast:
            self._stop = True

    def _halve(self, job: Job) -> Job | None:
        try:
            return with_half_the_batch(self.planner, job)
        except InputError:  # the smaller batch is not valid for this detector
            return None

    def _retried(self, job: Job, halved: Job, record: Record) -> None:
        """Note in the records of both runs that one stands for the other, where the batch size makes another run."""
        store = job.store
        if halved.run_id != job.run_id:
            write_record(store.folder(halved.run_id), dataclasses.replace(record, retry_of=job.run_id))
            if failed := store.record(job.run_id):
                write_record(store.folder(job.run_id), dataclasses.replace(failed, retried_as=halved.run_id))
        self.reporter.on_result(record)
        text = ", ".join([f"with half the batch size{_renamed(job, halved)}", *_shown(record)])
        self._end(job, JobState.OK, text)

    def _lost(self, jobs: list[Job], error: LostWorkerError) -> None:
        """Start the work of a lost worker again."""
        for job in jobs:
            if job.store.stored(job.run_id) and not job.rerun:
                self._ended(job, Ended(job.run_id))
                continue
            self._losses[job.key] += 1
            if self._losses[job.key] < _LOST:
                self.reporter.on_message(f"{job.name}: {error}; started again")
                self._waiting.appendleft([job])
            else:
                self._failed(job, Ended(job.run_id, "failed", str(error)))

    def _in_time(self, jobs: Sequence[Job]) -> bool:
        if self._deadline is None:
            return True
        needed = sum(self.estimates.seconds(job) or 0.0 for job in jobs)
        return time.monotonic() + needed < self._deadline

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._stop = True

    def _end(self, job: Job, state: JobState, details: str, seconds: float | None = None) -> None:
        self.ended[state] += 1
        waiting = [each for bundle in self._waiting for each in bundle]
        self.reporter.on_end(job.name, state, details, seconds, self.estimates.total(waiting))

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C: the first one starts no new jobs, the second one stops now, as SIGTERM does."""

        def interrupt(*_: object) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = self._stop = True
            words = "running jobs finish, no new ones are started; press Ctrl-C again to stop now"
            self.reporter.on_message(f"interrupted: {words}")

        def terminated() -> None:
            self.reporter.on_message("terminated: running jobs are stopped; the same command resumes them")

        with contextlib.ExitStack() as stack:
            stack.enter_context(cleaning_up_at_sigterm(terminated))
            with contextlib.suppress(ValueError):  # not the main thread
                stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, interrupt))
            yield

    @contextlib.contextmanager
    def _marked(self, mark: str) -> Iterator[None]:
        """Put a file into the results folders, by which workers find out whether they share them."""
        folders = {job.store.results for bundle in self._waiting for job in bundle}
        for folder in folders:
            write_text(folder / mark, "")
        try:
            yield
        finally:
            for folder in folders:
                (folder / mark).unlink(missing_ok=True)


def _shown(record: Record) -> list[str]:
    return [f"{name} {record.metrics[name]:.3f}" for name in ("image_AUROC", "pixel_AUROC") if name in record.metrics]


def _renamed(job: Job, halved: Job) -> str:
    """Return the name under which a run is tried again, nothing if it keeps its own."""
    return "" if halved.run_id == job.run_id else f" as {halved.name}"
