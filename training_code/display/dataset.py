"""A dataset as a notebook shows it: counts, fingerprint, a few pictures."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from training_code.data.dataset import Dataset
from training_code.data.images import shown_image
from training_code.data.layout import Sample
from training_code.data.marking import read_marked
from training_code.data.report import defect_areas

THUMBNAIL = 160  # pixels
PER_TYPE = 4
MAX_TYPES = 8
_GAP = 4  # pixels between an image and its reference


def dataset_html(dataset: Dataset) -> str:
    """Return name, counts, notes, fingerprint and thumbnails with mask outlines as HTML."""
    rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{count}</td></tr>" for name, count in dataset.counts.items())
    notes = "".join(f"<li>{html.escape(note.message)}</li>" for note in dataset.notes)
    masks = "with pixel masks" if dataset.has_masks else "without pixel masks: pixel metrics are left blank"
    return (
        f"<p><b>{html.escape(dataset.name)}</b>, {len(dataset.samples)} images, {masks}, fingerprint "
        f"<code>{dataset.fingerprint[:16]}</code></p><table><tr><th>split</th><th>images</th></tr>{rows}</table>"
        f"<ul>{notes}</ul>{samples_html(dataset)}"
    )


def samples_html(dataset: Dataset) -> str:
    """Return the picture of `draw_samples` as HTML."""
    picture = base64.b64encode(_png(draw_samples(dataset))).decode()
    return f'<img alt="samples" style="max-width:100%" src="data:image/png;base64,{picture}">'


def draw_samples(dataset: Dataset) -> Figure:
    """Draw a row of images for each of the first splits and defect types, masks outlined, references beside them."""
    groups: dict[str, list[Sample]] = {name: [] for name in list(dataset.counts)[:MAX_TYPES]}
    for sample in dataset.samples:
        name = f"{sample.split}/{sample.defect_type}"
        if name in groups and not dataset.facts[sample.path].problem:
            groups[name].append(sample)
    figure = Figure(figsize=(1.5 * PER_TYPE, 1.65 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), PER_TYPE, squeeze=False)
    for row, (name, samples) in zip(axes, groups.items(), strict=True):
        for axis in row:
            axis.axis("off")
        row[0].set_title(name, fontsize=8, loc="left", parse_math=False)
        for axis, sample in zip(row, _spread(samples, PER_TYPE), strict=False):
            axis.imshow(_beside_reference(dataset, sample))
            if (
                sample.mask
                and not dataset.facts[sample.mask].problem
                and dataset.facts[sample.mask].threshold
                and (mask := _mask_thumbnail(sample.mask, dataset.facts[sample.mask].threshold)).any()
            ):
                axis.contour(mask, levels=[0.5], colors="#00e5ff", linewidths=0.8)
            if dataset.region is not None and not (looked_at := dataset.region.at(_shown_size(sample.path))).all():
                axis.contour(looked_at, levels=[0.5], colors="#ffffff", linewidths=0.8, linestyles="dashed")
    return figure


def draw_areas(dataset: Dataset) -> Figure:
    """Draw how large the defects are, as a part of their images, by defect type."""
    areas = defect_areas(dataset)
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axis = figure.subplots()
    groups = areas.groupby("defect_type")["percent"]
    if not areas.empty:
        axis.hist([group for _, group in groups], bins=20, stacked=True, label=[name for name, _ in groups])
        axis.legend(fontsize=7)
    axis.set_xlabel("defect area, % of the image")
    axis.set_ylabel("images")
    return figure


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    if not samples:
        return []
    chosen = np.unique(np.linspace(0, len(samples) - 1, count).round().astype(int))
    return [samples[index] for index in chosen]


def _beside_reference(dataset: Dataset, sample: Sample) -> np.ndarray:
    """Return the thumbnail of an image, to its right that of its reference if there is one that can be read."""
    picture = _thumbnail(sample.path)
    if sample.reference is None or dataset.facts[sample.reference].problem:
        return picture
    height, width = picture.shape[:2]
    reference = np.asarray(shown_image(sample.reference).resize((width, height)))
    return np.hstack([picture, np.full((height, _GAP, 3), 255, np.uint8), reference])


def _thumbnail(path: Path) -> np.ndarray:
    image = shown_image(path)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return np.asarray(image)


def _shown_size(path: Path) -> tuple[int, int]:
    """Return height and width of the thumbnail of an image."""
    height, width = _thumbnail(path).shape[:2]
    return height, width


def _mask_thumbnail(path: Path, threshold: int) -> np.ndarray:
    image = Image.fromarray(read_marked(path, threshold).astype(np.uint8) * 255)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return np.asarray(image) > 0


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
