"""Runs a workbook of 200,000 x 10 with one derived column through all stages, durably, and compares
that with an analyst's script: read, add one column, write. Prints ratios from the same run.

    python3 benches/end_to_end.py [--rows N] [--runs N] [--pandas]

Builds rowmill in release mode and creates a venv under target/ with the peers. Memory is the largest
sum of resident memory over a process and its descendants, sampled every 20 ms; for rowmill that counts
pages shared by its processes more than once. Needs Linux.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/python"))
from environment import environment
PEERS = ["polars==2.1.0", "fastexcel==0.21.0", "XlsxWriter==3.3.1", "pandas==3.1.1", "openpyxl==3.1.5"]

MAKE = """
import sys, datetime, xlsxwriter
path, rows = sys.argv[1], int(sys.argv[2])
book = xlsxwriter.Workbook(path, {"constant_memory": False})
sheet = book.add_worksheet("Data")
day = book.add_format({"num_format": "yyyy-mm-dd"})
sheet.write_row(0, 0, ["ID", "Name", "City", "Amount", "Rate", "Since", "Count", "Note", "Code", "Flag"])
cities = ["Köln", "Paris", "São Paulo", "東京", "New York", "Łódź", "Oslo"]
for i in range(rows):
    sheet.write_string(i + 1, 0, f"{i:08}")
    sheet.write_string(i + 1, 1, f"Customer {i}")
    sheet.write_string(i + 1, 2, cities[i % 7])
    sheet.write_number(i + 1, 3, (i * 7919 % 1000003) / 100)
    sheet.write_number(i + 1, 4, (i % 97) / 97)
    sheet.write_number(i + 1, 5, 40000 + i % 5000, day)
    sheet.write_number(i + 1, 6, i % 1000)
    sheet.write_string(i + 1, 7, f"note {i % 5000} of some length")
    sheet.write_string(i + 1, 8, f"C-{i % 300}")
    sheet.write_boolean(i + 1, 9, i % 3 == 0)
book.close()
"""

POLARS = """
import sys, polars as pl
df = pl.read_excel(sys.argv[1])
df.with_columns((pl.col("Amount") * 2).alias("doubled")).write_excel(sys.argv[2])
"""

PANDAS = """
import sys, pandas as pd
df = pd.read_excel(sys.argv[1])
df["doubled"] = df["Amount"] * 2
df.to_excel(sys.argv[2], index=False)
"""

PIPELINE = """
[input]
types = { ID = "text" }

[[column]]
name = "doubled"
value = "row.Amount * 2"

[batch]
seconds_per_record = 0.0001
"""


def tree_rss(pid):
    """Resident bytes of a process and its descendants."""
    total, queue = 0, [pid]
    while queue:
        pid = queue.pop()
        try:
            with open(f"/proc/{pid}/statm") as f:
                total += int(f.read().split()[1]) * 4096
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as f:
                    queue += map(int, f.read().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def measure(command, before=lambda: None):
    before()
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], tree_rss(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    error = process.stderr.read()
    code = process.wait()
    wall = time.perf_counter() - start
    done.set()
    watcher.join()
    if code != 0:
        sys.exit(f"{command[0]} ended with {code}: {error.decode()}")
    return wall, peak[0] / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pandas", action="store_true", help="also compare with pandas, once; takes about a minute")
    args = parser.parse_args()

    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    rowmill = ROOT / "target/release/rowmill"
    python = environment(ROOT / "target/bench-venv", "\n".join(PEERS))

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        book = work / "data.xlsx"
        subprocess.run([python, "-c", MAKE, book, str(args.rows)], check=True)
        (work / "pipeline.toml").write_text(PIPELINE)
        out = work / "out"
        ours = [rowmill, "run", book, "--out", out]
        polars = [python, "-c", POLARS, book, work / "polars.xlsx"]

        def fresh():
            shutil.rmtree(out, ignore_errors=True)

        runs = []
        for i in range(args.runs):
            a, b = measure(ours, fresh), measure(polars)
            runs.append((a, b))
            print(f"run {i + 1}: wall {a[0] / b[0]:.2f} of polars, memory {a[1] / b[1]:.2f}", flush=True)
        walls = [a[0] / b[0] for a, b in runs]
        memory = [a[1] / b[1] for a, b in runs]
        own = [a[0] for a, _ in runs]
        print(f"\n{args.rows} x 10, {args.runs} alternating pairs, {os.cpu_count()} cores")
        print(f"wall, rowmill / polars: median {statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})")
        print(f"memory, rowmill / polars: median {statistics.median(memory):.2f} ({min(memory):.2f} to {max(memory):.2f})")
        print(f"noise: rowmill's slowest run took {max(own) / min(own):.2f} times its fastest")
        if args.pandas:
            a, b = measure(ours, fresh), measure([python, "-c", PANDAS, book, work / "pandas.xlsx"])
            print(f"wall, rowmill / pandas: {a[0] / b[0]:.2f} (one pair), memory {a[1] / b[1]:.2f}")


main()
