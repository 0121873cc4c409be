"""What a run says of each of several products, as a notebook shows it."""

import html

from training_code.evaluation.decisions import clopper_pearson
from training_code.evaluation.metrics import CONFIDENCE
from training_code.evaluation.operating_point import percent
from training_code.evaluation.products import GOOD, IMAGES, mean_of_products
from training_code.records.metrics import METRICS
from training_code.records.record import Record

_FALSE_ALARMS = "image_FalseAlarmRate"
#: The metrics that are shown of each product.
SHOWN = (
    *("image_AUROC", "image_F1Score", _FALSE_ALARMS, "image_MissRate"),
    *("pixel_AUROC", "pixel_AUPRO", "pixel_F1Score"),
)


def products_html(record: Record) -> str:
    """Return a table of the metrics of each product and their mean, and what the threshold promises of each."""
    rows = record.by_product
    if not rows:
        return ""
    names = [name for name in SHOWN if any(name in row for row in rows.values())]
    head = "".join(f"<th>{name}</th>" for name in ("product", IMAGES.replace("_", " "), *names))
    body = "".join(
        f"<tr><td>{html.escape(product)}</td><td>{row[IMAGES]:g}</td>"
        + "".join(f"<td>{_cell(record, row, name)}</td>" for name in names)
        + "</tr>"
        for product, row in rows.items()
    )
    mean = mean_of_products(rows)
    last = "".join(f"<td>{mean[name]:.3f}</td>" if name in mean else "<td></td>" for name in names)
    table = f"<table><tr>{head}</tr>{body}<tr><td>mean of products</td><td></td>{last}</tr></table>"
    return f"{table}<p>{_promise(record)}</p>"


def _cell(record: Record, row: dict[str, float], name: str) -> str:
    """Return a metric; of false alarms also their number and interval, bold where they are above what is promised."""
    if name not in row:
        return ""
    text = f"{row[name]:.3f}" + (" <small>(oracle)</small>" if METRICS[name].oracle else "")
    if name != _FALSE_ALARMS:
        return text
    good = int(row[GOOD])
    count = round(row[name] * good)
    low, high = clopper_pearson(count, good, CONFIDENCE)
    told = f"{text} <small>[{low:.3f}, {high:.3f}], {count} of {good}</small>"
    promised = _promised(record)
    return f"<b>{told}</b>" if promised is not None and low > promised else told


def _promised(record: Record) -> float | None:
    point = record.at.image
    return None if point is None else point.promise


def _promise(record: Record) -> str:
    promised = _promised(record)
    if promised is None:
        return "One threshold for all products."
    return (
        f"One threshold for all products: that at most {percent(promised)} of new good images are refused is promised "
        "of all products together, and of no single one. False alarms in bold are more than that, beyond chance."
    )
