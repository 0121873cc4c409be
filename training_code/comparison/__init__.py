"""The comparison: run records as tables, as a workbook, as pictures."""
