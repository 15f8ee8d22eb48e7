"""Compares reading and writing workbooks with peers in the same run. Prints only ratios.

    python3 benches/workbook.py [--rows N] [--runs N] [--large]

Builds rowmill and the example `measure` in release mode, and creates a venv under target/ with the
peers. Each figure is the median over separate processes, which alternate, so that a busy moment
affects all of them. CPU is user plus system time; memory is peak resident memory. --large adds a
workbook of 1,000,000 rows. --only takes some of: xlsx, xlsb, ods, csv. Needs Linux, and npm for xlsb,
which SheetJS writes.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/python"))
from environment import environment
PEERS = ["polars==2.1.0", "fastexcel==0.21.0", "XlsxWriter==3.3.1"]
ROWMILL = ROOT / "target/release/rowmill"
MEASURE = ROOT / "target/release/examples/measure"

POLARS = """
import sys, polars
polars.read_excel(sys.argv[1]).write_ndjson(sys.argv[2])
"""

POLARS_CSV = """
import sys, polars
polars.read_csv(sys.argv[1]).write_ndjson(sys.argv[2])
"""

# argv: path, rows. Ten columns of texts, numbers, dates and booleans; every tenth text is quoted.
CSV = """
import datetime, sys
path, rows = sys.argv[1], int(sys.argv[2])
day = datetime.date(2020, 1, 1)
with open(path, "w", encoding="utf-8") as f:
    f.write("ID,Name,City,Note,Amount,Count,Share,Day,Active,Code\\n")
    for i in range(rows):
        note = f'"Größe {i}, quoted"' if i % 10 == 0 else f"note {i}"
        date = day + datetime.timedelta(days=i % 2000)
        f.write(f"{i:07},Name {i},Zürich,{note},{i * 0.25},{i},{i % 1000 / 1000},{date},{'true' if i % 2 else 'false'},C-{i % 97}\\n")
"""

# The cells of `measure read`, with SheetJS. argv: path, rows, and whether strings are shared.
SHEETJS = """
const xlsx = require("xlsx");
const [path, rows, shared] = process.argv.slice(1);
const cities = ["Zürich", "Łódź", "Berlin", "São Paulo", "東京"];
const text = (v) => ({ t: "s", v });
const number = (v, z) => ({ t: "n", v, z });
const cells = [Array.from({ length: 10 }, (_, c) => text(`Column ${c}`))];
for (let i = 0; i < Number(rows); i++) {
  cells.push([
    text(`C-${String(i).padStart(7, "0")}`), text(`Customer number ${i}`), text(cities[i % 5]), number(i),
    number(((i * 7919) % 1000003) / 100), number(i % 97), number(42005 + (i % 4000), "yyyy-mm-dd"),
    { t: "b", v: i % 3 === 0 }, text(String((i * 31) % 100000).padStart(5, "0")),
    text(`A note on record ${i}, with some words & more.`),
  ]);
}
cells["!ref"] = xlsx.utils.encode_range({ s: { r: 0, c: 0 }, e: { r: cells.length - 1, c: 9 } });
const book = xlsx.utils.book_new();
xlsx.utils.book_append_sheet(book, cells, "Data");
xlsx.writeFile(book, path, { bookType: "xlsb", bookSST: shared === "1", compression: true });
"""
SHEETJS_VERSION = "xlsx@0.18.5"

# The cells of `measure bare`, with shared strings. argv: path, rows, input columns, and whether result
# columns follow.
XLSXWRITER = """
import datetime, sys, xlsxwriter
path, rows, columns, result = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1"
book = xlsxwriter.Workbook(path)
sheet = book.add_worksheet()
day = book.add_format({"num_format": "yyyy-mm-dd"})
cities = ["Zürich", "Łódź", "Berlin", "São Paulo", "東京"]
first = datetime.datetime(2015, 1, 1)
for c in range(columns + 3 * result):
    sheet.write_string(0, c, f"Column {c}")
for i in range(rows):
    r = i + 1
    for c in range(0, columns, 10):
        sheet.write_string(r, c, f"C-{i:07}")
        sheet.write_string(r, c + 1, f"Customer number {i}")
        sheet.write_string(r, c + 2, cities[i % 5])
        sheet.write_number(r, c + 3, i)
        sheet.write_number(r, c + 4, i * 7919 % 1_000_003 / 100)
        sheet.write_number(r, c + 5, i % 97)
        sheet.write_datetime(r, c + 6, first + datetime.timedelta(days=i % 4000), day)
        sheet.write_boolean(r, c + 7, i % 3 == 0)
        sheet.write_string(r, c + 8, f"{i * 31 % 100_000:05}")
        sheet.write_string(r, c + 9, f"A note on record {i}, with some words & more.")
    if result:
        sheet.write_string(r, columns, "ok")
        sheet.write_number(r, columns + 2, 1)
book.close()
"""


def run(command):
    """CPU seconds, wall seconds, peak memory in MB."""
    start = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    wall = time.monotonic() - start
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024


def medians(runs, commands):
    taken = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            shutil.rmtree(chunks(command), ignore_errors=True)
            taken[name].append(run(command))
    return {name: [statistics.median(c) for c in zip(*figures)] for name, figures in taken.items()}


def chunks(command):
    """The output folder of a split, removed before each run."""
    return command[-1] if "split" in command else os.devnull


def ratio(figures, ours, theirs):
    names = ("cpu", "wall", "memory")
    return {n: round(a / b, 2) for n, a, b in zip(names, figures[ours], figures[theirs])}


def show(name, figures):
    print(json.dumps({name: figures}, ensure_ascii=False), flush=True)


def split(folder, path):
    return [ROWMILL, "split", path, "--out", folder / "chunks"]


def read(name, folder, path, python, runs):
    figures = medians(
        runs,
        {
            "split": split(folder, path),
            "events": [MEASURE, "events", path],
            "polars": [python, "-c", POLARS, path, folder / "polars.ndjson"],
        },
    )
    show(
        f"split, {name}",
        {
            "to inflate + XML events": ratio(figures, "split", "events"),
            "to polars read_excel + write_ndjson": ratio(figures, "split", "polars"),
            "memory of split, MB": round(figures["split"][2]),
        },
    )


def node_packages():
    """A folder with SheetJS."""
    folder = ROOT / "target/bench-workbook-node"
    if not (folder / "node_modules/xlsx").exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", SHEETJS_VERSION]
        subprocess.run(npm, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    return folder


def to_calamine(name, make, folder, rows, runs):
    """Compares reading with calamine, and memory at a tenth of the rows. `make` writes a workbook."""
    few, many = (folder / f"{n}-{name}" for n in ("few", "many"))
    make(few, rows // 10)
    make(many, rows)
    commands = {
        "ours": [MEASURE, "read", many],
        "calamine": [MEASURE, "calamine", many],
        "ours, few": [MEASURE, "read", few],
        "calamine, few": [MEASURE, "calamine", few],
    }
    figures = medians(runs, commands)
    memory = {f"{n} rows": round(figures[of][2], 1) for n, of in ((rows // 10, "ours, few"), (rows, "ours"))}
    show(
        f"{name}, {rows} x 10",
        {"to calamine": ratio(figures, "ours", "calamine"), "memory, MB": memory},
    )


def binary(folder, rows, runs):
    to_calamine("rows.xlsb", lambda path, n: run([MEASURE, "xlsb", n, path]), folder, rows, runs)
    packages = node_packages()
    # calamine reads a tenth of the cells of these, because it skips records without a column.
    for name, shared in (("SheetJS.xlsb", "0"), ("SheetJS-shared.xlsb", "1")):
        def make(path, n):
            node = ["node", "--max-old-space-size=8192", "-e", SHEETJS, path, str(n), shared]
            subprocess.run(node, cwd=packages, check=True)

        to_calamine(name, make, folder, rows, runs)


def csv(folder, rows, python, runs):
    text = folder / "rows.csv"
    run([python, "-c", CSV, text, rows])
    commands = {
        "split": split(folder, text),
        "polars": [python, "-c", POLARS_CSV, text, folder / "polars.ndjson"],
    }
    if xan := shutil.which("xan"):
        commands["xan"] = ["sh", "-c", f'"{xan}" to ndjson "{text}" > "{folder}/xan.ndjson"']
    figures = medians(runs, commands)
    shown = {
        "to polars read_csv + write_ndjson": ratio(figures, "split", "polars"),
        "memory of split, MB": round(figures["split"][2]),
    }
    if xan:
        shown["to xan to ndjson"] = ratio(figures, "split", "xan")
    show(f"split, csv, {rows} x 10", shown)


def write(folder, shared, rows, python, runs):
    job = folder / "job"
    job.mkdir()
    shutil.copy(shared, job / "input.xlsx")
    (job / "pipeline.toml").write_text("")
    run([ROWMILL, "run", job / "input.xlsx", "--out", folder / "out"])
    ours, bare = folder / "ours.xlsx", folder / "bare"
    figures = medians(
        runs,
        {
            "report": [ROWMILL, "report", folder / "out", "--out", ours],
            "bare 3": [MEASURE, "bare", rows, f"{bare}3.xlsx", 3],
            "bare 6": [MEASURE, "bare", rows, f"{bare}6.xlsx", 6],
            "xlsxwriter": [python, "-c", XLSXWRITER, f"{bare}.xlsx", rows, 10, 1],
        },
    )
    size = ours.stat().st_size
    show(
        "report from kept rows",
        {
            "to rust_xlsxwriter, constant memory, level 3 as ours": ratio(figures, "report", "bare 3"),
            "to rust_xlsxwriter, constant memory, level 6": ratio(figures, "report", "bare 6"),
            "to XlsxWriter": ratio(figures, "report", "xlsxwriter"),
            "file, to level 3": round(size / os.path.getsize(f"{bare}3.xlsx"), 3),
            "file, to level 6": round(size / os.path.getsize(f"{bare}6.xlsx"), 3),
            "memory of report, MB": round(figures["report"][2]),
        },
    )


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--large", action="store_true")
    kinds = ["xlsx", "xlsb", "ods", "csv"]
    options.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    options = options.parse_args()
    build = ["cargo", "build", "--release", "--quiet"]
    subprocess.run([*build, "-p", "rowmill"], cwd=ROOT, check=True)
    subprocess.run([*build, "-p", "rowmill-workbook", "--example", "measure"], cwd=ROOT, check=True)
    python, rows, runs = environment(ROOT / "target/bench-workbook-venv", "\n".join(PEERS)), options.rows, options.runs
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if "xlsb" in options.only:
            binary(folder, rows, runs)
        if "ods" in options.only:
            to_calamine("rows.ods", lambda path, n: run([MEASURE, "ods", n, path]), folder, rows, runs)
        if "csv" in options.only:
            csv(folder, 5 * rows, python, runs)
        if "xlsx" in options.only:
            xlsx(folder, rows, python, runs, options.large)


def xlsx(folder, rows, python, runs, large):
    shared, inline, wide = (folder / f"{n}.xlsx" for n in ("shared", "inline", "wide"))
    run([python, "-c", XLSXWRITER, shared, rows, 10, 0])
    run([python, "-c", XLSXWRITER, wide, rows // 20, 200, 0])
    run([MEASURE, "bare", rows, inline, 6])
    read(f"{rows} x 10, shared strings", folder, shared, python, runs)
    write(folder, shared, rows, python, runs)
    read(f"{rows} x 13, inline strings", folder, inline, python, runs)
    read(f"{rows // 20} x 200, shared strings", folder, wide, python, runs)
    sizes = [10_000, rows] + [1_000_000] * large
    books = {n: folder / f"rows-{n}.xlsx" for n in sizes}
    for n, path in books.items():
        run([MEASURE, "bare", n, path, 6])
    figures = medians(runs, {n: split(folder, path) for n, path in books.items()})
    least = figures[sizes[0]][0] / sizes[0]
    rates = {f"at {n}": round(figures[n][0] / n / least, 2) for n in sizes}
    show(f"split, CPU per row relative to {sizes[0]} rows", rates)
    show("split, memory by rows, MB", {n: round(figures[n][2]) for n in sizes})
    if large:
        read("1000000 x 13, inline strings", folder, books[1_000_000], python, runs)


if __name__ == "__main__":
    main()
