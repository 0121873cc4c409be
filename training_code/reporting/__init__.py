"""The comparison for people: workbook, charts, figures, pages and other formats."""
