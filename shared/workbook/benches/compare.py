"""Reading and writing beside their peers, in the same run; prints ratios only.

    python benches/compare.py path/to/measure [ROWS]

`measure` is the example of that name, built in release. Needs polars, fastexcel and XlsxWriter.
Each figure is the median of 5 runs of a process of its own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEASURE = sys.argv[1]
ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
RUNS = 5

POLARS = "import polars; polars.read_excel({0!r}).write_ndjson({0!r} + '.ndjson')"
XLSXWRITER = """
import datetime, xlsxwriter
book = xlsxwriter.Workbook({0!r})
sheet = book.add_worksheet()
day = book.add_format({{"num_format": "yyyy-mm-dd"}})
cities = ["Zürich", "Łódź", "Berlin", "São Paulo", "東京"]
first = datetime.datetime(2015, 1, 1)
for c in range(13):
    sheet.write_string(0, c, f"Column {{c}}")
for i in range({1}):
    r = i + 1
    sheet.write_string(r, 0, f"C-{{i:07}}")
    sheet.write_string(r, 1, f"Customer number {{i}}")
    sheet.write_string(r, 2, cities[i % 5])
    sheet.write_number(r, 3, i)
    sheet.write_number(r, 4, i * 7919 % 1_000_003 / 100)
    sheet.write_number(r, 5, i % 97)
    sheet.write_datetime(r, 6, first + datetime.timedelta(days=i % 4000), day)
    sheet.write_boolean(r, 7, i % 3 == 0)
    sheet.write_string(r, 8, f"{{i * 31 % 100_000:05}}")
    sheet.write_string(r, 9, f"A note on record {{i}}, with some words & more.")
    sheet.write_string(r, 10, "ok")
    sheet.write_number(r, 12, 1)
book.close()
"""


def run(command):
    """CPU seconds, wall seconds, peak memory in MB."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    wall = time.monotonic() - start
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024


def medians(commands):
    """Medians per command; runs alternate, so that a busy moment strikes all of them."""
    runs = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            runs[name].append(run(command))
    return {name: [statistics.median(c) for c in zip(*figures)] for name, figures in runs.items()}


def ratio(figures, ours, theirs):
    names = ("cpu", "wall", "memory")
    pairs = zip(names, figures[ours], figures[theirs])
    return {name: round(a / b, 2) for name, a, b in pairs}


def python(code):
    return [sys.executable, "-c", code]


def main():
    with tempfile.TemporaryDirectory() as directory:
        shared, inline, ours, bare = (str(Path(directory) / f"{n}.xlsx") for n in "siob")
        subprocess.run(python(XLSXWRITER.format(shared, ROWS)), check=True)
        run([MEASURE, "bare", str(ROWS), inline, "6"])
        result = {}
        for name, path in (("shared strings", shared), ("inline strings", inline)):
            figures = medians(
                {
                    "read": [MEASURE, "read", path],
                    "events": [MEASURE, "events", path],
                    "polars": python(POLARS.format(path)),
                }
            )
            result[f"read, {name}"] = {
                "to inflate + quick-xml events": ratio(figures, "read", "events"),
                "to polars read_excel + ndjson": ratio(figures, "read", "polars"),
            }
        figures = medians(
            {
                "write": [MEASURE, "write", str(ROWS), ours],
                "bare 3": [MEASURE, "bare", str(ROWS), bare + "3", "3"],
                "bare 6": [MEASURE, "bare", str(ROWS), bare + "6", "6"],
                "xlsxwriter": python(XLSXWRITER.format(bare, ROWS)),
            }
        )
        size = os.path.getsize(ours)
        result["write"] = {
            "to rust_xlsxwriter at the same level": ratio(figures, "write", "bare 3"),
            "to rust_xlsxwriter at its level 6": ratio(figures, "write", "bare 6"),
            "to XlsxWriter": ratio(figures, "write", "xlsxwriter"),
            "file, to the same level": round(size / os.path.getsize(bare + "3"), 3),
            "file, to level 6": round(size / os.path.getsize(bare + "6"), 3),
        }
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
