"""Pictures of learning curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from training_code.foundation.files import atomic_path

LEARNING_CURVES = "learning_curves.png"
_NAMES = {"train_loss": "training images", "val_loss": "held-out images"}


def draw_learning_curves(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw losses against epochs, on a logarithmic axis where they span more than a factor of ten."""
    figure = Figure(figsize=(5.2, 2.6), layout="constrained")
    axis = figure.subplots()
    losses = {name: curves[name] for name in _NAMES if curves.get(name)}
    for (name, values), style in zip(losses.items(), ("-", "--"), strict=False):
        axis.plot(range(1, len(values) + 1), values, style, marker=".", markersize=4, label=_NAMES[name])
    values = [value for series in losses.values() for value in series]
    if values and min(values) > 0 and max(values) > 10 * min(values):
        axis.set_yscale("log")
    axis.set(xlabel="epoch", ylabel="loss")
    axis.locator_params(axis="x", integer=True)
    axis.grid(alpha=0.3)
    if losses:
        axis.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
