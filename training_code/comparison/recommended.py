"""Which run of a dataset is the best one, and why: by what errors cost on the example of a line, or by a metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from training_code.comparison.configurations import CRITERION, best_models, configurations
from training_code.comparison.decision import Assumptions, Candidate, groups_of, ranking
from training_code.comparison.decision_candidates import read_candidates
from training_code.comparison.not_run import not_read
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices
from training_code.records.metrics import criterion_metric
from training_code.records.scores import read_scores

# Runs of other protocols that are named where that with most models has none to choose.
_MOST_NAMED = 3


@dataclass(frozen=True)
class Recommended:
    """A run, and in half a sentence what it is the best by.

    Attributes
    ----------
    of
        The dataset; with the protocol where runs of several were there to choose from.
    """

    run_id: str
    of: str
    why: str

    @property
    def sentence(self) -> str:
        """Which run is the best, and why."""
        return f"best of {self.of}: {self.run_id}, {self.why}"


def recommended(
    table: pd.DataFrame, line: Assumptions | None = None, dataset: str | None = None, problems: Sequence[str] = ()
) -> tuple[Recommended | None, list[str]]:
    """Return the run that costs least at its threshold in force; None where no run has false alarms and misses.

    It is that which the sheet Decision recommends: of the protocol with most models, the configuration with the lowest
    mean cost over its seeds, and of its runs the one that stands for it.

    Parameters
    ----------
    table
        All runs, of `training_code.comparison.table.runs_table`: how many models of a dataset take part in Decision
        depends on the others.
    line
        What errors cost; None for the example of the sheet.
    dataset
        The dataset; None where the runs are of one alone.
    problems
        Sentences about records that could not be read.

    Returns
    -------
    tuple
        The run, and the sentences of ``problems`` and about runs whose errors cannot be read.

    Raises
    ------
    InputError
        If no model can be chosen of the protocol for which Decision answers, though there are some of other protocols;
        if no model can be chosen at all, and the errors of a run cannot be read.
    """
    line, dataset = line or Assumptions(), table["dataset"].iloc[0] if dataset is None else dataset
    found, left_out = read_candidates(configurations(table, CRITERION), table, all_points=False, dataset=dataset)
    problems = [*problems, *left_out]
    groups = groups_of(found)
    rankings = {group: ranking(found, line, group) for group in groups}
    best = {group: rows.iloc[0] for group, rows in rankings.items() if rows["rank"].notna().any()}
    if not best and left_out:
        raise InputError(
            f"no run of {dataset} has false alarms and misses that can be read; valid: the id of a run, or a criterion"
            f"{not_read(problems)}"
        )
    if not best:
        return None, problems
    group = groups[0]
    if group not in best:
        others = [f"{row['run_id']} ({other})" for other, row in list(best.items())[:_MOST_NAMED]]
        raise InputError(
            f"the sheet Decision recommends no run of {dataset}: of its protocol with most models, {group}, none can "
            f"be chosen ({' or '.join(sorted(set(rankings[group]['note'])))}); valid: a criterion, or the id of a run, "
            f"such as the best of other protocols: {choices(others)}{not_read(problems)}"
        )
    one = next(one for one in found if one.group == group and one.run_id == best[group]["run_id"])
    of = group if len(groups) > 1 else dataset
    return Recommended(one.run_id, of, _why(one, best[group]["cost_a_day"], line, table)), problems


def best_by(table: pd.DataFrame, criterion: str) -> Recommended | None:
    """Return the run of the configuration with the best ``criterion`` in a table; None where no run has it.

    Raises
    ------
    InputError
        If there is no such metric.
    """
    metric = criterion_metric(criterion)
    best = best_models(table, criterion) if len(table) else table
    if best.empty:
        return None
    row = best.loc[metric.gain(best[criterion].astype(float)).idxmax()]
    return Recommended(row["run_id"], row["dataset"], f"by {criterion} ({row[criterion]:.3f}{_over(row['seeds'])})")


def _why(one: Candidate, cost: float, line: Assumptions, table: pd.DataFrame) -> str:
    cheapest = min(line.refusing_all, line.passing_all)
    idle = "passing" if line.passing_all <= line.refusing_all else "refusing"
    worthless = f", which is worth nothing: {idle} every part costs {cheapest:,.4g}" if cost >= cheapest else ""
    return f"{cost:,.4g} a day on the example of a line{_over(one.seeds)}{worthless}; {_errors(one.run_id, table)}"


def _over(seeds: float) -> str:
    return f", the mean of {seeds:g} seeds" if seeds > 1 else ""


def _errors(run_id: str, table: pd.DataFrame) -> str:
    """Return the errors of a run at its threshold in force."""
    run = table.loc[table["run_id"] == run_id].iloc[0]
    found = read_scores(paths.from_home(run["folder"]))
    refused = found.scores >= run["image_threshold"]
    good, defective = refused[~found.labels], refused[found.labels]
    return (
        f"on its test images it refused {good.sum()} of {len(good)} good and missed {(~defective).sum()} of "
        f"{len(defective)} defective"
    )
