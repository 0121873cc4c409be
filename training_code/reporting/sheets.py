"""The sheets of the workbook as tables: what each of them says, whatever it is written to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from training_code.comparison.by_product import PRODUCT_KEY, by_product
from training_code.comparison.configurations import (
    CRITERION,
    HIDDEN,
    OTHER_CODE,
    SHOWN_PROMISES,
    best_models,
    configurations,
)
from training_code.comparison.costs import speed_and_size
from training_code.comparison.decision import Assumptions, Candidate, all_rankings, curves, ranking
from training_code.comparison.decision_candidates import read_candidates
from training_code.comparison.doubts import DOUBTS
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.image_curves import KEY as IMAGE_KEY
from training_code.comparison.image_curves import image_curves
from training_code.comparison.label_curves import KEY as LABEL_KEY
from training_code.comparison.label_curves import label_curves
from training_code.comparison.level import MARKS, mark_level
from training_code.comparison.not_run import not_run
from training_code.comparison.table import DECISIONS, DRAWN, LABELS, LABELS_SEEN, MAIN_METRICS, PROTOCOL
from training_code.comparison.uncertainty import with_deviation
from training_code.comparison.values import is_missing, write_value
from training_code.foundation.columns import columns
from training_code.foundation.errors import unknown
from training_code.reporting.about import about
from training_code.reporting.column_help import help_for
from training_code.reporting.decision import CURVES, DECISION, MODELS, WINNER
from training_code.reporting.marks import f1_is_below
from training_code.reporting.pivots import blocks, by_backbone, by_dataset, by_defect_type
from training_code.reporting.sheet import EXAMPLES, Sheet

BEST, ALL, FAILED, SPEED = "Best models", "All runs", "Failed", "Speed and size"
# What is seen of a sheet beside its metrics; the other columns are folded.
_BEST = ("level_with_best", "seeds", "marks", "dataset", "protocol")
_ALL_BEFORE = ("status", "dataset", "detector", "backbone", "seed")
_ALL_BEHIND = ("run_id", "error", "protocol")
_SPEED: tuple[str, ...] = ("latency_s", "fit_s", "peak_memory_host_bytes", "peak_memory_gpu_bytes")
_SPEED += ("checkpoint_bytes", "fastest", "least memory", "smallest", "dataset", "protocol", "hardware")
#: The mark of an F1Score that calling every image defective would beat.
F1_BELOW = "F1Score below all bad"


@dataclass(frozen=True)
class Comparison:
    """Everything that is said about a set of runs.

    Attributes
    ----------
    runs
        Of `runs_table`.
    models, best
        Of `configurations` and `best_models`, with what `mark_level` adds.
    problems
        What could not be read, a sentence each.
    candidates
        Of `read_candidates`: among which the sheet Decision chooses.
    labels
        Of `label_curves`: results against numbers of labels.
    images
        Of `image_curves`: results against numbers of training images.
    """

    runs: pd.DataFrame
    models: pd.DataFrame
    best: pd.DataFrame
    problems: list[str] = field(default_factory=list)
    criterion: str = CRITERION
    candidates: tuple[Candidate, ...] = ()
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: pd.DataFrame = field(default_factory=pd.DataFrame)


def compare(runs: pd.DataFrame, problems: Sequence[str] = (), criterion: str = CRITERION) -> Comparison:
    """Compare the runs of a table: configurations, the best of each detector, what cannot be told apart."""
    models, unread = mark_level(configurations(runs, criterion), criterion)
    marks = models.reindex(columns=["run_id", *MARKS])  # among all configurations: each best one is chosen from several
    best = best_models(runs, criterion).merge(marks, on="run_id", how="left", validate="one_to_one")
    candidates, left_out = read_candidates(models, runs)
    against = label_curves(runs, models, criterion), image_curves(runs, models, criterion)
    return Comparison(runs, models, best, [*problems, *unread, *left_out], criterion, tuple(candidates), *against)


def choose_runs(runs: pd.DataFrame, datasets: Sequence[str] = (), seeds: Sequence[int] = ()) -> pd.DataFrame:
    """Return the runs of these datasets and seeds; all where none are named.

    Raises
    ------
    InputError
        If there are no runs of one of them.
    """
    for column, wanted in (("dataset", datasets), ("seed", seeds)):
        known = sorted(set(runs[column])) if column in runs else []
        for value in wanted:
            if value not in known:
                names = [str(name) for name in known]
                raise not_run(str(value), names) if column == "dataset" else unknown(column, value, names)
        if wanted:
            runs = runs[runs[column].isin(list(wanted))].reset_index(drop=True)
    return runs


def summary(comparison: Comparison) -> pd.DataFrame:
    """Return the best models as text, in few columns: metrics with their deviations over seeds, and costs."""
    best, criterion = comparison.best, comparison.criterion
    metrics = list(dict.fromkeys([criterion, *MAIN_METRICS] if criterion not in MAIN_METRICS else MAIN_METRICS))
    table = pd.DataFrame({"Model": best["Model"]})
    for name in metrics:
        deviations = best.get(f"{name}_sd", pd.Series(np.nan, index=best.index))
        table[name] = [with_deviation(*pair) for pair in zip(best[name], deviations, strict=True)]
    for name in ("dataset", "backbone", "configuration", "seeds"):
        table[name] = [write_value(value, missing="") for value in best[name]]
    if (best["labels_seen"] > 0).any():
        table["labels"] = [write_value(number) for number in best["labels_seen"]]
    table["level"] = [_level(*pair) for pair in zip(best["level_with_best"], best["p_against_best"], strict=True)]
    table["ms an image"] = ["" if pd.isna(seconds) else f"{1000 * seconds:.0f}" for seconds in best["latency_s"]]
    table["protocol"] = best["protocol"]
    table["marks"] = marks_of(best)
    return table


def marks_of(best: pd.DataFrame) -> list[str]:
    """Return what is to be known of each model before it is believed, in a few words."""
    marks = {OTHER_CODE: best["code"].notna(), **{name: best[name].notna() for name in DOUBTS}}
    marks[F1_BELOW] = pd.Series(f1_is_below(best), best.index, dtype=bool)
    return [", ".join(name for name in marks if marks[name][index]) for index in best.index]


def printed(table: pd.DataFrame, width: int) -> Iterator[str]:
    """Yield the lines of a `summary` for a terminal of so many characters a line: what can be compared, together."""
    shared = ["dataset", "protocol"]
    for group, rows in table.groupby(shared, sort=False):
        rows = rows.drop(columns=shared)
        yield f"\n{', '.join(map(str, group))}:"
        cells = [[cell.replace(" ± ", "\xa0±\xa0") for cell in row] for row in rows.astype(str).to_numpy()]
        yield from (line.replace("\xa0", " ") for line in columns([[*rows], *cells], width))


def explained(table: pd.DataFrame) -> list[str]:
    """Return a line for what a `summary` does not say by itself: its column ``level``, and each mark that occurs."""
    given = {mark for marks in table["marks"] for mark in marks.split(", ")}
    told = {OTHER_CODE: help_for("code").removeprefix(f"{OTHER_CODE}: "), **{name: help_for(name) for name in DOUBTS}}
    told[F1_BELOW] = help_for("image_F1AllBad")
    level = help_for("level_with_best").replace("TRUE", "yes")
    return [f"level: {level}", *(f"{mark}: {words}" for mark, words in told.items() if mark in given)]


def _level(level: bool | None, p_value: float) -> str:
    if is_missing(level):
        return ""
    return "the best" if pd.isna(p_value) else "yes" if level else "no"


def all_sheets(comparison: Comparison, results: Path) -> list[Sheet]:
    """Return the sheets of the workbook in their order."""
    runs, models, best, criterion = comparison.runs, comparison.models, comparison.best, comparison.criterion
    dropped = [name for name in (*HIDDEN, *PROTOCOL[2:]) if name not in SHOWN_PROMISES]
    dropped += [] if (runs.get("labels_seen", pd.Series()) > 0).any() else [LABELS, *LABELS_SEEN]
    shown = best.assign(marks=[text or None for text in marks_of(best)]).drop(columns=dropped, errors="ignore")
    shown = shown.dropna(axis="columns", how="all")
    shown = shown.reindex(columns=list(dict.fromkeys(["Model", *MAIN_METRICS, *shown.columns])))
    told = tuple(dict.fromkeys([criterion, *DECISIONS, MAIN_METRICS[-1]]))
    return [
        *_decision(comparison.candidates, DECISION),
        *_winner(comparison),
        Sheet(
            BEST,
            shown,
            key="run_id",
            charts=("bars",),
            criterion=criterion,
            shown=("Model", "backbone", "configuration", *told, *_BEST),
            told=told,
        ),
        *blocks(models, criterion),
        Sheet(
            ALL,
            runs.drop(columns=["folder"], errors="ignore"),
            key="run_id",
            criterion=criterion,
            shown=(*_ALL_BEFORE, *told, *_ALL_BEHIND),
            told=told,
        ),
        by_backbone(models, criterion),
        by_dataset(models, criterion),
        by_defect_type(runs, best),
        *_products(by_product(runs, models)),
        *_curves("Labels", comparison.labels, LABEL_KEY, "more_labels", criterion),
        *_curves("Images", comparison.images, IMAGE_KEY, "more_images", criterion),
        Sheet(
            "Hyper-parameters",
            effects_of_arguments(runs, criterion),
            key=("dataset", "Model", "argument", "value"),
            scales=("difference",),
            criterion=criterion,
            shown=("dataset", "Model", "argument", "value", "reference", "pairs", criterion, "difference"),
            told=("difference",),
        ),
        Sheet(
            SPEED,
            speed_and_size(models, criterion),
            key=("run_id",),
            charts=("front",),
            criterion=criterion,
            shown=("Model", "backbone", "configuration", criterion, *_SPEED),
            told=(criterion,),
        ),
        Sheet(
            EXAMPLES,
            best.reindex(columns=["dataset", "protocol", "Model", "backbone", "configuration", "run_id", "examples"]),
            "examples",
            key=("run_id",),
        ),
        *_decision(comparison.candidates, MODELS, CURVES),
        Sheet(FAILED, failed(runs, comparison.problems), key="run_id"),
        Sheet("About", about(runs, models, comparison.problems, criterion, results), "about", key=("what",)),
    ]


def _decision(candidates: tuple[Candidate, ...], *names: str) -> list[Sheet]:
    """Return sheets that choose a model for a line; none where there is nothing to choose."""
    if not candidates:
        return []
    tables = {
        DECISION: ranking(candidates, Assumptions()),
        MODELS: all_rankings(candidates),
        CURVES: curves(candidates),
    }
    return [Sheet(name, tables[name], "decision", candidates=candidates) for name in names]


def _winner(comparison: Comparison) -> list[Sheet]:
    """Return the sheet with the pictures of the model that costs least on the line of the example, if there is one."""
    table = ranking(comparison.candidates, Assumptions())
    table = table[table["rank"] == 1].reset_index(drop=True)
    if table.empty:
        return []
    run_id = table["run_id"].iloc[0]
    one = next(one for one in comparison.candidates if one.run_id == run_id)
    examples = comparison.models.set_index("run_id")["examples"][run_id]
    table = table.assign(
        dataset=one.dataset, named=one.named, good=one.good, defective=one.defective, examples=examples
    )
    return [Sheet(WINNER, table, "winner", key="run_id", candidates=comparison.candidates)]


def _products(table: pd.DataFrame) -> list[Sheet]:
    if not len(table):
        return []
    shown: tuple[str, ...] = ("dataset", "Model", "backbone", "configuration", "product", "metric", "test_images")
    shown += ("one_for_all", "one_for_each", "separation_gains", "paired", "protocol")
    return [Sheet("By product", table, key=PRODUCT_KEY, shown=shown, told=("separation_gains",))]


def _curves(name: str, table: pd.DataFrame, key: tuple[str, ...], said: str, criterion: str) -> list[Sheet]:
    """Return the sheet of results against a number; none where nothing was run with several numbers."""
    if not len(table):
        return []
    told = tuple(column.removesuffix("_95") for column in table if column.endswith("_95"))
    names = [name for name in key if name not in ("protocol", "labels_of_each_type", DRAWN)]
    shown = (*names, "labels_seen", "train_images", *told, "seeds", said, "protocol")
    return [Sheet(name, table, key=key, charts=(name.lower(),), criterion=criterion, shown=shown, told=told)]


def failed(runs: pd.DataFrame, problems: Sequence[str]) -> pd.DataFrame:
    """Return what failed and what could not be read, with the reason."""
    columns = ["run_id", "status", "dataset", "detector", "backbone", "error", "started", "finished", "notebook"]
    bad = runs.loc[runs["status"] != "ok"].reindex(columns=columns)
    unread = pd.DataFrame([{"status": "not read", "error": problem} for problem in problems], columns=columns)
    return pd.concat([bad.astype(object), unread.astype(object)], ignore_index=True)
