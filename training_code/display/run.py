"""A run as a notebook shows it."""

import base64
import datetime
import html
from dataclasses import dataclass
from pathlib import Path

from training_code.display.curves import LEARNING_CURVES
from training_code.display.examples import OVERVIEW
from training_code.display.products import products_html
from training_code.evaluation.operating_point import labelled_defects, percent
from training_code.records.metrics import F1_ALL_BAD, METRICS
from training_code.records.promises import promise
from training_code.records.record import EXAMPLES, Record
from training_code.records.undetermined import undetermined

#: Metrics side by side that a notebook shows without scrolling.
METRICS_ABREAST = 7


@dataclass(frozen=True)
class Run:
    """A finished run: its record and its folder."""

    folder: Path
    record: Record
    stored: bool = False  # whether it was loaded, not trained now

    @property
    def run_id(self) -> str:
        """Stable name of the run."""
        return self.record.run_id

    @property
    def status(self) -> str:
        """``ok``, or how the run failed."""
        return self.record.status

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics that could be computed, by name, in the order in which they are shown."""
        metrics = self.record.metrics
        return {name: metrics[name] for name in METRICS if name in metrics}

    def __repr__(self) -> str:
        """Return one line: status and metrics."""
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in self.metrics.items())
        return f"<Run {self.run_id}: {self.status}{', ' + metrics if metrics else ''}>"

    def _repr_html_(self) -> str:
        origin = "stored result" if self.stored else "trained now"
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.record.arguments.items())
        labels = f"; trained on {labelled_defects(self.record.labels)}" if self.record.labels else ""
        untrained = "; <b>the backbone's weights are random</b>" if self.record.untrained_backbone else ""
        parts = [
            f"<p><b>{html.escape(self.run_id)}</b> ({origin}{labels}{untrained})<br>",
            f"<code>{html.escape(self.record.detector)}({html.escape(arguments)})</code></p>",
            *(_table(self._metric_cells(kind), METRICS_ABREAST) for kind in ("image_", "pixel_")),
            *self._thresholds(),
            products_html(self.record),
            _table({name.replace("_", " "): text for name, text in self._cost_cells().items()}),
        ]
        warnings = [*self.record.training.get("warnings", []), undetermined(self.record)]
        parts += [f"<p><b>{html.escape(warning)}</b></p>" for warning in warnings if warning]
        if self.record.rethresholded:
            moment = f"{datetime.datetime.fromisoformat(self.record.rethresholded):%Y-%m-%d %H:%M}"
            parts.append(f"<p>Another rule was put in force at {moment}: the pictures show the thresholds before.</p>")
        for name, words in ((OVERVIEW, "predictions"), (LEARNING_CURVES, "learning curves")):
            picture = self.folder / EXAMPLES / name
            if picture.is_file():
                data = base64.b64encode(picture.read_bytes()).decode()
                parts.append(f'<img alt="{words}" style="max-width:100%" src="data:image/png;base64,{data}">')
        return "".join(parts)

    def _metric_cells(self, kind: str) -> dict[str, str]:
        """Return the metrics of images or of pixels; beside F1 stands that of calling everything defective."""
        cells = {}
        for name, value in self.metrics.items():
            if not name.startswith(kind):
                continue
            cells[name] = f"{value:.3f}"
            if name in self.record.intervals:
                low, high = self.record.intervals[name]
                cells[name] += f" <small>[{low:.3f}, {high:.3f}]</small>"
            if METRICS[name].oracle:
                cells[name] += " <small>(oracle)</small>"
            if name == "image_F1Score" and (all_bad := self.record.f1_all_bad) is not None:
                if value < all_bad:
                    cells[name] = f"<b>{cells[name]} below {F1_ALL_BAD}</b>"
                cells[F1_ALL_BAD] = f"{all_bad:.3f}"
        return cells

    def _thresholds(self) -> list[str]:
        """Return the thresholds in force as a table, and what they promise as a sentence."""
        record = self.record
        if record.status != "ok":
            return []
        cells = {"rule": record.rule} if record.operating_points else {}
        for kind, point in record.operating_points.items():
            cells[f"{kind} threshold"] = f"{point.threshold:.4g}"
            if point.promise is not None:
                cells[f"{kind} promise"] = percent(point.promise)
            if point.alpha is not None:
                cells["alpha"] = percent(point.alpha)
            if point.least is not None:
                cells["least alpha"] = percent(point.least)
        if record.calibration is not None:
            cells["good images"] = str(record.calibration.images)
            if record.calibration.groups != record.calibration.images:
                cells["parts"] = str(record.calibration.groups)
        if record.labels_for_thresholds:
            cells["labelled defects"] = str(record.labels_for_thresholds)
        return [_table(cells), f"<p>{html.escape(promise(record))}</p>"]

    def _cost_cells(self) -> dict[str, str]:
        times = self.record.times
        cells: dict[str, str] = {name: f"{times[name]:.1f} s" for name in ("fit", "test") if name in times}
        if "latency" in times:
            cells["latency"] = f"{1000 * times['latency']:.1f} ms an image"
        if "host" in self.record.memory:
            cells["peak_memory"] = f"{self.record.memory['host'] / 2**30:.2f} GiB"
        if self.record.checkpoint:
            cells["checkpoint"] = f"{self.record.checkpoint.bytes / 2**20:.1f} MiB"
        return cells


@dataclass(frozen=True)
class SkippedRun:
    """What `Experiment.run` returns for a configuration that cannot run here, and why."""

    configuration: str
    reason: str
    status: str = "skipped"

    def __repr__(self) -> str:
        """Return one line: what was skipped and why."""
        return f"<skipped: {self.reason}>"

    def _repr_html_(self) -> str:
        return f"<p><b>skipped</b>: {html.escape(self.reason)}<br><code>{html.escape(self.configuration)}</code></p>"


def _table(cells: dict[str, str], widest: int = 10) -> str:
    """Return cells below their names, in as many tables as it takes with so many columns at most."""
    named, tables = list(cells.items()), []
    for first in range(0, len(named), widest):
        names, values = zip(*named[first : first + widest], strict=True)
        heads, row = "</th><th>".join(names), "</td><td>".join(values)
        tables.append(f"<table><tr><th>{heads}</th></tr><tr><td>{row}</td></tr></table>")
    return "".join(tables)
