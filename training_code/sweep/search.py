"""The search for the best configuration of a detector with Optuna; the command is `training_code.search`.

Every trial is a run like any other, with its executed notebook; what is compared is measured on images held out of
training, never on the test set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import TrialState

from training_code.foundation.errors import InputError, unknown
from training_code.foundation.files import digest
from training_code.records.metrics import CAUTION, DEFAULT_OBJECTIVE, LATENCY, OBJECTIVES
from training_code.records.record import Record
from training_code.sweep.estimate import Estimates
from training_code.sweep.file import Sweep, read_sweep
from training_code.sweep.job import Job, JobState
from training_code.sweep.parameters import divide, fold
from training_code.sweep.plan import Planner
from training_code.sweep.pools import InProcess
from training_code.sweep.progress import sweep_name
from training_code.sweep.reporter import MessageReporter
from training_code.sweep.schedule import Rules, Scheduler
from training_code.sweep.thresholds import check_thresholds

SEARCH_KEYS = ("space", "objective", "direction", "sampler", "trials", "seed", "prune_after")
RANGE_KEYS = ("low", "high", "step", "log")
SAMPLERS = ("tpe", "random", "grid")
DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class Search:
    """What the key ``search`` of a sweep file says.

    Attributes
    ----------
    space
        Arguments of the configuration and fields of protocol and compute: a list of values, or ``low``, ``high`` and,
        if wanted, ``step`` or ``log``.
    objective
        A metric on the held-out images, or ``latency``.
    prune_after
        How many trials may fail with a value of a list before it is not tried again.
    """

    space: dict[str, Any]
    objective: str
    direction: Literal["maximize", "minimize"]
    sampler: str
    trials: int
    seed: int
    prune_after: int


def read_search(path: Path, content: Mapping[str, Any] | None) -> Search:
    """Check the key ``search`` of a sweep file; a mistake is an `InputError` with the valid choices."""
    if content is None:
        raise InputError(f"{path} has no key search; valid keys in it: {', '.join(SEARCH_KEYS)}")
    for key in content:
        if key not in SEARCH_KEYS:
            raise unknown(f"key in search of {path}", key, SEARCH_KEYS)
    space = content.get("space")
    if not isinstance(space, dict) or not space:
        raise InputError(f"{path}: search: space must name at least one argument with its values")
    for name, values in space.items():
        _check_values(path, name, values)
    objective = content.get("objective", DEFAULT_OBJECTIVE)
    if objective not in OBJECTIVES:
        raise unknown(f"objective in {path}", objective, OBJECTIVES)
    direction = content.get("direction", "maximize" if OBJECTIVES[objective].larger_is_better else "minimize")
    if direction not in DIRECTIONS:
        raise unknown(f"direction in {path}", direction, DIRECTIONS)
    sampler = content.get("sampler", "tpe")
    if sampler not in SAMPLERS:
        raise unknown(f"sampler in {path}", sampler, SAMPLERS)
    if sampler == "grid" and (ranges := [name for name, values in space.items() if isinstance(values, dict)]):
        raise InputError(f"{path}: search: sampler grid takes lists of values only; {ranges[0]} is a range")
    numbers = {}
    for name, default, low in (("trials", 20, 1), ("seed", 42, 0), ("prune_after", 3, 1)):
        value = numbers[name] = content.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise InputError(f"{path}: search: {name}={value!r} must be a whole number, at least {low}")
    return Search(space, objective, direction, sampler, **numbers)


def _check_values(path: Path, name: str, values: Any) -> None:
    if isinstance(values, list) and values:
        return
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: search: {name} must be a list of values or a range with low and high, found {values!r}"
        )
    for key in values:
        if key not in RANGE_KEYS:
            raise unknown(f"key of {name} in search of {path}", key, RANGE_KEYS)
    low: Any = values.get("low")
    high: Any = values.get("high")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high))
    if not numbers or low >= high:
        raise InputError(f"{path}: search: {name} needs low below high, found {low!r} and {high!r}")
    if values.get("log") and (low <= 0 or values.get("step")):
        raise InputError(f"{path}: search: {name} with log needs low above 0, and no step")


def run_search(file: Path, results: str | None, trials: int | None) -> int:
    """Run the trials that are missing of a search, and print the best one; return the exit status.

    Parameters
    ----------
    file
        A sweep file with a key ``search``.
    results
        Folder for the runs and the study, in place of the notebooks' own.
    trials
        How many in all, in place of the file's.
    """
    sweep = read_sweep(file)
    search = read_search(file, sweep.search)
    template = _template(sweep, Planner(), results)
    divide(template.notebook, search.space)  # an unknown name is an error before the first trial
    folder = template.store.results / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # failed trials are reported below
    # Another space, objective or protocol is another study.
    about = digest([search.space, search.objective, template.cell.detector, _protocol(template)])[:10]
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / f"{sweep_name(file)}-{about}.log"))),
        study_name=f"{sweep_name(file)}-{about}",
        direction=search.direction,
        sampler=_sampler(search),
        load_if_exists=True,
    )
    return _Trials(study, search, sweep, template).run(search.trials if trials is None else trials)


class _Trials:
    """The trials of a study."""

    def __init__(self, study: optuna.Study, search: Search, sweep: Sweep, template: Job) -> None:
        self.study, self.search, self.sweep, self.template = study, search, sweep, template
        self.planner = Planner()
        self.failures: dict[tuple[str, str], int] = {}

    def run(self, trials: int) -> int:
        """Run what is missing of ``trials`` and print the best; return the exit status."""
        # A trial that was running when the search was killed is started again, and resumes its run.
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params, skip_if_exists=False)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            if "error" in trial.user_attrs:
                self._note_failure(trial.params)
        self.done, self.trials = sum(map(_counts, self.study.trials)), trials
        print(f"study {self.study.study_name}: {self.done} of {trials} trials are stored")
        sampler = self.study.sampler
        if isinstance(sampler, optuna.samplers.GridSampler) and sampler.is_exhausted(self.study):
            print("the grid is exhausted")
        elif self.done < trials:
            self.study.optimize(self._objective, n_trials=trials - self.done, catch=(InputError, RuntimeError))
        return self._print_best()

    def _objective(self, trial: optuna.Trial) -> float:
        """Return the objective of a trial; a failure is noted and raised."""
        values = {name: _suggest(trial, name, given) for name, given in self.search.space.items()}
        self.done += 1
        shown = f"[{self.done}/{self.trials}] {', '.join(f'{name}={value!r}' for name, value in values.items())}"
        if worst := self._failing_argument(trial.params):
            print(f"{shown}: not tried, {worst} failed {self.search.prune_after} times", flush=True)
            raise optuna.TrialPruned
        try:
            record = self._run(values)
            found = {**record.validation, LATENCY: record.times[LATENCY]}
            if self.search.objective not in found:
                raise InputError(
                    f"{record.run_id} has no {self.search.objective} on held-out images, made by an earlier version or "
                    f"given other thresholds (remove it, and it is trained again); valid: {', '.join(found)}"
                )
        except (InputError, RuntimeError) as error:
            trial.set_user_attr("error", str(error))
            self._note_failure(trial.params)
            print(f"{shown}: failed, {str(error).splitlines()[0]}", flush=True)
            raise
        objective = found[self.search.objective]
        trial.set_user_attr("run_id", record.run_id)
        print(f"{shown}: {self.search.objective} {objective:.4f} ({record.run_id})", flush=True)
        return objective

    def _run(self, values: dict[str, Any]) -> Record:
        """Return the record of the run with these arguments, made now if there is none."""
        template = self.template
        options, values = divide(template.notebook, values)
        parameters = fold(template.notebook, options, template.parameters)
        arguments = template.varied or template.notebook.evaluate(
            template.cell.arguments, {**template.notebook.parameters, **parameters}
        )
        job = self.planner.job(template.notebook, template.cell, parameters, arguments | values)
        if job.prepared is None:
            raise InputError(job.reason)
        if job.state is JobState.TO_RUN:
            rules = Rules(self.sweep.timeout, self.sweep.resources.memory, self.sweep.retries)
            pool = InProcess(self.sweep.resources)
            scheduler = Scheduler([job], pool, rules, self.planner, Estimates(), MessageReporter())
            ended = scheduler.run()
            if scheduler.interrupted:  # by Ctrl-C, after which the run has ended: no other trial begins
                raise KeyboardInterrupt
            if JobState.OK not in ended:
                failed = job.store.record(job.run_id)
                raise RuntimeError(failed.error if failed and failed.error else "it did not finish")
        record = job.store.record(job.run_id)
        if record is not None and record.retried_as:
            record = job.store.record(record.retried_as)
        if record is None or record.status != "ok":
            raise RuntimeError(f"{job.run_id} has no result")
        check_thresholds(record, job.protocol, self.search.objective)
        return record

    def _print_best(self) -> int:
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            errors = {trial.user_attrs["error"] for trial in self.study.trials if "error" in trial.user_attrs}
            raise InputError("no trial finished: " + "; ".join(sorted(errors)))
        best, name = self.study.best_trial, self.search.objective
        print(f"best of {len(complete)}: {name} {best.value:.4f} on held-out images, {best.user_attrs['run_id']}")
        for argument, value in best.params.items():
            print(f"  {argument}: {value}")
        if name != LATENCY:
            print(CAUTION)
        return 0

    def _note_failure(self, parameters: Mapping[str, Any]) -> None:
        for name, value in parameters.items():
            if isinstance(self.search.space.get(name), list):
                self.failures[name, repr(value)] = self.failures.get((name, repr(value)), 0) + 1

    def _failing_argument(self, parameters: Mapping[str, Any]) -> str | None:
        """Return an argument with a value whose trials have all failed, often enough."""
        good = {
            (name, repr(value))
            for trial in self.study.trials
            if trial.state is TrialState.COMPLETE
            for name, value in trial.params.items()
        }
        for name, value in parameters.items():
            key = name, repr(value)
            if key not in good and self.failures.get(key, 0) >= self.search.prune_after:
                return f"{name}={value!r}"
        return None


def _template(sweep: Sweep, planner: Planner, results: str | None) -> Job:
    """Return the job whose arguments are varied: a sweep file for a search selects exactly one."""
    jobs = list(planner.jobs_of(sweep, results))
    if len(jobs) != 1:
        raise InputError(
            f"{sweep.path} selects {len(jobs)} configurations; a search varies the arguments of exactly one: narrow "
            "select, and put lists into the space"
        )
    return jobs[0]


def _protocol(template: Job) -> list[Any]:
    """Return the common settings of trials as plain data."""
    conditions = template.conditions
    return [conditions.dataset.fingerprint, conditions.protocol.image_size, conditions.seed, str(template.parameters)]


def _sampler(search: Search) -> optuna.samplers.BaseSampler:
    if search.sampler == "grid":
        space = {name: _keys(values) for name, values in search.space.items()}
        return optuna.samplers.GridSampler(space, seed=search.seed)
    kind = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[search.sampler]
    return kind(seed=search.seed)


def _suggest(trial: optuna.Trial, name: str, values: Any) -> Any:
    """Return the value that a trial tries."""
    if isinstance(values, list):  # lists and dicts are values too, which Optuna would not take
        keys = _keys(values)
        return values[keys.index(trial.suggest_categorical(name, keys))]
    low, high, step, log = values["low"], values["high"], values.get("step"), bool(values.get("log"))
    if isinstance(low, int) and isinstance(high, int) and isinstance(step or 1, int):
        return trial.suggest_int(name, low, high, step=step or 1, log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


def _keys(values: list[Any]) -> list[Any]:
    plain = str, int, float, bool
    return [value if value is None or isinstance(value, plain) else repr(value) for value in values]


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Return whether a trial has ended and is one of those requested, not one that was started again."""
    return trial.state.is_finished() and (trial.state is not TrialState.FAIL or "error" in trial.user_attrs)
