"""LibreOffice opens a result workbook and saves it with the same cells and formats.

    python office_equal.py result.xlsx

Needs LibreOffice (Debian: libreoffice-calc). Prints the number of equal cells.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import openpyxl


def cells(book):
    # LibreOffice saves true as the formula TRUE().
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                # LibreOffice does not distinguish an empty text from an empty cell.
                if cell.value not in (None, ""):
                    yield (sheet.title, cell.coordinate), cell.value


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        # LibreOffice writes 15 digits.
        return abs(a - b) <= 1e-14 * abs(a)
    return a == b


def looks(book):
    """The visible properties of the sheets other than their cells. Frozen panes are not included because
    LibreOffice without a screen does not read them."""
    for sheet in book.worksheets:
        fills, links = {}, {}
        for row in sheet.iter_rows(min_row=2):
            fill = row[0].fill
            if fill.fill_type == "solid":
                fills[row[0].row] = fill.fgColor.rgb[-6:]
            links |= {cell.coordinate: cell.hyperlink.target for cell in row if cell.hyperlink}
        yield sheet.title, {
            "filter": sheet.auto_filter.ref,
            "charts": len(sheet._charts),
            "tinted": fills,
            "links": links,
        }


def load(path):
    return openpyxl.load_workbook(path, data_only=True)


def main():
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        # A separate profile, because LibreOffice can already be running for this user.
        profile = f"-env:UserInstallation=file://{folder}/profile"
        command = ["soffice", profile, "--headless", "--convert-to", "xlsx:Calc MS Excel 2007 XML"]
        subprocess.run([*command, "--outdir", folder, path], check=True, timeout=300, stdout=subprocess.DEVNULL)
        ours, theirs = load(path), load(Path(folder) / path.name)
    assert dict(looks(ours)) == dict(looks(theirs)), (dict(looks(ours)), dict(looks(theirs)))
    ours, theirs = dict(cells(ours)), dict(cells(theirs))
    wrong = [(at, ours.get(at), theirs.get(at)) for at in ours | theirs if not same(ours.get(at), theirs.get(at))]
    assert not wrong, wrong[:10]
    print(len(ours))


main()
