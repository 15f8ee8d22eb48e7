// Writes workbooks with every kind of cell with SheetJS, which writes xlsb:
//
//     node kinds.mjs FOLDER
//
// Prints the names of the files.

import { join } from "node:path";
import xlsx from "xlsx";

const folder = process.argv[2];
const number = (v, z) => ({ t: "n", v, ...(z && { z }) });
const text = (v) => ({ t: "s", v });

// Serial numbers of dates are the same in both date systems, so they mean different days.
const columns = [
  ["Whole", [0, 1, -1, 123456789012345, 536870912, -536870913].map((v) => number(v))],
  ["Fraction", [0.1, -2.5, 1e-300, 1.5e300, 1234.56, 100.25].map((v) => number(v))],
  ["Text", ["00501", "=1+1", "Zürich", "東京🙂", "two\nlines", "x".repeat(32767)].map(text)],
  ["Day", [45352, 36525, 61, 50000].map((v) => number(v, "yyyy-mm-dd"))],
  ["Moment", [45352.5, 45352.999988425926, 40000.25].map((v) => number(v, "yyyy-mm-dd hh:mm:ss"))],
  ["Time", [0.5, 0.75, 0, 0.999988425925926].map((v) => number(v, "hh:mm:ss"))],
  ["Length", [1.5, 0, 36.25].map((v) => number(v, "[h]:mm:ss"))],
  ["Bool", [true, false, true].map((v) => ({ t: "b", v }))],
  ["Error", [0x00, 0x07, 0x0f, 0x17, 0x1d, 0x24, 0x2a].map((v) => ({ t: "e", v }))],
  ["Percent", [0.5, 0.123, 1].map((v) => number(v, "0.0%"))],
  ["Money", [1234.5, -2, 0].map((v) => number(v, '#,##0.00 "EUR"'))],
  ["Sparse", [null, null, text("x"), null, number(7)]],
  ["Rich", [{ t: "s", v: "rich text", r: "<r><t>rich </t></r><r><rPr><b/></rPr><t>text</t></r>" }]],
];

function sheet() {
  const cells = {};
  columns.forEach(([name, values], c) => {
    cells[xlsx.utils.encode_cell({ r: 0, c })] = text(name);
    values.forEach((cell, r) => {
      if (cell) cells[xlsx.utils.encode_cell({ r: r + 1, c })] = cell;
    });
  });
  cells["!ref"] = xlsx.utils.encode_range({ s: { r: 0, c: 0 }, e: { r: 10, c: columns.length - 1 } });
  cells["!merges"] = [xlsx.utils.decode_range("L6:M7")];
  cells["!rows"] = [, , { hidden: true }];
  cells["!cols"] = [, { hidden: true }];
  return cells;
}

for (const date1904 of [false, true]) {
  for (const bookSST of [false, true]) {
    const book = xlsx.utils.book_new();
    xlsx.utils.book_append_sheet(book, sheet(), "Data");
    xlsx.utils.book_append_sheet(book, xlsx.utils.aoa_to_sheet([["other"], ["sheet"]]), "Other");
    book.Workbook = { WBProps: { date1904 } };
    const name = `kinds-${date1904 ? 1904 : 1900}-${bookSST ? "shared" : "inline"}.xlsb`;
    xlsx.writeFile(book, join(folder, name), { bookType: "xlsb", bookSST });
    console.log(name);
  }
}
