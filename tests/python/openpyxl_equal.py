"""Values equal those of openpyxl, cell by cell, for workbooks of openpyxl, XlsxWriter and LibreOffice.

    python openpyxl_equal.py path/to/dump-workbook

The workbooks of LibreOffice are in `office/`. `--office` instead of the path recreates them from the
workbooks of openpyxl, which needs LibreOffice (Debian: libreoffice-calc).
"""

import datetime as dt
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import openpyxl
import xlsxwriter

OFFICE = Path(__file__).parent / "office"

DATE = dt.datetime(2024, 3, 1)
TIME = dt.datetime(2024, 2, 29, 23, 59, 58)

# For each workbook: columns, each as values and a number format or None.
BOOKS = {
    "texts": [(["00501", "=1+1", " a ", "two\nlines", "Zürich", "東京🙂", "x" * 32767], None)],
    "long-digits": [(["1234567890123456789", "0.10", "1e5", "-0", "+49"], None)],
    "numbers": [([0, 1, -1, 0.1, 1 / 3, 1e-300, 1.5e300, 123456789012345, 2**53], None)],
    "percent": [([0.5, 0.123, 1], "0.0%")],
    "money": [([1234.5, -2, 0], '#,##0.00 "EUR"')],
    "color": [([1234.5, -2, 0], "[Red]0.00;[Magenta]-0.00")],
    "booleans": [([True, False, True], None)],
    "dates": [([DATE, dt.datetime(1999, 12, 31), dt.datetime(9999, 12, 31)], "yyyy-mm-dd")],
    "german": [([DATE, dt.datetime(1900, 3, 1)], "dd.mm.yyyy")],
    "moments": [([TIME, DATE], "yyyy-mm-dd hh:mm:ss")],
    "locale": [([TIME, DATE], "[$-409]d-mmm-yy h:mm AM/PM;@")],
    "times": [([dt.time(13, 37), dt.time(23, 59, 59), dt.time(0, 0)], "hh:mm:ss")],
    "lengths": [([dt.timedelta(hours=36, minutes=15), dt.timedelta(0)], "[h]:mm:ss")],
    "mixed": [(["a", 1, True, DATE, None, "b"], None), ([None, None, 2.5, "x", False, None], None)],
    "sparse": [([None] * 40 + ["x"], None), (["y"] + [None] * 50 + [1], None)],
    "wide": [([i, f"t{i}"], None) for i in range(300)],
    "tall": [(list(range(5000)), None), ([f"row {i}" for i in range(5000)], None)],
}


def with_openpyxl(path, columns):
    book = openpyxl.Workbook()
    sheet = book.active
    for c, (values, code) in enumerate(columns, 1):
        sheet.cell(1, c, f"Column {c}")
        for r, value in enumerate(values, 2):
            cell = sheet.cell(r, c)
            cell.value = value
            if isinstance(value, str):
                cell.data_type = "s"
            if code:
                cell.number_format = code
    book.save(path)


def with_xlsxwriter(path, columns, **options):
    book = xlsxwriter.Workbook(path, options)
    sheet = book.add_worksheet()
    rows = max(len(values) for values, _ in columns)
    formats = [book.add_format({"num_format": code}) if code else None for _, code in columns]
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    for c in range(len(columns)):
        sheet.write_string(0, c, f"Column {c + 1}")
    for r in range(rows):
        for c, (values, _) in enumerate(columns):
            value = values[r] if r < len(values) else None
            if value is None:
                continue
            if isinstance(value, str):
                sheet.write_string(r + 1, c, value, formats[c])
            elif isinstance(value, (dt.datetime, dt.time, dt.timedelta)):
                sheet.write_datetime(r + 1, c, value, formats[c] or day)
            else:
                sheet.write(r + 1, c, value, formats[c])
    book.close()


def as_text(value):
    """A value of openpyxl as `dump` prints it: kind and text."""
    if isinstance(value, bool):
        return ["bool", str(value).lower()]
    if isinstance(value, (int, float)):
        return ["number", float(value)]
    if isinstance(value, dt.datetime):
        return ["datetime", value.isoformat(timespec="milliseconds")]
    if isinstance(value, dt.time):
        return ["time", value.isoformat(timespec="milliseconds")]
    if isinstance(value, dt.timedelta):
        return ["duration", round(value.total_seconds() * 1000)]
    return ["text", value]


def ours_as_text(cell):
    kind, text = cell
    if kind == "number":
        return [kind, float(text)]
    if kind == "date":  # openpyxl has no dates without a time
        return ["datetime", f"{text}T00:00:00.000"]
    if kind in ("datetime", "time"):
        return [kind, text if "." in text else f"{text}.000"]
    if kind == "duration":
        total, number = 0, ""
        scale = {"H": 3_600_000, "M": 60_000, "S": 1000}
        for c in text.lstrip("-")[2:]:
            if c in scale:
                total += float(number) * scale[c]
                number = ""
            else:
                number += c
        return [kind, round(total) * (-1 if text.startswith("-") else 1)]
    return [kind, text]


def as_saved(cell):
    """LibreOffice saves 15 digits, and other codes of some errors in ods than in xlsx."""
    match cell:
        case ["number", number]:
            return ["number", float(f"{number:.15g}")]
        case ["error", _]:
            return ["error"]
    return cell


def compare(dump, path, as_xlsx=None):
    """Compares the values that `dump` reads with those that openpyxl reads, from what LibreOffice saved as
    xlsx if that is given. Returns the number of values."""
    lines = subprocess.run([dump, path], capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in lines.splitlines()]
    sheet = openpyxl.load_workbook(as_xlsx or path, data_only=True).worksheets[0]
    cells = 0
    for row in rows[1:]:
        for c, cell in enumerate(row["cells"], 1):
            theirs = sheet.cell(row["row"], c)
            ours = None if cell is None else ours_as_text(cell)
            wanted = None if theirs.value in (None, "") else as_text(theirs.value)
            if theirs.data_type == "e":
                wanted = ["error", theirs.value]
            if as_xlsx:
                ours, wanted = as_saved(ours), as_saved(wanted)
            assert ours == wanted, f"{path.name} row {row['row']} column {c}: {ours} != {wanted}"
            cells += ours is not None
    written = sum(v not in (None, "") for r in sheet.iter_rows(min_row=2, values_only=True) for v in r)
    assert cells == written, f"{path.name}: {cells} cells read, openpyxl has {written}"
    return cells


def convert():
    """Lets LibreOffice save the workbooks of openpyxl."""
    with tempfile.TemporaryDirectory() as directory:
        made = [Path(directory) / f"{name}.xlsx" for name in BOOKS if name not in ("tall", "wide")]
        for path in made:
            with_openpyxl(path, BOOKS[path.stem])
        command = ["soffice", "--headless", "--convert-to", "xlsx:Calc MS Excel 2007 XML"]
        subprocess.run([*command, "--outdir", OFFICE, *made], check=True, timeout=120)


def main():
    if sys.argv[1] == "--office":
        return convert()
    dump = sys.argv[1]
    books = sorted(OFFICE.glob("*.xlsx"))
    assert len(books) >= 10, books
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        for name, columns in BOOKS.items():
            made = [directory / f"{name}-openpyxl.xlsx", directory / f"{name}-xlsxwriter.xlsx"]
            with_openpyxl(made[0], columns)
            with_xlsxwriter(made[1], columns)
            if name in ("tall", "mixed", "texts"):
                made.append(directory / f"{name}-streamed.xlsx")
                with_xlsxwriter(made[2], columns, constant_memory=True)
            if name in ("dates", "moments"):
                made.append(directory / f"{name}-1904.xlsx")
                with_xlsxwriter(made[2], columns, date_1904=True)
            books += made
        for path in books:
            compare(dump, path)
    print(len(books))


if __name__ == "__main__":
    main()
