"""LibreOffice opens a result workbook and saves it again with the same cells.

    python office_equal.py result.xlsx

Needs LibreOffice (Debian: libreoffice-calc), so it is run by hand: with the interpreter of
target/test-venv on the result of any run.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import openpyxl


def cells(path):
    # LibreOffice saves true as the formula TRUE() with its value.
    for sheet in openpyxl.load_workbook(path, data_only=True).worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                # An empty text and an empty cell are one to LibreOffice.
                if cell.value not in (None, ""):
                    yield (sheet.title, cell.coordinate), cell.value


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        # LibreOffice writes 15 digits.
        return abs(a - b) <= 1e-14 * abs(a)
    return a == b


def main():
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        command = ["soffice", "--headless", "--convert-to", "xlsx:Calc MS Excel 2007 XML"]
        subprocess.run([*command, "--outdir", folder, path], check=True, timeout=300)
        ours, theirs = dict(cells(path)), dict(cells(Path(folder) / path.name))
    wrong = [(at, ours.get(at), theirs.get(at)) for at in ours | theirs if not same(ours.get(at), theirs.get(at))]
    assert not wrong, wrong[:10]
    print(len(ours), "cells are the same")


main()
