"""The sheets of the workbook as tables: what each of them says, whatever it is written to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from training_code.comparison.by_product import PRODUCT_KEY, by_product
from training_code.comparison.configurations import (
    CRITERION,
    HIDDEN,
    OTHER_CODE,
    SHOWN_PROMISES,
    TESTED,
    best_models,
    configurations,
    newest_code,
)
from training_code.comparison.costs import speed_and_size
from training_code.comparison.decision import Assumptions, Candidate, all_rankings, curves, ranking
from training_code.comparison.decision_candidates import read_candidates
from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.image_curves import KEY as IMAGE_KEY
from training_code.comparison.image_curves import image_curves
from training_code.comparison.label_curves import KEY as LABEL_KEY
from training_code.comparison.label_curves import label_curves
from training_code.comparison.level import MARKS, mark_level
from training_code.comparison.table import LABELS, LABELS_SEEN, MAIN_METRICS, PROTOCOL, RANKED
from training_code.comparison.values import NONE, is_missing, write_value
from training_code.data.findings import MARKED_KINDS
from training_code.foundation.errors import unknown
from training_code.records.metrics import F1_ALL_BAD, METRICS
from training_code.reporting.about import about
from training_code.reporting.decision import CURVES, DECISION, MODELS
from training_code.reporting.marks import f1_is_below
from training_code.reporting.sheet_names import sheet_name

BEST, ALL, FAILED, EXAMPLES, SPEED = "Best models", "All runs", "Failed", "Examples", "Speed and size"
# Configurations of a detector that a sheet of blocks shows, the best ones.
MOST_IN_BLOCK = 40
#: The mark of an F1Score that calling every image defective would beat.
F1_BELOW = "F1Score below all bad"
# A sheet's name may have so many characters, and none of these.


@dataclass(frozen=True)
class Sheet:
    """A table with what is needed to draw it.

    Attributes
    ----------
    kind
        ``"table"``; ``"blocks"``: a block for each detector, its configurations side by side; ``"examples"``: a picture
        for each row; ``"about"``: what and its value; ``"decision"``: formulas that choose among ``candidates``, where
        the table holds numbers for the example.
    key
        The columns that tell one row from another, by which what people wrote finds its rows again.
    scales
        Columns with colors from the worst to the best value.
    charts
        Which native charts are drawn beside the table.
    """

    name: str
    table: pd.DataFrame
    kind: Literal["table", "blocks", "examples", "about", "decision"] = "table"
    key: str | tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    criterion: str = CRITERION
    candidates: tuple[Candidate, ...] = ()


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
                raise unknown(column, value, [str(name) for name in known])
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
        table[name] = [_with_deviation(*pair) for pair in zip(best[name], deviations, strict=True)]
    for name in ("dataset", "backbone", "configuration", "seeds"):
        table[name] = [write_value(value, missing="") for value in best[name]]
    if (best["labels_seen"] > 0).any():
        table["labels"] = [write_value(number) for number in best["labels_seen"]]
    table["level"] = [_level(*pair) for pair in zip(best["level_with_best"], best["p_against_best"], strict=True)]
    table["ms an image"] = ["" if pd.isna(seconds) else f"{1000 * seconds:.0f}" for seconds in best["latency_s"]]
    table["protocol"] = best["protocol"]
    marks = {OTHER_CODE: best["code"].notna(), "reduced": best["reduced"].notna()}
    marks |= {kind: best[kind].notna() for kind in MARKED_KINDS}
    marks[F1_BELOW] = pd.Series(f1_is_below(best), best.index, dtype=bool)
    table["marks"] = [", ".join(name for name in marks if marks[name][index]) for index in best.index]
    return table


def _level(level: bool | None, p_value: float) -> str:
    if is_missing(level):
        return ""
    return "the best" if pd.isna(p_value) else "yes" if level else "no"


def _with_deviation(value: float, deviation: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if pd.isna(deviation) else f"{value:.3f} ± {deviation:.3f}"


def all_sheets(comparison: Comparison, results: Path) -> list[Sheet]:
    """Return the sheets of the workbook in their order."""
    runs, models, best, criterion = comparison.runs, comparison.models, comparison.best, comparison.criterion
    dropped = [name for name in (*HIDDEN, *PROTOCOL[2:]) if name not in SHOWN_PROMISES]
    dropped += [] if (runs.get("labels_seen", pd.Series()) > 0).any() else [LABELS, *LABELS_SEEN]
    shown = best.drop(columns=dropped, errors="ignore")
    shown = shown.dropna(axis="columns", how="all")
    shown = shown.reindex(columns=list(dict.fromkeys(["Model", *MAIN_METRICS, *shown.columns])))
    sheets = [
        *_decision(comparison.candidates, DECISION),
        Sheet(BEST, shown, key="run_id", charts=("bars",), criterion=criterion),
        *_blocks(models, criterion),
        Sheet(ALL, runs.drop(columns=["folder"], errors="ignore"), key="run_id", criterion=criterion),
        by_backbone(models, criterion),
        by_dataset(models, criterion),
        by_defect_type(runs, best),
        *_products(by_product(runs, models)),
        *_curves("Labels", comparison.labels, LABEL_KEY, criterion),
        *_curves("Images", comparison.images, IMAGE_KEY, criterion),
        Sheet(
            "Hyper-parameters",
            effects_of_arguments(runs, criterion),
            key=("dataset", "Model", "argument", "value"),
            scales=("difference",),
            criterion=criterion,
        ),
        Sheet(SPEED, speed_and_size(models, criterion), key=("run_id",), charts=("front",), criterion=criterion),
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
    return sheets


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


def _products(table: pd.DataFrame) -> list[Sheet]:
    return [Sheet("By product", table, key=PRODUCT_KEY)] if len(table) else []


def _curves(name: str, table: pd.DataFrame, key: tuple[str, ...], criterion: str) -> list[Sheet]:
    """Return the sheet of results against a number; none where nothing was run with several numbers."""
    return [Sheet(name, table, key=key, charts=(name.lower(),), criterion=criterion)] if len(table) else []


def by_backbone(models: pd.DataFrame, criterion: str) -> Sheet:
    """Return the best of each detector on each backbone."""
    return _pivot("By backbone", models, ["dataset", "protocol", "Model"], "backbone", criterion)


def by_dataset(models: pd.DataFrame, criterion: str) -> Sheet:
    """Return the best of each detector and backbone on each dataset."""
    return _pivot("By dataset", models, ["Model", "backbone"], "data", criterion)


def by_defect_type(runs: pd.DataFrame, best: pd.DataFrame) -> Sheet:
    """Return for the best of each detector AUROC and misses of each type and area of defects, means over seeds."""
    rows: dict[tuple, dict[str, Any]] = {}
    types = [name.removeprefix("images ") for name in runs if str(name).startswith("images ")]
    for _, model in best.iterrows():
        chosen = runs["folder"].isin(model["folders"])
        for defect_type in types:
            for metric in (TESTED, "image_MissRate", "pixel_AUROC"):
                column = f"{metric} {defect_type}"
                if column in runs and runs.loc[chosen, column].notna().any():
                    place = (model["dataset"], model["protocol"], defect_type, metric)
                    row = rows.setdefault(place, {"images": runs.loc[chosen, f"images {defect_type}"].iloc[0]})
                    row[model["Model"]] = runs.loc[chosen, column].mean()
    names = ["dataset", "protocol", "defect type", "metric"]
    table = pd.DataFrame([dict(zip(names, place, strict=True)) | row for place, row in sorted(rows.items())])
    detectors = sorted(set(table) - {*names, "images"})
    table = table.reindex(columns=[*names, "images", *detectors])
    return Sheet("By defect type", table, key=tuple(names), scales=tuple(detectors))


def failed(runs: pd.DataFrame, problems: Sequence[str]) -> pd.DataFrame:
    """Return what failed and what could not be read, with the reason."""
    columns = ["run_id", "status", "dataset", "detector", "backbone", "error", "started", "finished", "notebook"]
    bad = runs.loc[runs["status"] != "ok"].reindex(columns=columns)
    unread = pd.DataFrame([{"status": "not read", "error": problem} for problem in problems], columns=columns)
    return pd.concat([bad.astype(object), unread.astype(object)], ignore_index=True)


def _blocks(models: pd.DataFrame, criterion: str) -> list[Sheet]:
    """Return for each dataset its configurations, the best `MOST_IN_BLOCK` of each detector."""
    sheets: list[Sheet] = []
    columns = ["protocol", "Model", "backbone", "configuration", *MAIN_METRICS, "seeds", "level_with_best", "run_id"]
    columns.append(F1_ALL_BAD)
    columns[4:4] = [] if criterion in MAIN_METRICS else [criterion]
    for dataset, group in models.groupby("dataset") if len(models) else ():
        best = group.groupby([*RANKED, "Model"], sort=False, dropna=False).head(MOST_IN_BLOCK)
        table = best.sort_values(
            ["dataset_fingerprint", "protocol", "Model", criterion],
            ascending=[True, True, True, not METRICS[criterion].larger_is_better],
        )
        name = sheet_name(f"Comparison {dataset}", [sheet.name for sheet in sheets])
        sheets.append(Sheet(name, table.reindex(columns=columns).reset_index(drop=True), "blocks", criterion=criterion))
    return sheets


def _pivot(name: str, models: pd.DataFrame, index: list[str], column: str, criterion: str) -> Sheet:
    if models.empty:
        return Sheet(name, pd.DataFrame(columns=index), key=tuple(index))
    models = newest_code(models)  # a cell has no place for a mark
    models = models.assign(
        backbone=models["backbone"].replace("", NONE), data=models["dataset"] + ", " + models["protocol"]
    )
    best = models.pivot_table(index=index, columns=column, values=criterion, aggfunc=METRICS[criterion].extreme)
    table = best.reset_index().rename_axis(columns=None)
    return Sheet(name, table, key=tuple(index), scales=tuple(best.columns), criterion=criterion)
