"""How sheets are printed: on A4 across, as wide as a page reads well, with names repeated and pages numbered."""

from openpyxl.utils import get_column_letter
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from training_code.reporting.decision import DECISION, WINNER
from training_code.reporting.folding import visible_width
from training_code.reporting.sheet import Sheet
from training_code.reporting.written import Drawn, Written, area_of

#: Characters beside each other on a page that reads well, with letters of 7 points on A4 across, and at most.
CHARACTERS, MOST_CHARACTERS = 185, 215
# Of sheets with sentences that reach over the columns beside them.
_LEAST_COLUMNS = 6
_MARGIN, _HEAD = 0.4, 0.2  # inches


def set_page(worksheet: Worksheet, sheet: Sheet, drawn: Drawn, before: Written | None, theirs: bool) -> tuple[str, int]:
    """Set how a sheet is printed, apart from what people have set.

    Parameters
    ----------
    before
        What was written into the sheet the last time; None for a new one.
    theirs
        Whether people have set another area to print, or none.

    Returns
    -------
    tuple
        The area that is printed, and how many pages are beside each other.
    """
    setup, margins = worksheet.page_setup, worksheet.page_margins
    columns = range(1, max(drawn.width, worksheet.max_column) + 1)
    pages = max(1, -(-round(visible_width(worksheet, columns)) // MOST_CHARACTERS))
    if setup.paperSize is None:  # neither we nor people have set it
        setup.paperSize, setup.orientation = worksheet.PAPERSIZE_A4, "landscape"
        setup.fitToWidth, setup.fitToHeight = pages, 0
        worksheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
        margins.left = margins.right = _MARGIN
        margins.top, margins.bottom, margins.header, margins.footer = _MARGIN, 1.5 * _MARGIN, _HEAD, _HEAD
        worksheet.oddFooter.left.text, worksheet.oddFooter.right.text = "&A", "&P / &N"
        if sheet.name not in (DECISION, WINNER):
            worksheet.print_title_cols = "A:A"
            worksheet.print_title_rows = None if sheet.kind == "blocks" else "1:1"
    elif before is not None and setup.fitToWidth == before.pages:
        setup.fitToWidth = pages
    if not theirs:
        last = max(drawn.last + drawn.tail, worksheet.max_row)
        right = max(columns[-1], _LEAST_COLUMNS if sheet.kind == "blocks" else 1)
        worksheet.print_area = f"A1:{get_column_letter(right)}{last}"
    return area_of(worksheet), pages
