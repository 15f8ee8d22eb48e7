"""Writes files that declare or contain more than a reader may keep in memory.

    python hostile.py FOLDER
"""

import struct
import sys
import zipfile
from pathlib import Path

folder = Path(sys.argv[1])
MAIN = {
    "xml": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml",
    "bin": "application/vnd.ms-excel.sheet.binary.macroEnabled.main",
}
SHEET = '<worksheet><sheetData><row r="1"><c r="A1" t="str"><v>A</v></c></row>{}</sheetData></worksheet>'
RELATION = '<Relationship Id="rId{}" Type="x/{}" Target="{}"/>'


def package(name, sheet="", sheets='<sheet name="Data" r:id="rId1"/>', strings="", kind="xml"):
    part = f"xl/workbook.{kind}"
    relations = RELATION.format(1, "worksheet", f"worksheets/sheet1.{kind}")
    relations += RELATION.format(2, "sharedStrings", f"sharedStrings.{kind}") if strings else ""
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        types = f'<Override PartName="/{part}" ContentType="{MAIN[kind]}"/>'
        book.writestr("[Content_Types].xml", f"<Types>{types}</Types>")
        root = RELATION.format(1, "officeDocument", part)
        book.writestr("_rels/.rels", f"<Relationships>{root}</Relationships>")
        book.writestr(f"xl/_rels/workbook.{kind}.rels", f"<Relationships>{relations}</Relationships>")
        if kind == "xml":
            sheets = f"<workbook><sheets>{sheets}</sheets></workbook>"
        book.writestr(part, sheets)
        book.writestr(f"xl/worksheets/sheet1.{kind}", sheet)
        if strings:
            book.writestr(f"xl/sharedStrings.{kind}", strings)


def ods(name, rows):
    urn = "urn:oasis:names:tc:opendocument:xmlns"
    spaces = " ".join(f'xmlns:{n}="{urn}:{n}:1.0"' for n in ("office", "table", "text"))
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        book.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        head = '<table:table-row><table:table-cell office:value-type="string"><text:p>A</text:p></table:table-cell></table:table-row>'
        book.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="Data">{head}{rows}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )


def many(count, text):
    return "".join(text.format(i) for i in range(count))


# xlsx: a text, a string table, a list of sheets and elements that are too large.
package("text.xlsx", SHEET.format(f'<row><c t="inlineStr"><is><t>{"x1y2" * (10 << 20)}</t></is></c></row>'))
package("nested.xlsx", SHEET.format("<row><c>" + many(300_000, "<a{}>")))
package("sheets.xlsx", SHEET.format(""), many(200_000, '<sheet name="s{0}" r:id="rId{0}"/>'))
package("attributes.xlsx", SHEET.format(f'<row {many(2_000_000, "a{}=")}/>'))
# xlsb: a record that says it has 256 MiB, and one with a text of four billion characters.
package("record.xlsb", sheets=b"\x9c\x01\xff\xff\xff\x7f" + b"x" * 100, sheet=b"", kind="bin")
text = b"\x00" * 8 + b"\xff\xff\xff\xff" + b"x" * 100
package("length.xlsb", sheets=b"\x9c\x01" + bytes([len(text)]) + text, sheet=b"", kind="bin")
# ods: values in all cells of all rows, and elements in elements.
cell = '<table:table-cell office:value-type="float" office:value="1" table:number-columns-repeated="16384"/>'
ods("cells.ods", f'<table:table-row table:number-rows-repeated="1048575">{cell}</table:table-row>')
ods("nested.ods", many(300_000, "<table:table-row-group><a{}>"))
# xls: a compound file whose header says that it has two billion sectors of tables.
header = bytearray(512)
header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
struct.pack_into("<HHHHH", header, 24, 0x3E, 3, 0xFFFE, 9, 6)
struct.pack_into("<IIIIIIIII", header, 44, 0x7FFFFFFF, 0, 0, 4096, 0, 0x7FFFFFFF, 0, 0x7FFFFFFF, 0)
(folder / "sectors.xls").write_bytes(bytes(header) + b"\x00" * 4096)
# csv: a quote that is never closed. HTML and XML Spreadsheet 2003: elements in elements, long attributes.
(folder / "quote.csv").write_text('a,b\n1,"' + "x" * (60 << 20))
(folder / "nested.html").write_text("<html>" + "<table><tr><td>" * 2_000_000)
space = 'xmlns="urn:schemas-microsoft-com:office:spreadsheet"'
(folder / "nested.xml").write_text(f'<?xml version="1.0"?><Workbook {space}>' + many(300_000, "<a{}>"))
(folder / "text.xml").write_text(
    f'<?xml version="1.0"?><Workbook {space}><Worksheet><Table><Row><Cell><Data>' + "x" * (60 << 20)
)
