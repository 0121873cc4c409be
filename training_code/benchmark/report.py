"""The figures of a benchmark as a table for people, and as pictures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training_code.foundation.files import atomic_path

_AXES = {
    "images": "training images, PaDiM",
    "patches": "patches, coreset of 1 %",
    "dimensions": "features, Gaussians of 100 images",
    "configurations": "configurations of the sweep",
}


def table(rows: dict[str, Any]) -> str:
    """Return seconds of both sides and their ratio, one line for each comparison."""
    lines = [f"{'measurement':32} {'plain':>10} {'ours':>10} {'ratio':>8}"]
    for name, row in _comparisons(rows):
        plain, ratio = (f"{row[key]:.2f}" if key in row else "" for key in ("plain", "ratio"))
        lines.append(f"{name:32} {plain:>10} {row['ours']:>10.2f} {ratio:>8}")
    return "\n".join(lines)


def draw_growth(growth: dict[str, dict[str, float]], path: Path) -> None:
    """Draw how the cost grows with images, patches, dimensions and configurations."""
    figure = Figure(figsize=(11, 2.9), layout="constrained")
    for axis, (name, times) in zip(
        figure.subplots(1, len(_AXES)), ((name, growth[name]) for name in _AXES), strict=True
    ):
        axis.plot([int(size) for size in times], list(times.values()), marker="o", color="#3465a4")
        axis.locator_params(axis="x", nbins=4)
        axis.set(xlabel=_AXES[name], xlim=(0, None), ylim=(0, None))
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("seconds")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _comparisons(rows: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, row in rows.items():
        if not isinstance(row, dict):
            continue
        if isinstance(row.get("ours"), float) and name not in ("images_per_second", "first_call"):
            yield prefix + name, row
        elif name not in ("growth", "machine", "memory", "difference", "environment"):
            yield from _comparisons(row, f"{prefix}{name} ")
