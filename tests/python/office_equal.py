"""LibreOffice opens a result workbook and saves it again with the same cells and looks.

    python office_equal.py result.xlsx

Needs LibreOffice (Debian: libreoffice-calc). Prints how many cells are the same.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import openpyxl


def cells(book):
    # LibreOffice saves true as the formula TRUE() with its value.
    for sheet in book.worksheets:
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


def looks(book):
    """What a reader of the sheets sees besides their cells; of a view, as of what is frozen, LibreOffice
    without a screen knows nothing."""
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
        # A profile of its own: another LibreOffice of this user may be open.
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
