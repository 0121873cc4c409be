"""Sheets that set the best of each detector beside each other: by backbone, dataset, type of defect, configuration."""

from typing import Any

import pandas as pd

from training_code.comparison.configurations import TESTED, newest_code
from training_code.comparison.table import MAIN_METRICS, RANKED
from training_code.comparison.values import NONE
from training_code.records.metrics import F1_ALL_BAD, METRICS
from training_code.reporting.sheet import Sheet
from training_code.reporting.sheet_names import sheet_name

# Configurations of a detector that a sheet of blocks shows, the best ones.
MOST_IN_BLOCK = 40


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


def blocks(models: pd.DataFrame, criterion: str) -> list[Sheet]:
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
