"""Native charts of the workbook: bars with their deviation, accuracy against latency."""

import math

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

from training_code.reporting.cells import comment

#: Charts of a sheet at most, one for each dataset and protocol.
MOST = 12
# Okabe and Ito's colours, which colour-blind readers can tell apart, the darker first.
COLOURS = ("0072B2", "D55E00", "009E73", "CC79A7", "E69F00", "56B4E9", "000000", "F0E442")
_MARKERS = ("circle", "square", "triangle", "diamond", "x", "plus", "star", "dash")
_BESIDE, _HEIGHT, _ROWS = 16.0, 7.5, 17  # centimetres, and rows that a chart covers


def add_bars(worksheet: Worksheet, table: pd.DataFrame, criterion: str) -> int:
    """Add a chart for each dataset and protocol: the criterion of each detector, with its deviation over seeds.

    Returns the rows that they take below the table.
    """
    names = list(table.columns)
    if criterion not in names or table.empty:
        return 0
    value, model, deviation = names.index(criterion) + 1, names.index("Model") + 1, f"{criterion}_sd"
    row = len(table) + 4
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
        worksheet.add_chart(chart, f"B{row}")
        row += _ROWS
    return row - len(table) - 1


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
    place = len(table) + 4
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
        worksheet.add_chart(chart, f"B{place}")
        place += _ROWS
    return place - len(table) - 1


def _title(text: str) -> Title:
    properties = CharacterProperties(sz=1000, b=True)  # hundredths of a point
    run = RegularTextRun(rPr=properties, t=text)
    return Title(tx=Text(rich=RichText(p=[Paragraph(r=[run])])), overlay=False)


def _show_axes(chart: BarChart | ScatterChart) -> None:
    chart.x_axis.delete = chart.y_axis.delete = False  # openpyxl hides them in newer programs


def _stretches(table: pd.DataFrame) -> list[tuple[tuple[str, str], int, int]]:
    """Return each dataset and protocol with the first and last row of its stretch in the sheet."""
    places = list(zip(table["dataset"], table["protocol"], strict=True))
    begins = [number for number, place in enumerate(places) if number == 0 or place != places[number - 1]]
    ends = [*begins[1:], len(places)]
    return [(places[begin], begin + 2, end + 1) for begin, end in zip(begins, ends, strict=True)]
