"""Prints a workbook as openpyxl reads it, as JSON: {"sheets": [{"name", "rows", ...}]}.

A cell is null or [type, value]: s text, n number, b boolean, d date, dt date and time, t time,
td seconds of a duration, f formula, e error.
"""

import datetime
import json
import sys

import openpyxl


def cell(c):
    v = c.value
    if v is None:
        return None
    if c.data_type == "f":
        return ["f", str(v)]
    if c.data_type == "e":
        return ["e", v]
    if isinstance(v, bool):
        return ["b", v]
    if isinstance(v, (int, float)):
        # "1e15" and "1000000000000000" are the same value.
        return ["n", int(v) if v == int(v) and abs(v) < 2**53 else v]
    if isinstance(v, datetime.datetime):
        # openpyxl gives every date a time; the number format distinguishes a date from a date and time.
        if any(x in c.number_format.lower() for x in ("h", "s")):
            return ["dt", v.isoformat()]
        return ["d", v.date().isoformat()]
    if isinstance(v, datetime.time):
        return ["t", v.isoformat()]
    if isinstance(v, datetime.timedelta):
        return ["td", v.total_seconds()]
    return ["s", str(v)]


def widths(sheet):
    """The width of each column. Adjacent columns of one width share an entry of the file."""
    found = {}
    for dimension in sheet.column_dimensions.values():
        for column in range(dimension.min, dimension.max + 1):
            found[column] = dimension.width
    return [found.get(column) for column in range(1, sheet.max_column + 1)]


def main(path):
    light = len(sys.argv) > 2 and sys.argv[2] == "--read-only"
    book = openpyxl.load_workbook(path, read_only=light)
    sheets = []
    for sheet in book.worksheets:
        out = {"name": sheet.title, "rows": [[cell(c) for c in row] for row in sheet.iter_rows()]}
        if not light:
            out["freeze"] = sheet.freeze_panes
            out["landscape"] = sheet.page_setup.orientation == "landscape"
            # The file does not write the default, 1.
            fits = sheet.sheet_properties.pageSetUpPr and sheet.sheet_properties.pageSetUpPr.fitToPage
            out["pages_wide"] = (sheet.page_setup.fitToWidth or 1) if fits else 0
            out["filter"] = sheet.auto_filter.ref
            out["tables"] = len(sheet.tables)
            out["charts"] = len(sheet._charts)
            out["widths"] = widths(sheet)
        sheets.append(out)
    json.dump({"sheets": sheets, "title": book.properties.title}, sys.stdout)


main(sys.argv[1])
