"""Native charts of the workbook: bars with their deviation, accuracy against latency."""

import math
from dataclasses import dataclass

import pandas as pd
from openpyxl.chart import BarChart, Reference, ScatterChart, Series
from openpyxl.chart.data_source import NumDataSource, NumRef
from openpyxl.chart.error_bar import ErrorBars
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.chart.text import RichText, Text
from openpyxl.chart.title import Title
from openpyxl.drawing.text import CharacterProperties, Paragraph, RegularTextRun
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.worksheet import Worksheet

from training_code.comparison.label_curves import ALL_DEFECTS
from training_code.comparison.values import is_missing
from training_code.reporting.cells import comment
from training_code.reporting.chart_places import ChartPlaces
from training_code.reporting.folding import fold

#: What is drawn against a number of labels, or of images.
CHARTED = ("image_AUROC", "pixel_F1Score", "image_MissRate")
#: Charts of a sheet at most, one for each dataset and protocol.
MOST = 12
# Okabe and Ito's colours, which colour-blind readers can tell apart, the darker first.
COLOURS = ("0072B2", "D55E00", "009E73", "CC79A7", "E69F00", "56B4E9", "000000", "F0E442")
_MARKERS = ("circle", "square", "triangle", "diamond", "x", "plus", "star", "dash")
_BESIDE, _HEIGHT = 16.0, 7.5  # centimetres
_LEGEND = 60  # characters


def add_bars(worksheet: Worksheet, table: pd.DataFrame, criterion: str) -> int:
    """Add a chart for each dataset and protocol: the criterion of each detector, with its deviation over seeds.

    Returns the rows that they take below the table.
    """
    names = list(table.columns)
    if criterion not in names or table.empty:
        return 0
    value, model, deviation = names.index(criterion) + 1, names.index("Model") + 1, f"{criterion}_sd"
    places = ChartPlaces(worksheet, len(table) + 1, len(names))
    for (dataset, protocol), first, last in _stretches(table)[:MOST]:
        chart = BarChart()
        chart.type, chart.style = "bar", 10
        chart.title = _title(f"{criterion}, {dataset}, {protocol}")
        chart.add_data(Reference(worksheet, min_col=value, min_row=first, max_row=last), titles_from_data=False)
        chart.set_categories(Reference(worksheet, min_col=model, min_row=first, max_row=last))
        series = chart.series[0]
        series.graphicalProperties = GraphicalProperties(solidFill=COLOURS[0])
        if deviation in names and table[deviation].iloc[first - 2 : last - 1].notna().any():
            letter = get_column_letter(names.index(deviation) + 1)
            source = NumDataSource(NumRef(f"{quote_sheetname(worksheet.title)}!${letter}${first}:${letter}${last}"))
            series.errBars = ErrorBars(errBarType="both", errValType="cust", plus=source, minus=source)
        chart.legend = None
        # Most metrics are shares; false regions an image may be any number.
        highest = table[criterion].iloc[first - 2 : last - 1].max()
        chart.y_axis.scaling.min, chart.y_axis.scaling.max = 0, None if highest > 1 else 1
        chart.x_axis.scaling.orientation, chart.y_axis.crosses = "maxMin", "max"  # as in the table, from top to bottom
        chart.y_axis.number_format = "0.0"
        chart.gapWidth = 60
        _show_axes(chart)
        chart.width, chart.height = _BESIDE, min(_HEIGHT, 2.5 + 1.0 * (last - first + 1))
        places.add(chart)
    return places.tail


def add_front(worksheet: Worksheet, table: pd.DataFrame, criterion: str) -> int:
    """Add a chart for each dataset and protocol: the criterion against latency, detectors apart, and the front.

    Charts need the values of a series in one stretch: they are written beside the table. Returns the rows that the
    charts take below it.
    """
    if criterion not in table or "latency_s" not in table or table.empty:
        return 0
    detectors = sorted(table["Model"].unique())
    start = len(table.columns) + 3
    titles = ["latency, ms", *detectors, "front"]
    for offset, title in enumerate(titles):
        cell = worksheet.cell(1, start + offset, f"chart: {title}")
        cell.comment = comment("What the chart below is drawn from.")
        worksheet.column_dimensions[get_column_letter(start + offset)].width = 14
    for row, (_, model) in enumerate(table.iterrows(), 2):
        if pd.isna(model["latency_s"]) or pd.isna(model[criterion]):
            continue
        cells = {0: 1000 * model["latency_s"], 1 + detectors.index(model["Model"]): model[criterion]}
        if model.get("fastest") is True:
            cells[len(titles) - 1] = model[criterion]
        for offset, value in cells.items():
            worksheet.cell(row, start + offset, float(value)).number_format = "0.0" if offset == 0 else "0.000"
    fold(worksheet, range(len(table.columns) + 1, start + len(titles)))
    places = ChartPlaces(worksheet, len(table) + 1, len(table.columns))
    for (dataset, protocol), first, last in _stretches(table)[:MOST]:
        chart = ScatterChart()
        chart.style, chart.scatterStyle = 13, "lineMarker"
        chart.title = _title(f"{criterion} against latency, {dataset}, {protocol}")
        latency = Reference(worksheet, min_col=start, min_row=first, max_row=last)
        for number, title in enumerate([*detectors, "front"]):
            values = Reference(worksheet, min_col=start + 1 + number, min_row=first, max_row=last)
            if title != "front" and not (table["Model"].iloc[first - 2 : last - 1] == title).any():
                continue
            series = Series(values, latency, title="not beaten" if title == "front" else title)
            colour = COLOURS[number % len(COLOURS)]
            series.graphicalProperties.line.noFill = True
            series.marker.symbol = "circle" if title == "front" else _MARKERS[number % len(_MARKERS)]
            series.marker.size = 12 if title == "front" else 7
            series.marker.graphicalProperties = (
                GraphicalProperties(noFill=True) if title == "front" else (GraphicalProperties(solidFill=colour))
            )
            series.marker.graphicalProperties.line.solidFill = "000000" if title == "front" else colour
            chart.series.append(series)
        chart.x_axis.title, chart.y_axis.title = "latency, ms an image", criterion
        chart.x_axis.number_format, chart.y_axis.number_format = "0", "0.00"
        chart.x_axis.scaling.logBase = 10
        lowest = table[criterion].iloc[first - 2 : last - 1].min()
        chart.y_axis.scaling.min = max(0.0, math.floor(10 * lowest) / 10)
        _show_axes(chart)
        chart.width, chart.height = _BESIDE * 1.3, _HEIGHT
        chart.legend.position = "r"
        places.add(chart)
    return places.tail


@dataclass(frozen=True)
class Against:
    """What results are drawn against: the column with its numbers, and what these are called."""

    column: str
    title: str
    axis: str


#: Labels and training images, by the name of the charts of a sheet.
CURVES = {
    "labels": Against("labels_seen", "labels", "labelled defects seen"),
    "images": Against("train_images", "training images", "training images"),
}


def add_curves(worksheet: Worksheet, table: pd.DataFrame, against: Against) -> int:
    """Add charts for each dataset: results of all defects against a number, with intervals over seeds.

    Configurations without labels are horizontal lines. What is drawn is written beside the table, each curve in one
    stretch. Returns the rows that the charts take below the table.
    """
    drawn = table[table["defect type"] == ALL_DEFECTS] if "defect type" in table else table
    row, start = 2, len(table.columns) + 3
    for offset, title in enumerate(("curve", against.title, *CHARTED, *(f"{name}_95" for name in CHARTED))):
        worksheet.cell(1, start + offset, f"chart: {title}").comment = comment("What the charts are drawn from.")
        worksheet.column_dimensions[get_column_letter(start + offset)].width = 14
    fold(worksheet, range(len(table.columns) + 1, start + 2 + 2 * len(CHARTED)))
    charts = ChartPlaces(worksheet, len(table) + 1, len(table.columns))
    for (dataset, protocol), group in list(drawn.groupby(["dataset", "protocol"], sort=False))[:MOST]:
        curves = _named_curves(group, against.column)
        places = []
        for title, points in curves:
            for number, (_, point) in enumerate(points.iterrows(), row):
                values = [
                    title,
                    point[against.column],
                    *(point[f"{name}{end}"] for end in ("", "_95") for name in CHARTED),
                ]
                for offset, value in enumerate(values):
                    if not is_missing(value):
                        worksheet.cell(number, start + offset, value)
            places.append((title, row, row + len(points) - 1))
            row += len(points)
        charts.new_line()
        for name in (name for name in CHARTED if group[name].notna().any()):
            chart = ScatterChart()
            chart.style, chart.scatterStyle = 13, "lineMarker"
            chart.title = _title(f"{name} against {against.title}, {dataset}, {protocol}")
            column = start + 2 + CHARTED.index(name)
            for index, (title, first, last) in enumerate(places):
                chart.series.append(_series(worksheet, title, (start + 1, column), (first, last), index))
            chart.x_axis.title, chart.y_axis.title = against.axis, name
            chart.x_axis.number_format, chart.y_axis.number_format = "0", "0.00"
            chart.x_axis.scaling.min = 0
            _show_axes(chart)
            chart.width, chart.height = _BESIDE, _HEIGHT
            chart.legend.position = "b"
            charts.add(chart)
    return charts.tail


def _named_curves(group: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """Return curves with their names; one without labels is drawn from no label to the most that there are."""
    found = []
    for (model, backbone, configuration), points in group.groupby(["Model", "backbone", "configuration"], sort=False):
        title = _shortened(", ".join(filter(None, (model, backbone, configuration))))
        if not points[column].any():
            points = pd.concat([points, points.assign(**{column: group[column].max()})])
            title += ", without labels"
        found.append((title, points))
    return found


def _shortened(title: str) -> str:
    """Return a title that a legend has room for: names differ at their beginning or their end."""
    return title if len(title) <= _LEGEND else f"{title[: _LEGEND // 2]} … {title[-_LEGEND // 2 :]}"


def _series(worksheet: Worksheet, title: str, columns: tuple[int, int], rows: tuple[int, int], number: int) -> Series:
    """Return a curve: its numbers and its values are in two columns, its intervals beside the values."""
    numbers, values = (Reference(worksheet, min_col=column, min_row=rows[0], max_row=rows[1]) for column in columns)
    series = Series(values, numbers, title=title)
    colour = COLOURS[number % len(COLOURS)]
    series.graphicalProperties.line.solidFill = colour
    if title.endswith("without labels"):
        series.graphicalProperties.line.dashStyle, series.marker.symbol = "dash", "none"
        return series
    series.marker.symbol, series.marker.size = _MARKERS[number % len(_MARKERS)], 7
    series.marker.graphicalProperties = GraphicalProperties(solidFill=colour)
    letter = get_column_letter(columns[1] + len(CHARTED))
    source = NumDataSource(NumRef(f"{quote_sheetname(worksheet.title)}!${letter}${rows[0]}:${letter}${rows[1]}"))
    series.errBars = ErrorBars(errDir="y", errBarType="both", errValType="cust", plus=source, minus=source)
    return series


def _title(text: str) -> Title:
    properties = CharacterProperties(sz=1000, b=True)  # hundredths of a point
    run = RegularTextRun(rPr=properties, t=text)
    return Title(tx=Text(rich=RichText(p=[Paragraph(r=[run])])), overlay=False)


def _show_axes(chart: BarChart | ScatterChart) -> None:
    chart.visible_cells_only = False  # what it is drawn from may be folded
    chart.x_axis.delete = chart.y_axis.delete = False  # openpyxl hides them in newer programs


def _stretches(table: pd.DataFrame) -> list[tuple[tuple[str, str], int, int]]:
    """Return each dataset and protocol with the first and last row of its stretch in the sheet."""
    places = list(zip(table["dataset"], table["protocol"], strict=True))
    begins = [number for number, place in enumerate(places) if number == 0 or place != places[number - 1]]
    ends = [*begins[1:], len(places)]
    return [(places[begin], begin + 2, end + 1) for begin, end in zip(begins, ends, strict=True)]
