"""The values of every kind of cell, in ods and xlsb, equal those that LibreOffice reads.

    python kinds_equal.py path/to/dump-workbook FOLDER

FOLDER holds the xlsb workbooks of `kinds.mjs`. The ods documents are made here: openpyxl writes the
cells and LibreOffice saves them. LibreOffice converts each file to xlsx, which openpyxl reads. Needs
LibreOffice (Debian: libreoffice-calc). Prints the number of files and of equal cells.
"""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import openpyxl
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl_equal import compare

DAY = dt.datetime(2024, 3, 1)
MOMENT = dt.datetime(2024, 2, 29, 23, 59, 58)

# For each column: values or formulas, and a number format or None.
COLUMNS = {
    "Whole": ([0, 1, -1, 123456789012345], None),
    "Fraction": ([0.1, -2.5, 1.5e300, 1234.56], None),
    "Text": (["00501", "Zürich", "東京🙂", "two\nlines", " a  b ", "x" * 30000], None),
    "Day": ([DAY, dt.datetime(1999, 12, 31), dt.datetime(9999, 12, 31)], "yyyy-mm-dd"),
    "Moment": ([MOMENT, DAY], "yyyy-mm-dd hh:mm:ss"),
    "Time": ([dt.time(13, 37), dt.time(23, 59, 59), dt.time(0, 0)], "hh:mm:ss"),
    "Length": ([dt.timedelta(hours=36, minutes=15), dt.timedelta(days=40)], "[h]:mm:ss"),
    "Bool": ([True, False, True], None),
    "Percent": ([0.5, 0.123, 1], "0.0%"),
    "Money": ([1234.5, -2, 0], '#,##0.00 "EUR"'),
    "Sparse": ([None, None, "x", None, 7], None),
    "Number formula": (["=1+1", "=A2/4", "=SUM(A2:A4)"], None),
    "Text formula": (['="a"&"b"', "=UPPER(C3)"], None),
    "Bool formula": (["=1=1", "=A2>5"], None),
    "Date formula": (["=D2+1", "=D3"], "yyyy-mm-dd"),
    "Error formula": (["=1/0", "=NA()", '=VALUE("x")', "=SQRT(-1)"], None),
    "Rich": ([CellRichText("rich ", TextBlock(InlineFont(b=True), "text"))], None),
    "Mixed": ([1, "1", True, DAY, 0.5], None),
}


def write(path, is_1904):
    book = openpyxl.Workbook()
    if is_1904:
        book.epoch = CALENDAR_MAC_1904
    sheet = book.active
    for c, (name, (values, code)) in enumerate(COLUMNS.items(), 1):
        sheet.cell(1, c, name)
        for r, value in enumerate(values, 2):
            cell = sheet.cell(r, c, value)
            if code:
                cell.number_format = code
    sheet.merge_cells("K7:L8")
    sheet.row_dimensions[4].hidden = True
    sheet.column_dimensions["B"].hidden = True
    book.create_sheet("Other").append(["other", "sheet"])
    book.save(path)


def convert(folder, kind, files, to):
    # A separate profile, because LibreOffice can already be running for this user.
    profile = f"-env:UserInstallation=file://{folder}/profile"
    command = ["soffice", profile, "--headless", "--convert-to", kind, "--outdir", to]
    subprocess.run([*command, *files], check=True, timeout=300, stdout=subprocess.DEVNULL)


def main():
    dump, folder = sys.argv[1], Path(sys.argv[2])
    made = [folder / "kinds-1900.xlsx", folder / "kinds-1904.xlsx"]
    for path in made:
        write(path, "1904" in path.stem)
    convert(folder, "ods", made, folder)
    files = sorted([*folder.glob("*.ods"), *folder.glob("*.xlsb")])
    cells = 0
    for path in files:
        to = folder / f"{path.name}-as-xlsx"
        convert(folder, "xlsx:Calc MS Excel 2007 XML", [path], to)
        cells += compare(dump, path, to / f"{path.stem}.xlsx")
    print(len(files), cells)


main()
