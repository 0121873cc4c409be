"""``python tests/tools/plot_scale.py FILE.jsonl OUT.png``: draw what `measure_scale.py` measured.

The upper row is drawn against the number of training images, the lower one against the side of the images: seconds of
processors of a whole run and, dotted, of a pass of its backbone alone, peak of the memory, peak of what lay on disk,
and image AUROC; what no line has is not drawn.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

WAYS = (("images", "training images"), ("image_size", "pixels a side"))
Value = Callable[[dict[str, Any]], float | None]
SECONDS = "processor seconds"
#: What is drawn: its name, what a line of the file has for it, and whether its axis is logarithmic.
PANELS: tuple[tuple[str, Value, bool], ...] = (
    (SECONDS, lambda line: line.get("processor"), True),
    ("GiB of memory at most", lambda line: line["peak"]["anonymous"] / 2**30, False),
    ("GiB on disk at most", lambda line: line["disk"]["peak"] / 2**30, False),
    ("image AUROC", lambda line: line.get("image_AUROC"), False),
)


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.file.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if "error" not in line]
    panels = [panel for panel in PANELS if any(panel[1](line) is not None for line in lines)]
    figure = Figure(figsize=(3.7 * len(panels), 6), layout="constrained")
    for row, (way, label) in zip(figure.subplots(len(WAYS), len(panels)), WAYS, strict=True):
        others = [other for other, _ in WAYS if other != way]
        for axes, (name, value, logarithmic) in zip(row, panels, strict=True):
            draw(axes, lines, way, others[0], value)
            if name == SECONDS:
                draw(axes, lines, way, others[0], lambda line: line.get("processor_of_backbone"), " (backbone)")
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks := sorted({line[way] for line in lines}), map(str, ticks), minor=False)
            axes.set_xticks([], minor=True)
            if logarithmic:
                axes.set_yscale("log")
            axes.set_xlabel(label)
            axes.set_title(name, fontsize="medium")
            axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    figure.savefig(options.out, dpi=110)
    return 0


def draw(axes: Axes, lines: list[dict[str, Any]], way: str, other: str, value: Value, suffix: str = "") -> None:
    """Draw a curve for each detector: along ``way``, where ``other`` has the value that most of its lines have."""
    for detector in dict.fromkeys(line["detector"]["detector"] for line in lines):
        own = [line for line in lines if line["detector"]["detector"] == detector]
        counts = {given: len({line[way] for line in own if line[other] == given}) for given in {x[other] for x in own}}
        usual = max(counts, key=lambda given: counts[given])
        points = sorted(
            (line[way], found) for line in own if line[other] == usual and (found := value(line)) is not None
        )
        if points:
            axes.plot(*zip(*points, strict=True), "o:" if suffix else "o-", label=detector + suffix)


if __name__ == "__main__":
    sys.exit(main())
