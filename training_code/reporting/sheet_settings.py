"""What people set in a sheet besides its cells: widths, filters, formats, validation, charts, pictures."""

from copy import copy
from dataclasses import dataclass, field
from typing import Any

from openpyxl.formatting.formatting import ConditionalFormattingList
from openpyxl.formatting.rule import Rule
from openpyxl.utils import column_index_from_string, get_column_letter
from openpyxl.worksheet.cell_range import CellRange, MultiCellRange
from openpyxl.worksheet.datavalidation import DataValidation, DataValidationList
from openpyxl.worksheet.dimensions import ColumnDimension, DimensionHolder, RowDimension
from openpyxl.worksheet.filters import AutoFilter
from openpyxl.worksheet.table import TableColumn, TableList
from openpyxl.worksheet.worksheet import Worksheet

from training_code.reporting.cells import HIGH, LOW, OUR_PROMPT
from training_code.reporting.references import Moves, References
from training_code.reporting.written import Written, chart_kind, chart_title, picture_print, place_of

# Programs round widths and heights; rows of one line are that high.
_WIDTH, _HEIGHT, _ONE_LINE = 0.3, 1.0, (11.0, 17.0)
# Settings of all columns of a sheet are kept for so many.
_COLUMNS = 300


@dataclass
class Settings:
    """Settings of a sheet as they were found."""

    columns: dict[int, ColumnDimension]
    rows: dict[int, RowDimension]
    merged: list[str]
    formats: ConditionalFormattingList
    validations: DataValidationList
    filter: AutoFilter
    tables: TableList
    charts: list[Any]
    pictures: list[Any]
    print_area: str
    pivots: int
    lost: list[str] = field(default_factory=list)

    @classmethod
    def take(cls, worksheet: Worksheet) -> "Settings":
        """Take the settings out of a sheet."""
        columns = {}
        for letter, found in worksheet.column_dimensions.items():
            start = found.min or column_index_from_string(letter)
            for column in range(start, min(found.max or start, start + _COLUMNS) + 1):
                columns[column] = found
        settings = cls(
            columns,
            dict(worksheet.row_dimensions.items()),
            [found.coord for found in worksheet.merged_cells.ranges],
            worksheet.conditional_formatting,
            worksheet.data_validations,
            worksheet.auto_filter,
            worksheet.tables,
            worksheet._charts,
            worksheet._images,
            str(worksheet.print_area or ""),
            len(worksheet._pivots),
        )
        worksheet.column_dimensions = DimensionHolder(worksheet, default_factory=worksheet._add_column)
        worksheet.row_dimensions = DimensionHolder(worksheet, default_factory=worksheet._add_row)
        worksheet.merged_cells = MultiCellRange()
        worksheet.conditional_formatting = ConditionalFormattingList()
        worksheet.data_validations = DataValidationList()
        worksheet.auto_filter = AutoFilter()
        worksheet._tables = TableList()
        worksheet._charts, worksheet._images = [], []
        return settings

    def place(self, worksheet: Worksheet, written: Written, moves: Moves, references: References) -> None:
        """Put the settings of people back, where rows and columns are now."""
        self._place_dimensions(worksheet, written, moves)
        self._place_formats(worksheet, moves, references)
        self._place_filter(worksheet, moves)
        self._place_tables(worksheet, moves)
        self._place_pivots(worksheet, moves)
        for area in self.merged:
            self._merge(worksheet, area, moves)
        if self.prints_other_than(written):
            areas = [new for old in self.print_area.split(",") for new in moves.cells(old.rpartition("!")[2])]
            worksheet.print_area = ",".join(areas) if areas else None

    def prints_other_than(self, written: Written) -> bool:
        """Return whether people have set what is printed."""
        return self.print_area.rpartition("!")[2].replace("$", "") != written.area

    def _place_dimensions(self, worksheet: Worksheet, written: Written, moves: Moves) -> None:
        for here, found in self.columns.items():
            column = moves.columns.one(here)
            if column is None:
                continue
            new = worksheet.column_dimensions[get_column_letter(column)]
            width = written.widths.get(str(moves.columns.ours.get(here)))
            if found.width and (width is None or abs(found.width - width) > _WIDTH):
                new.width = found.width
            is_folded = moves.columns.ours.get(here) in written.folded
            if (bool(found.hidden), found.outlineLevel or 0) != (is_folded, int(is_folded)):
                new.hidden, new.outlineLevel = found.hidden, found.outlineLevel
            new._style = copy(found._style)
        for here, found in self.rows.items():
            row = moves.rows.one(here)
            if row is None:
                continue
            new, before = worksheet.row_dimensions[row], written.heights.get(str(moves.rows.ours.get(here)))
            plain = before is None and found.height and _ONE_LINE[0] < found.height < _ONE_LINE[1]
            if found.height and not plain and (before is None or abs(found.height - before) > _HEIGHT):
                new.height = found.height
            new.hidden, new.outlineLevel, new.collapsed = found.hidden, found.outlineLevel, found.collapsed
            new._style = copy(found._style)

    def _place_formats(self, worksheet: Worksheet, moves: Moves, references: References) -> None:
        for found in self.formats:
            rules = [rule for rule in found.rules if not _is_our_scale(rule)]
            areas = moves.cells(str(found.sqref)) if rules else []
            if rules and not areas:
                self.lost.append(f"conditional format of {worksheet.title}!{found.sqref}: its cells are gone")
            for rule in rules if areas else ():
                down = _top(" ".join(areas)) - _top(str(found.sqref))
                rule.formula = [references.formula(text, worksheet.title, down) for text in rule.formula]
                worksheet.conditional_formatting.add(" ".join(areas), rule)
        for validation in self._their_validations():
            areas = moves.cells(str(validation.sqref))
            if not areas:
                self.lost.append(f"validation of {worksheet.title}!{validation.sqref}: its cells are gone")
                continue
            down = _top(" ".join(areas)) - _top(str(validation.sqref))
            for name in ("formula1", "formula2"):
                text = getattr(validation, name)
                if text and not text.startswith('"'):
                    setattr(validation, name, references.formula(text, worksheet.title, down))
            validation.sqref = MultiCellRange(" ".join(areas))
            worksheet.data_validations.append(validation)

    def _their_validations(self) -> list[DataValidation]:
        return [found for found in self.validations.dataValidation if found.promptTitle != OUR_PROMPT]

    def _place_filter(self, worksheet: Worksheet, moves: Moves) -> None:
        """Keep what is filtered by; no filter where people took it away, or where a table has its own."""
        if not self.filter.ref or self.tables:
            worksheet.auto_filter = AutoFilter()
            return
        left = CellRange(self.filter.ref).min_col
        if not worksheet.auto_filter.ref:  # people filter a sheet that we give no filter
            areas = moves.cells(self.filter.ref)
            worksheet.auto_filter.ref = areas[0] if areas else None
        if not worksheet.auto_filter.ref:
            return
        new_left = CellRange(worksheet.auto_filter.ref).min_col
        for found in self.filter.filterColumn:
            column = moves.columns.one(left + found.colId)
            if column is None or column < new_left:
                self.lost.append(f"a filter of {worksheet.title}: its column is gone")
                continue
            found.colId = column - new_left
            worksheet.auto_filter.filterColumn.append(found)

    def _place_tables(self, worksheet: Worksheet, moves: Moves) -> None:
        for table in self.tables.values():
            found = CellRange(table.ref)
            columns = moves.columns.stretch(found.min_col, found.max_col)
            rows = moves.rows.stretch(found.min_row, found.max_row)
            names: list[str] = []
            if columns and rows:
                names = [
                    str(worksheet.cell(rows[0], column).value or "") for column in range(columns[0], columns[1] + 1)
                ]
            # A table needs a header of texts that differ.
            if not columns or not rows or "" in names or len(set(map(str.lower, names))) < len(names):
                self.lost.append(
                    f"table {table.displayName} of {worksheet.title}: its columns are no longer in one piece"
                )
                continue
            area = CellRange(min_col=columns[0], max_col=columns[1], min_row=rows[0], max_row=rows[1])
            table.ref = area.coord
            if table.autoFilter is not None:
                table.autoFilter = AutoFilter(ref=area.coord)
            table.sortState = None
            table.tableColumns = [TableColumn(id=number, name=name) for number, name in enumerate(names, 1)]
            worksheet.add_table(table)

    def _place_pivots(self, worksheet: Worksheet, moves: Moves) -> None:
        for pivot in list(worksheet._pivots):
            areas = moves.cells(pivot.location.ref)
            if len(areas) == 1 and CellRange(areas[0]).size == CellRange(pivot.location.ref).size:
                pivot.location.ref = areas[0]
            else:
                worksheet._pivots.remove(pivot)
                self.lost.append(f"pivot table {pivot.name} of {worksheet.title}: its cells are apart")

    def _merge(self, worksheet: Worksheet, area: str, moves: Moves) -> None:
        found, areas = CellRange(area), moves.cells(area)
        if areas and any(areas[0] == ours.coord for ours in worksheet.merged_cells.ranges):
            return
        one = len(areas) == 1 and CellRange(areas[0]).size == found.size
        filled = [cell for row in worksheet[areas[0]] for cell in row if cell.value is not None] if one else []
        if one and len(filled) < 2:
            worksheet.merge_cells(areas[0])
        else:
            self.lost.append(f"{worksheet.title}!{area} is no longer merged: its cells hold values or are apart")

    def give_up(self, title: str, written: Written) -> None:
        """Tell what is lost with a sheet that is made no more."""
        pictures = sum(
            picture_print(picture)[0] not in {known[0] for known in written.pictures} for picture in self.pictures
        )
        charts = sum(chart_title(chart) not in written.charts for chart in self.charts)
        formats = sum(not _is_our_scale(rule) for found in self.formats for rule in found.rules)
        counts = {"charts": charts, "pictures": pictures, "conditional formats": formats}
        counts |= {"validations": len(self._their_validations()), "tables": len(self.tables)}
        counts |= {"pivot tables": self.pivots, "merged cells": len(self.merged)}
        self.lost += [f"{name} of {title}, a sheet that is made no more" for name, count in counts.items() if count]

    def place_drawings(self, worksheet: Worksheet, written: Written, moves: Moves, references: References) -> None:
        """Put charts and pictures of people back; ours stay where people moved them."""
        ours = {chart_title(chart): chart for chart in worksheet._charts}
        known = dict(written.charts)
        # A copy of a chart of ours has its title, too: ours is the one that was not moved.
        self.charts.sort(key=lambda chart: list(place_of(chart)) != known.get(chart_title(chart), [])[:2])
        for chart in self.charts:
            title = chart_title(chart)
            if title and title in known:
                before = known.pop(title)
                if title in ours and list(place_of(chart)) != before[:2]:
                    ours[title].anchor = chart.anchor
                if list(chart_kind(chart)) != before[2:]:
                    self.lost.append(f"changes to the chart {title!r} of {worksheet.title}, which is drawn anew")
                continue
            _move(chart, moves)
            move_references(chart, worksheet.title, references)
            worksheet.add_chart(chart)
        left = list(written.pictures)
        for picture in self.pictures:
            found = picture_print(picture)
            # Programs that save a picture in another way leave it where it is.
            same = next((known for known in left if known[0] == found[0] or known[1:] == found[1:]), None)
            if same is not None:
                left.remove(same)
                continue
            _move(picture, moves)
            worksheet.add_image(picture)


def move_references(chart: Any, home: str, references: References) -> None:
    """Make a chart draw the cells that it drew, where they are now."""
    for part in getattr(chart, "_charts", [chart]):
        for series in part.series:
            for name in ("val", "xVal", "yVal", "cat", "tx", "zVal", "bubbleSize"):
                source = getattr(series, name, None)
                source = getattr(source, "strRef", None) if name == "tx" else source
                for kind in ("numRef", "strRef", "multiLvlStrRef"):
                    found = source if name == "tx" else getattr(source, kind, None)
                    if found is not None and found.f:
                        found.f = references.reference(found.f, home)


def _move(drawing: Any, moves: Moves) -> None:
    anchor = drawing.anchor
    corner = getattr(anchor, "_from", None)
    if corner is None:
        return
    row, column = moves.rows.one(corner.row + 1), moves.columns.one(corner.col + 1)
    down = row - 1 - corner.row if row else 0
    right = column - 1 - corner.col if column else 0
    for end in (corner, getattr(anchor, "to", None)):
        if end is not None:
            end.row, end.col = max(end.row + down, 0), max(end.col + right, 0)


def _is_our_scale(rule: Rule) -> bool:
    colors = [str(color.rgb)[-6:] for color in rule.colorScale.color] if rule.colorScale is not None else []
    return colors in ([LOW, HIGH], [HIGH, LOW])


def _top(area: str) -> int:
    return min(CellRange(part).min_row for part in area.split())
