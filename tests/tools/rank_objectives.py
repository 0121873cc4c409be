"""``python tests/tools/rank_objectives.py --csv FILE FOLDER...``: how objectives without labels agree with the truth.

Each folder is one of ``tests/tools/measure_objectives.py``: a dataset with its configurations. For each objective the
rank correlation with the true metric over the configurations, with an interval, and what choosing by it costs.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata, spearmanr

from training_code.evaluation.ranking import Ranking, rank

BOOTSTRAP = 1000
#: The strength of an anomaly is tuned until half of the configurations reach this image AUROC.
TUNED_TO = 0.9


def objectives_of(arrays: dict[str, NDArray], masks: dict[str, NDArray]) -> dict[str, float]:
    """Return the objectives of a configuration that each look at one kind of anomaly at one strength, or at none."""
    scores, maps = arrays["score good"], arrays["map good"]
    pixels = np.sort(maps.reshape(-1))
    alarm = np.quantile(pixels, 0.999)
    found = {}
    for name, mask in masks.items():
        altered = mask.any((1, 2))
        score, of_map = arrays[f"score {name}"], arrays[f"map {name}"]
        inside, outside = of_map[mask], of_map[~mask]
        own = maps[np.arange(len(score)) % len(scores)]
        ranking = _ranking(score[altered], scores)
        found[f"image_AUROC {name}"], found[f"image_AUPR {name}"] = ranking.auroc, ranking.aupr
        ranking = _ranking(inside, np.concatenate([pixels, outside]))
        found[f"pixel_AUROC {name}"], found[f"pixel_AUPR {name}"] = ranking.auroc, ranking.aupr
        found[f"recall at 0.1 % false pixels {name}"] = float(np.mean(inside > alarm))
        found[f"contrast {name}"] = float((inside.mean() - pixels.mean()) / pixels.std())
        # How far the score rises, in deviations of the good: unlike an AUROC it does not end at 1.
        spread = np.sqrt((score[altered].var() + scores.var()) / 2)
        found[f"separation {name}"] = float((score[altered].mean() - scores.mean()) / max(spread, 1e-12))
        rise = [
            (each - before)[marked].mean() / max(np.abs(each - before)[~marked].mean(), 1e-12)
            for each, before, marked in zip(of_map[altered], own[altered], mask[altered], strict=True)
        ]
        found[f"local rise {name}"] = float(np.mean(rise))
    moved, lighter = arrays["map moved"] - np.roll(maps, (2, 2), (1, 2)), arrays["map lighter"] - maps
    found["stability moved"] = -float(np.abs(moved).mean() / maps.std())
    found["stability lighter"] = -float(np.abs(lighter).mean() / maps.std())
    return found


def with_means(rows: list[dict[str, float]]) -> dict[str, NDArray]:
    """Return each objective's value by configuration, the means over all kinds of anomalies included."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    measures = sorted({name.rsplit(" ", 1)[0] for name in columns if "@" in name})
    kinds = sorted({name.rsplit(" ", 1)[1].split("@")[0] for name in columns if "@" in name})
    strengths = sorted({name.rsplit("@", 1)[1] for name in columns if "@" in name}, key=float)
    means = {}
    for measure in measures:
        by_strength = {strength: [columns[f"{measure} {kind}@{strength}"] for kind in kinds] for strength in strengths}
        for strength, values in by_strength.items():
            means[f"{measure} mean@{strength}"] = np.mean(values, axis=0)
            means[f"{measure} mean of ranks@{strength}"] = rankdata(values, axis=1).mean(axis=0)
        means[f"{measure} mean@all"] = np.mean(list(by_strength.values()), axis=(0, 1))
        tuned = {
            kind: min(strengths, key=lambda each: abs(np.median(columns[f"image_AUROC {kind}@{each}"]) - TUNED_TO))
            for kind in kinds
        }
        means[f"{measure} mean@tuned"] = np.mean([columns[f"{measure} {kind}@{tuned[kind]}"] for kind in kinds], axis=0)
    return columns | means


def agreement(truth: NDArray, objective: NDArray, generator: np.random.Generator) -> dict[str, float]:
    """Return rank correlations, an interval at 95 % over configurations, and the true value that the choice costs."""
    draws = generator.integers(0, len(truth), (BOOTSTRAP, len(truth)))
    ranks = [rankdata(values[draws], axis=1) for values in (truth, objective)]
    first, second = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    norms = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    drawn = (first * second).sum(axis=1) / np.maximum(norms, 1e-12)
    low, high = np.quantile(drawn, [0.025, 0.975])
    constant = not np.ptp(objective)
    return {
        "spearman": 0.0 if constant else float(spearmanr(truth, objective).statistic),
        "low": float(low),
        "high": float(high),
        "kendall": 0.0 if constant else float(kendalltau(truth, objective).statistic),
        "regret": float(truth.max() - truth[objective == objective.max()].mean()),
    }


def read_folder(folder: Path) -> tuple[list[dict], dict[str, NDArray]]:
    """Return what is known of the configurations, and their objectives."""
    masks = dict(np.load(folder / "masks.npz"))
    abouts, rows = [], []
    for path in sorted(folder.glob("[0-9]*.npz")):
        arrays = dict(np.load(path))
        about = json.loads(str(arrays.pop("about")))
        abouts.append(about)
        recorded = {f"recorded {name}": value for name, value in about.get("validation", {}).items()}
        rows.append(recorded | (objectives_of(arrays, masks) if arrays else {}))
    return abouts, with_means(rows)


def _ranking(abnormal: NDArray, normal: NDArray) -> Ranking:
    labels = np.arange(len(abnormal) + len(normal)) < len(abnormal)
    return rank(np.concatenate([abnormal, normal]), labels)


def main() -> None:
    """Read the command line, and write and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    lines = []
    for folder in options.folders:
        abouts, objectives = read_folder(folder)
        trained = np.array([about["pretrained"] for about in abouts])
        for metric in ("image_AUROC", "pixel_AUROC"):
            truth = np.array([about["truth"][metric] for about in abouts])
            for among, chosen in (("all", np.ones_like(trained)), ("trained", trained)):
                for name, values in objectives.items():
                    found = agreement(truth[chosen], values[chosen], generator)
                    about = {"dataset": folder.name, "truth": metric, "among": among, "count": int(chosen.sum())}
                    lines.append(about | {"objective": name} | {key: round(value, 4) for key, value in found.items()})
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        print(f"{folder}: {len(abouts)} configurations, {len(objectives)} objectives", flush=True)


if __name__ == "__main__":
    main()
