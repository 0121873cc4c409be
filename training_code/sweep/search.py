"""The search for the best configuration of a detector with Optuna; the command is `training_code.search`.

Every trial is a run like any other, with its executed notebook; what is compared is measured on images that its
detector has not seen, labelled defects where there are any, never on the test set.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from training_code.foundation.errors import InputError
from training_code.foundation.files import digest
from training_code.sweep.file import Sweep, read_sweep
from training_code.sweep.job import Job
from training_code.sweep.judging import DEFAULT_WITH_LABELS, DEFAULT_WITHOUT, Basis, basis_of, check_objectives
from training_code.sweep.plan import Planner
from training_code.sweep.progress import sweep_name
from training_code.sweep.search_file import Search, default_direction, read_search
from training_code.sweep.search_report import report
from training_code.sweep.space import check_space, make_sampler, suggest, values_of
from training_code.sweep.stability import Trial
from training_code.sweep.trial import ImpossibleError, Trials

# Marks trials whose values do not fit each other, which count for nothing.
_IMPOSSIBLE = "impossible"
# Draws for each trial at most, until values fit each other.
_DRAWS = 20


def run_search(file: Path, results: str | None, trials: int | None) -> int:
    """Run the trials that are missing of a search, and say what was found; return the exit status.

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
    planner = Planner()
    template = _template(sweep, planner, results)
    basis = basis_of(template)
    search = _with_objectives(search, basis)
    check_objectives(search.objectives, basis)
    check_space(search, template, basis, planner)  # a mistake is an error before the first trial
    print(basis.sentence(search.objectives), flush=True)
    folder = template.store.results / "studies"
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # failed trials are reported below
    # Another space, objective or protocol is another study.
    objective = search.objectives[0] if len(search.objectives) == 1 else [*search.objectives]
    about = digest([search.space, objective, template.cell.detector, _protocol(template)])[:10]
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / f"{sweep_name(file)}-{about}.log"))),
        study_name=f"{sweep_name(file)}-{about}",
        directions=search.directions,
        sampler=make_sampler(search),
        load_if_exists=True,
    )
    runs = Trials(sweep, template, planner, search.objectives, basis)
    return _Study(study, search, runs).run(search.trials if trials is None else trials)


class _Study:
    """The trials of a study."""

    def __init__(self, study: optuna.Study, search: Search, runs: Trials) -> None:
        self.study, self.search, self.runs = study, search, runs
        self.failures: dict[tuple[str, str], int] = {}

    def run(self, trials: int) -> int:
        """Run what is missing of ``trials`` and say what is best; return the exit status."""
        # A trial that was running when the search was killed is started again, and resumes its run.
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params, skip_if_exists=False)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            if "error" in trial.user_attrs:
                self._note_failure(trial.params)
        self.done, self.trials = sum(map(_counts, self.study.trials)), trials
        print(f"study {self.study.study_name}: {self.done} of {trials} trials are stored", flush=True)
        self._run_missing()
        report(self._best(), self.runs, self.search, self.done, partial(print, flush=True))
        return 0

    def _run_missing(self) -> None:
        """Run trials until there are enough; values that do not fit each other are none."""
        sampler = self.study.sampler
        for _ in range(_DRAWS * (self.trials - self.done)):
            if self.done >= self.trials:
                return
            if isinstance(sampler, optuna.samplers.GridSampler) and sampler.is_exhausted(self.study):
                print("the grid is exhausted")
                return
            self.study.optimize(self._objective, n_trials=1, catch=(InputError, RuntimeError))
        if self.done < self.trials:
            print(f"{self.done} of {self.trials} trials: few values of this space fit each other")

    def _objective(self, trial: optuna.Trial) -> tuple[float, ...]:
        """Return the objectives of a trial; a failure is noted and raised."""
        values = {name: suggest(trial, name, given) for name, given in self.search.space.items()}
        shown = f"[{self.done + 1}/{self.trials}] {', '.join(f'{name}={value!r}' for name, value in values.items())}"
        if worst := self._failing_argument(trial.params):
            self.done += 1
            print(f"{shown}: not tried, {worst} failed {self.search.prune_after} times", flush=True)
            raise optuna.TrialPruned
        try:
            outcome = self.runs.run(values)
        except ImpossibleError as error:
            trial.set_user_attr(_IMPOSSIBLE, str(error))
            print(f"{shown}: not possible, {str(error).splitlines()[0]}", flush=True)
            raise optuna.TrialPruned from error  # unlike a failure, from which the sampler learns nothing
        except (InputError, RuntimeError) as error:
            self.done += 1
            trial.set_user_attr("error", str(error))
            self._note_failure(trial.params)
            print(f"{shown}: failed, {str(error).splitlines()[0]}", flush=True)
            raise
        self.done += 1
        trial.set_user_attr("run_id", outcome.record.run_id)
        pairs = zip(self.search.objectives, outcome.values, strict=True)
        reached = ", ".join(f"{name} {value:.4f}" for name, value in pairs)
        print(f"{shown}: {reached} ({outcome.record.run_id})", flush=True)
        return outcome.values

    def _best(self) -> list[Trial]:
        """Return the configurations that ended well, each once, the best first; with several objectives the front."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            attributes = [trial.user_attrs for trial in self.study.trials]
            errors = {found[name] for found in attributes for name in ("error", _IMPOSSIBLE) if name in found}
            raise InputError("no trial finished: " + "; ".join(sorted(errors)))
        found = complete if len(self.search.objectives) == 1 else self.study.best_trials
        sign = -1 if self.search.directions[0] == "maximize" else 1
        best: dict[str, Trial] = {}
        for trial in sorted(found, key=lambda trial: (sign * trial.values[0], trial.number)):
            values = values_of(self.search, trial.params)
            if repr(values) not in best and (outcome := self.runs.stored(values)):
                best[repr(values)] = Trial(trial.number, values, outcome)
        if not best:
            raise InputError("the runs of all trials were removed; remove the study, too, to begin again")
        return list(best.values())

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


def _with_objectives(search: Search, basis: Basis) -> Search:
    """Return a search with the objective that is the default for these images, where the file names none."""
    if search.objectives:
        return search
    objective = DEFAULT_WITH_LABELS if basis.labels else DEFAULT_WITHOUT
    return replace(search, objectives=(objective,), directions=search.directions or (default_direction(objective),))


def _protocol(template: Job) -> list[Any]:
    """Return the common settings of trials as plain data."""
    conditions = template.conditions
    return [conditions.dataset.fingerprint, conditions.protocol.image_size, conditions.seed, str(template.parameters)]


def _counts(trial: FrozenTrial) -> bool:
    """Return whether a trial has ended and is one of those requested, not one that was started again."""
    ran = trial.state is not TrialState.FAIL or "error" in trial.user_attrs
    return trial.state.is_finished() and ran and _IMPOSSIBLE not in trial.user_attrs
