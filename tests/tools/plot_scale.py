"""``python tests/tools/plot_scale.py``: the picture and the tables of ``docs/scale.md``.

``results/scale.jsonl`` has the lines that `measure_scale.py` appended, ``results/coresets.jsonl`` those of
`measure_coreset.py`. The upper row of the picture is drawn against the number of
training images, the lower one against the side of the images: seconds of processors of a whole run and, dotted, of a
pass of its backbone alone, peak of the memory, peak of what lay on disk, and image AUROC. What no line has is left out.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from training_code.foundation import paths

LINES, PICTURE = paths.RESULTS / "scale.jsonl", paths.ROOT / "images" / "scale.png"
CORESETS = paths.RESULTS / "coresets.jsonl"
PAGE = paths.ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- Written by tests/tools/plot_scale.py. -->", "<!-- End of what it writes. -->"
BEGIN_CORESETS = "<!-- Written by tests/tools/plot_scale.py, coresets. -->"
COLUMNS = ("images", "pixels", "detector", "fit", "times its backbone", "memory", "disk", "parts of the coreset")
#: Columns of composed against exact coresets: what lines have, how many digits are shown, and whether with a sign.
CORESET_COLUMNS = {
    "radius, composed / exact": ("radius_ratio", 2, ""),
    "image AUROC, composed − exact": ("image_AUROC", 3, "+"),
    "pixel AUROC, composed − exact": ("pixel_AUROC", 3, "+"),
}
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
    parser.add_argument("--lines", type=Path, default=LINES, help="the file (default: results/scale.jsonl)")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="(default: images/scale.png)")
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: docs/scale.md)")
    options = parser.parse_args()
    lines = read_lines(options.lines)
    text = options.page.read_text(encoding="utf-8")
    coresets = [json.loads(line) for line in CORESETS.read_text(encoding="utf-8").splitlines()]
    for begin, written in ((BEGIN, table(lines)), (BEGIN_CORESETS, coreset_table(coresets))):
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{written}\n\n{END}{rest.partition(END)[2]}"
    options.page.write_text(text, encoding="utf-8")
    plot(lines).savefig(options.picture, dpi=110)
    return 0


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the measurements that ended well, by detector, pixels and images."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if "error" not in line]
    return sorted(found, key=lambda line: (json.dumps(line["detector"]), line["image_size"], line["images"]))


def table(lines: list[dict[str, Any]]) -> str:
    """Return a row for each measurement as Markdown."""
    rows = []
    for line in lines:
        arguments = dict(line["detector"])
        name = arguments.pop("detector")
        seconds, backbone = line["seconds"]["fit"], line["seconds"].get("backbone")
        copies = f", of which {line['copies']:,} are copies" if line["copies"] else ""
        row = {
            "images": f"{line['images']:,}{copies}",
            "pixels": line["image_size"],
            "detector": f"{name}: {', '.join(f'{key} {value}' for key, value in arguments.items())}",
            "fit": f"{seconds:,.0f} s{' (shared)' if line.get('shared') else ''}",
            "times its backbone": "" if backbone is None else f"{seconds / backbone:.2f}",
            "memory": f"{line['peak']['anonymous'] / 2**30:.1f} GiB",
            "disk": f"{line['disk']['peak'] / 2**30:.1f} GiB",
            "parts of the coreset": line["training"].get("parts", ""),
        }
        rows.append([str(row[name]) for name in COLUMNS])
    return _markdown(COLUMNS, rows)


def coreset_table(lines: list[dict[str, Any]]) -> str:
    """Return composed against exact coresets as Markdown: a row for each set of images, with what its seeds have."""
    rows = []
    for key in dict.fromkeys(map(_measured_on, lines)):
        own = [line for line in lines if _measured_on(line) == key]
        compared = [_spread(own, name, digits, sign) for name, digits, sign in CORESET_COLUMNS.values()]
        dataset, images, size, backbone, ratio = key
        shown = [
            f"`{dataset}`, {images}",
            f"{own[0]['patches']:,}",
            f"`{backbone}`",
            str(size),
            str(ratio),
            str(len(own)),
        ]
        rows.append(shown + compared)
    columns = ("dataset, images", "patches", "backbone", "pixels", "ratio", "seeds", *CORESET_COLUMNS)
    return _markdown(columns, rows)


def _measured_on(line: dict[str, Any]) -> tuple[str, int, int, str, float]:
    return line["dataset"], line["images"], line["image_size"], line["backbone"], line["ratio"]


def _spread(lines: list[dict[str, Any]], name: str, digits: int, sign: str) -> str:
    """Return mean, standard error, smallest and largest value; blank where lines have none."""
    values = [line[name] for line in lines if name in line]
    if not values:
        return ""
    error = statistics.stdev(values) / len(values) ** 0.5
    mean, low, high = (
        f"{value:{sign}.{digits}f}".replace("-", "−") for value in (statistics.mean(values), min(values), max(values))
    )
    return f"{mean} ± {error:.{digits}f} ({low} to {high})"


def _markdown(columns: Sequence[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [list(columns), ["---"] * len(columns), *rows])


def plot(lines: list[dict[str, Any]]) -> Figure:
    """Return the picture."""
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
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter("{x:,.0f}")
                axes.yaxis.set_minor_formatter("")
            else:
                axes.set_ylim(bottom=0)
            axes.set_xlabel(label)
            axes.set_title(name, fontsize="medium")
            axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    return figure


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
