"""Writes the initial fuzzing corpus: for each target, a few small inputs with the constructs that its
part of a file can contain. Inputs from earlier findings in corpus/ are kept.

    python3 shared/workbook/fuzz/corpus.py
"""

import pathlib
import struct
import zipfile

HERE = pathlib.Path(__file__).parent / "corpus"
OFFICE = pathlib.Path(__file__).parent.parent.parent.parent / "tests/python/office"


def xlsb(kind, payload=b""):
    """An xlsb record: its type and length, seven bits per byte, then its content."""
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    return head + bytes([len(payload)]) + payload


def xls(kind, payload=b""):
    return struct.pack("<HH", kind, len(payload)) + payload


def cell(column, style=0):
    return struct.pack("<II", column, style)


WIDE = struct.pack("<I", 2) + "ab".encode("utf-16le")

INPUTS = {
    "sheet": {
        "numbers": b'<row r="2"><c r="A2"><v>1.5</v></c><c r="C2" t="n"><v>1e300</v></c></row>',
        "texts": b'<row><c t="s"><v>0</v></c><c t="str"><v>a&amp;b</v></c><c t="b"><v>1</v></c>'
        b'<c t="e"><v>#N/A</v></c><c t="d"><v>2024-03-01</v></c></row>',
        "inline": b'<row r="3" hidden="1"><c t="inlineStr"><is><r><t xml:space="preserve"> a</t></r>'
        b"<rPh><t>x</t></rPh></is></c></row>",
        "formula": b'<row><c r="B2"><f t="shared" ref="B2:B3" si="0">A1+1</f><v>2</v></c>'
        b'<c><f>1/0</f></c></row></sheetData><mergeCells><mergeCell ref="A1:B2"/></mergeCells>',
        "odd": b'<!-- c --><row r="1048576"><c r="XFD1048576"><v>_x000D_</v></c></row><![CDATA[x]]>',
    },
    "strings": {
        "plain": b'<sst count="2" uniqueCount="2"><si><t>a</t></si><si><t xml:space="preserve"> b </t></si></sst>',
        "rich": b"<sst><si><r><rPr><b/></rPr><t>a</t></r><r><t>_x0041_</t></r><rPh><t>x</t></rPh></si></sst>",
        "styles": b'<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy\\-mm&quot;x&quot;"/></numFmts>'
        b'<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs></styleSheet>',
    },
    "ods": {
        "kinds": b'<table:table table:name="A"><table:table-row><table:table-cell office:value-type="float" '
        b'office:value="1"/><table:table-cell office:value-type="date" office:date-value="2024-03-01"/>'
        b'<table:table-cell office:value-type="time" office:time-value="PT1H2M3S"/>'
        b'<table:table-cell office:value-type="string"><text:p>a<text:s text:c="3"/>b</text:p>'
        b"</table:table-cell></table:table-row></table:table>",
        "repeats": b'<table:table table:name="A"><table:table-row table:number-rows-repeated="3">'
        b'<table:table-cell table:number-columns-repeated="4" office:value-type="string"><text:p>x</text:p>'
        b"</table:table-cell></table:table-row></table:table>",
        "notations": b'<table:calculation-settings><table:null-date table:date-value="1904-01-01"/>'
        b'</table:calculation-settings><table:table table:name="A"><table:table-column table:number-columns-repeated="2"/>'
        b'<table:table-row-group><table:table-row table:visibility="filter"><table:covered-table-cell '
        b'office:value-type="float" office:value="0" table:formula="of:=1/0"><office:annotation><text:p>x</text:p>'
        b"</office:annotation><text:p>#DIV/0!</text:p><text:list><text:list-item><text:h>a<text:tab/>"
        b"<text:line-break/></text:h></text:list-item></text:list></covered-table-cell></table:table-row>"
        b"</table:table-row-group></table:table>",
    },
    "xls": {
        "cells": xls(0x0203, struct.pack("<HHHd", 1, 0, 0, 1.5))
        + xls(0x027E, struct.pack("<HHHI", 1, 1, 0, 0x3FF00000))
        + xls(0x0205, struct.pack("<HHHBB", 2, 0, 0, 1, 0))
        + xls(0x0204, struct.pack("<HHHHB", 2, 1, 0, 2, 0) + b"ab"),
        "formula": xls(0x0006, struct.pack("<HHHdHIH", 1, 0, 0, 2.0, 0, 0, 3) + b"\x1e\x02\x00"),
        "text-formula": xls(0x0006, struct.pack("<HHHHIHHIH", 1, 0, 0, 0, 0, 0xFFFF, 0, 0, 0))
        + xls(0x0207, struct.pack("<HB", 1, 0) + b"a"),
        "globals": xls(0x0042, struct.pack("<H", 10029))
        + xls(0x041E, struct.pack("<HHB", 60, 5, 0) + b"[h]:m")
        + xls(0x00E0, struct.pack("<HH", 0, 60) + bytes(16))
        + xls(0x00FC, struct.pack("<IIHBH", 2, 2, 3, 9, 1) + "abc".encode("utf-16le") + bytes(4))
        + xls(0x003C, struct.pack("<HB", 1, 0) + b"d")
        + xls(0x00FD, struct.pack("<HHHI", 1, 0, 0, 0)),
        "order": xls(0x0203, struct.pack("<HHHd", 9, 0, 0, 1.5))
        + xls(0x00BD, struct.pack("<HHHIHIH", 1, 0, 0, 2, 0, 3, 1))
        + xls(0x0208, struct.pack("<8H", 9, 0, 1, 255, 0, 0, 0x120, 15)),
        "encrypted": xls(0x002F, struct.pack("<HHH", 0, 0xB359, 0x9A0A)) + xls(0x0203, bytes(14)),
    },
    "xlsb": {
        "cells": xlsb(0, struct.pack("<I", 1) + bytes(13))
        + xlsb(5, cell(0) + struct.pack("<d", 1.5))
        + xlsb(2, cell(1) + struct.pack("<I", 0x3FF00000))
        + xlsb(6, cell(2) + WIDE)
        + xlsb(7, cell(3) + struct.pack("<I", 0))
        + xlsb(4, cell(4) + b"\x01")
        + xlsb(17, bytes(4) + WIDE)
        + xlsb(11, cell(6) + b"\x2a\x00\x00"),
        "strings": xlsb(159, struct.pack("<II", 1, 1)) + xlsb(19, b"\x00" + WIDE) + xlsb(160),
    },
    "html": {
        "excel": b"<meta charset=windows-1250><style>.a{mso-number-format:'Short Date'}</style>"
        b"<!--[if mso]><x:Date1904/><![endif]--><table><thead><tr><th rowspan=2>A<th colspan=2>B</thead>"
        b"<tr style='display:none'><td class=a x:num=45352>1<td x:bool>TRUE<td x:err=#N/A>x</table>",
        "nested": b"<table><tr><td>a<br>&nbsp;b<p>c<table><td>1<tr><td>2</table></table><tr><td>3",
    },
    "spreadsheet_xml": {
        "cells": b'<Styles><Style ss:ID="d"><NumberFormat ss:Format="Short Date"/></Style></Styles>'
        b'<Worksheet ss:Name="A"><Table><Column ss:StyleID="d" ss:Span="2"/><Row ss:Index="2">'
        b'<Cell ss:Index="2" ss:MergeAcross="1"><Data ss:Type="String">a</Data></Cell>'
        b'<Cell><Data ss:Type="Number">1.5</Data></Cell></Row><Row><Cell ss:Formula="=1">'
        b'<Data ss:Type="Error">#N/A</Data><Comment><Data>x</Data></Comment></Cell><Cell>'
        b'<Data ss:Type="DateTime">2024-03-01T00:00:00.000</Data></Cell></Row></Table></Worksheet>',
        "hidden": b'<ExcelWorkbook><Date1904/></ExcelWorkbook><Worksheet ss:Name="A"><WorksheetOptions>'
        b"<Visible>SheetHidden</Visible></WorksheetOptions></Worksheet><Worksheet><Table/></Worksheet>",
    },
    "file": {
        "comma": "ID,Näme\n1,\"a\"\"b\"\n2,\"c\nd\"\n".encode(),
        "tabs": "ID\tNäme\r\n1\tx\r\n".encode("utf-16"),
        "latin": "ID;Näme\n1;ß\n".encode("latin-1"),
    },
}


def main():
    for target, inputs in INPUTS.items():
        folder = HERE / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in inputs.items():
            (folder / name).write_bytes(content)
    # Stored, not deflated, so that a changed byte changes the XML.
    with zipfile.ZipFile(OFFICE / "mixed.xlsx") as book:
        with zipfile.ZipFile(HERE / "file/stored.xlsx", "w") as stored:
            for part in book.infolist():
                if not part.filename.startswith("docProps"):
                    stored.writestr(zipfile.ZipInfo(part.filename), book.read(part))


if __name__ == "__main__":
    main()
