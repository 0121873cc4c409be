"""Pictures of the comparison.

Lines and marks differ in gray, too.
"""

import textwrap
from collections.abc import Iterator

import numpy as np
import pandas as pd
import scikit_posthocs
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from training_code.comparison.configurations import runs_of_newest_code
from training_code.comparison.ranks import label_classes, over_datasets
from training_code.comparison.statistics import OverDatasets
from training_code.comparison.table import MAIN_METRICS, RANKED, arguments_of
from training_code.comparison.values import rank_values, write_value
from training_code.protocol import ExperimentProtocol
from training_code.records.scores import Scores
from training_code.reporting.canvas import PALETTE, color, heat_map, laid_out, make_figure, make_grid, say

#: Datasets and protocols, or heat maps, that a picture shows at most.
MOST = 12
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_HATCHES = ("", "//", "..", "xx", "--", "oo")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw_main_metrics(table: pd.DataFrame) -> Figure:
    """Draw the main metrics of every run that ended well: one panel a metric, one row a dataset, one dot a run.

    Runs are spread over backbones; each detector has a colour and a line of its own.
    """
    good = table[table["status"] == "ok"]
    metrics = [metric for metric in MAIN_METRICS if metric in good and good[metric].notna().any()]
    datasets = sorted(good["dataset"].unique())[:MOST]
    good = good[good["dataset"].isin(datasets)].assign(backbone=lambda runs: runs["backbone"].map(write_value))
    rows, columns = max(len(datasets), 1), max(len(metrics), 1)
    figure = make_figure(3.6 * columns, 0.9 + 0.45 * good["backbone"].nunique() * rows + 1.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    if not metrics:
        return say(figure, axes[0, 0], "no run with metrics yet")
    detectors = sorted(good["detector"].unique())
    for row, dataset in zip(axes, datasets, strict=True):
        for axis, metric in zip(row, metrics, strict=True):
            seaborn.stripplot(
                good[good["dataset"] == dataset],
                x=metric,
                y="backbone",
                hue="detector",
                hue_order=detectors,
                palette=seaborn.color_palette(PALETTE, len(detectors)),
                dodge=True,
                jitter=False,
                alpha=0.8,
                ax=axis,
                legend=axis is axes[0, -1],
            )
            axis.set_ylabel("")
            axis.grid(axis="x", alpha=0.3)
            if axis is not row[0]:
                axis.set_yticklabels([])
        row[0].set_title(dataset, loc="left", parse_math=False)
    seaborn.move_legend(axes[0, -1], "upper left", bbox_to_anchor=(1, 1), frameon=False)
    return laid_out(figure)


def draw_curves(best: pd.DataFrame, scores: dict[str, Scores]) -> Figure:
    """Draw ROC and precision-recall curves of the best of each detector: a row for each dataset and protocol.

    Parameters
    ----------
    best
        Of `best_models`.
    scores
        Of the runs in ``run_id``; those that are missing are left out.
    """
    groups = _groups(best, scores)
    figure = make_figure(9.6, 3.6 * max(len(groups), 1))
    axes = figure.subplots(max(len(groups), 1), 2, squeeze=False)
    if not groups:
        axes[0, 1].axis("off")
        return say(figure, axes[0, 0], "no scores of both good and defective images")
    detectors = sorted(best["Model"].unique())  # a detector has its colour and line in every row
    for row, (title, models) in zip(axes, groups, strict=True):
        for name, found in models:
            number = detectors.index(name)
            style = {
                "label": name,
                "linestyle": _LINES[number % len(_LINES)],
                "color": color(number),
                "linewidth": 1.6,
            }
            false, true, _ = roc_curve(found.labels, found.scores)
            precision, recall, _ = precision_recall_curve(found.labels, found.scores)
            row[0].plot(false, true, **style)
            row[1].plot(recall, precision, **style)
        row[0].plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
        row[0].set(xlabel="false positive rate", ylabel="true positive rate")
        row[1].set(xlabel="recall", ylabel="precision", ylim=(0, 1.03))
        row[0].set_title(title, loc="left", fontsize="medium", parse_math=False)
        row[1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return laid_out(figure)


def draw_scores(best: pd.DataFrame, scores: dict[str, Scores], thresholds: dict[str, float]) -> Figure:
    """Draw how good and defective images score under the best of each detector, and its threshold with its rule.

    Parameters
    ----------
    thresholds
        Raw scores from which on an image is called abnormal, by run id.
    """
    groups = [(title, models) for title, models in _groups(best, scores, with_runs=True)]
    rules = dict(zip(best["run_id"], best["threshold_rule"], strict=True)) if "threshold_rule" in best else {}
    width = max((len(models) for _, models in groups), default=1)
    figure = make_figure(2.9 * width + 0.6, 2.5 * max(len(groups), 1))
    axes = figure.subplots(max(len(groups), 1), width, squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    if not groups:
        axes[0, 0].set_visible(True)
        return say(figure, axes[0, 0], "no scores of both good and defective images")
    for row, (title, models) in zip(axes, groups, strict=True):
        for axis, (name, run_id, found) in zip(row, models, strict=False):
            axis.set_visible(True)
            edges = np.histogram_bin_edges(found.scores, bins=24)
            axis.hist(found.scores[~found.labels], edges, color="#56B4E9", label="good")
            axis.hist(
                found.scores[found.labels], edges, histtype="step", linewidth=1.6, color="#D55E00", label="defective"
            )
            if run_id in thresholds:
                label = f"threshold, {rules.get(run_id, 'rule unknown')}"
                axis.axvline(thresholds[run_id], color="black", linestyle="--", linewidth=1, label=label)
            above = f"{title}\n\n{name}" if axis is row[0] else name
            axis.set_title(above, loc="left", fontsize="small", parse_math=False)
            axis.xaxis.set_major_locator(MaxNLocator(3))
            axis.tick_params(labelsize="small")
        row[0].legend(fontsize="x-small", loc="upper right", frameon=False)
    return laid_out(figure)


def draw_front(models: pd.DataFrame, criterion: str) -> Figure:
    """Draw accuracy against latency: a panel for each dataset and protocol, a line through what nothing beats.

    Parameters
    ----------
    models
        Of `speed_and_size`.
    """
    known = models.dropna(subset=[criterion, "latency_s"]) if {criterion, "latency_s"} <= set(models) else models[:0]
    groups = list(known.groupby(["dataset", "protocol", "hardware"], sort=True))[:MOST] if len(known) else []
    figure = make_figure(8.0, 3.8 * max(len(groups), 1))
    axes = figure.subplots(max(len(groups), 1), 1, squeeze=False)[:, 0]
    if not groups:
        return say(figure, axes[0], "no run with a latency yet")
    detectors = sorted(known["Model"].unique())
    for axis, ((dataset, protocol, hardware), group) in zip(axes, groups, strict=True):
        for number, detector in enumerate(detectors):
            chosen = group[group["Model"] == detector]
            if len(chosen):
                marker, colour = _MARKERS[number % len(_MARKERS)], color(number)
                axis.scatter(1000 * chosen["latency_s"], chosen[criterion], marker=marker, color=colour, label=detector)
        front = group[group["fastest"] == True].sort_values("latency_s")  # noqa: E712
        axis.step(
            1000 * front["latency_s"], front[criterion], where="post", color="0.3", linewidth=1, label="not beaten"
        )
        axis.set(xscale="log", xlabel="milliseconds for an image", ylabel=criterion)
        for formatter in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            formatter(LogFormatter(minor_thresholds=(2, 0.5)))  # 20, not 2 × 10¹
        axis.grid(alpha=0.3)
        title = textwrap.fill(f"{dataset}, {protocol}, {hardware}", 80)
        axis.set_title(title, loc="left", fontsize="medium", parse_math=False)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return laid_out(figure)


def draw_defect_types(table: pd.DataFrame) -> Figure:
    """Draw how well each type of defect is found: bars for the best of each detector.

    Parameters
    ----------
    table
        Of `by_defect_type`.
    """
    models = [name for name in table if name not in ("dataset", "protocol", "defect type", "metric", "images")]
    groups = list(table.groupby(["dataset", "protocol", "metric"], sort=True))[:MOST] if len(table) else []
    figure = make_figure(9.6, 2.9 * max(len(groups), 1))
    axes = figure.subplots(max(len(groups), 1), 1, squeeze=False)[:, 0]
    if not groups:
        return say(figure, axes[0], "no metrics by type of defect")
    colours = dict(zip(models, seaborn.color_palette(PALETTE, len(models)), strict=True))
    for axis, ((dataset, protocol, metric), group) in zip(axes, groups, strict=True):
        kinds = range(len(group))
        shown = [name for name in models if group[name].notna().any()]
        width = 0.8 / max(len(shown), 1)
        for number, name in enumerate(shown):
            places = [kind + (number + 0.5) * width - 0.4 for kind in kinds]
            hatch, look = _HATCHES[number % len(_HATCHES)], {"edgecolor": "black", "linewidth": 0.5}
            axis.bar(places, group[name], width, color=colours[name], hatch=hatch, label=name, **look)
        names = zip(group["defect type"], group["images"], strict=True)
        room = 98 // max(len(group), 1)  # characters between two marks
        labels = [textwrap.fill(f"{name} ({images:.0f})", max(room, 8)) for name, images in names]
        axis.set_xticks(kinds, labels, fontsize="small", parse_math=False)
        axis.set(ylim=(0, 1), ylabel=metric)
        axis.set_title(f"{dataset}, {protocol} (images of each type)", loc="left", fontsize="medium", parse_math=False)
        axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return laid_out(figure)


def draw_agreement(best: pd.DataFrame, scores: dict[str, Scores]) -> Figure:
    """Draw how alike models order the test images: Spearman's rank correlation of their scores."""
    groups = [(title, models) for title, models in _groups(best, scores) if len(models) > 1]
    figure, axes = make_grid(len(groups), 4.6, 3.8)
    if not groups:
        return say(figure, axes[0], "agreement needs two models on the same images")
    for axis, (title, models) in zip(axes, groups, strict=True):
        frame = pd.DataFrame({name: found.scores for name, found in models})
        square = frame.corr(method="spearman")
        heat_map(axis, square, ".2f", title, vmin=0, vmax=1)
    return laid_out(figure)


def draw_hyper_parameters(runs: pd.DataFrame, criterion: str) -> Figure:
    """Draw the criterion over the two arguments that were varied most of each detector, mean over everything else."""
    maps = list(_heat_maps(runs, criterion))[:MOST]
    figure, axes = make_grid(len(maps), 4.8, 3.4)
    if not maps:
        return say(figure, axes[0], "no detector was run with two values of an argument")
    for axis, (title, square) in zip(axes, maps, strict=True):
        heat_map(axis, square, ".3f", title)
    return laid_out(figure)


def draw_ranks(models: pd.DataFrame, criterion: str) -> Figure:
    """Draw average ranks over datasets, of models with labels on their own; what a bar joins cannot be told apart.

    As figure 1 of Demšar 2006. Where there is too little to rank, that is said.
    """
    found: dict[str, OverDatasets | str] = {}
    for labels in label_classes(models):
        try:
            found[labels] = over_datasets(models, criterion, labels=labels)
        except ValueError as error:
            found[labels] = str(error)
    heights = [0.5 if isinstance(each, str) else 1.4 + 0.3 * len(each.ranks) for each in found.values()]
    figure = make_figure(8.0, sum(heights))
    axes = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (labels, each) in zip(axes, found.items(), strict=True):
        axis.axis("off")
        if isinstance(each, str):
            axis.set_title(f"{labels}: {each}", fontsize="small")
            continue
        scikit_posthocs.critical_difference_diagram(each.ranks, each.pairs, ax=axis, label_props={"fontsize": "small"})
        axis.set_title(f"average rank over datasets, {labels}, 1 is the best", fontsize="medium")
    return laid_out(figure)


def _heat_maps(runs: pd.DataFrame, criterion: str) -> Iterator[tuple[str, pd.DataFrame]]:
    if criterion not in runs or runs.empty:
        return
    able = runs_of_newest_code(runs[(runs["status"] == "ok") & runs["pretrained"] & runs[criterion].notna()])
    names = [*arguments_of(able), *(name for name in ExperimentProtocol.columns() if name != "image_width")]
    learned = able["labels_for_training"] > 0  # whose mean with the others would tell nothing
    groups = able.groupby(["dataset", "dataset_fingerprint", "detector", learned])
    for (dataset, _, detector, with_labels), group in groups:
        ranked = {name: rank_values(group[name]) for name in dict.fromkeys([*names, "seed"])}
        counts = {name: len(ranked[name].distinct) for name in dict.fromkeys(names)}
        varied = sorted((name for name in counts if counts[name] > 1), key=lambda name: -counts[name])
        if not varied:
            continue
        first, *others = varied
        # What follows from the first one, layers from a backbone for instance, tells nothing beside it.
        pairs = {name: set(zip(ranked[first].places, ranked[name].places, strict=True)) for name in others}
        second = next((name for name in others if len(pairs[name]) > counts[first]), "seed")
        places = {name: ranked[name].places for name in (first, second)}
        square = pd.DataFrame({**places, criterion: group[criterion].to_numpy()})
        square = square.pivot_table(index=second, columns=first, values=criterion)
        for axis, name in ((0, second), (1, first)):
            values = [write_value(ranked[name].distinct[place]) for place in square.axes[axis]]
            square = square.set_axis(pd.Index(values, name=name), axis=axis)
        yield f"{detector} on {dataset}{', with labels' if with_labels else ''}: {criterion}", square.iloc[:20, :20]


def _groups(best: pd.DataFrame, scores: dict[str, Scores], with_runs: bool = False) -> list[tuple[str, list[tuple]]]:
    """Return for each dataset and protocol its title, and the models with scores of both kinds of images."""
    groups = []
    for _, group in best.groupby([name for name in RANKED if name in best], sort=False, dropna=False):
        models = []
        for row in group.itertuples():
            found = scores.get(row.run_id)
            if found is not None and found.labels.any() and not found.labels.all():
                models.append((row.Model, row.run_id, found) if with_runs else (row.Model, found))
        if models:
            groups.append((f"{group['dataset'].iloc[0]}, {group['protocol'].iloc[0]}", models))
    return groups[:MOST]
