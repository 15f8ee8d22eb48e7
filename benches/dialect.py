"""Detects the delimiter of generated files of many kinds with Rowmill, CleverCSV and duckdb's sniffer.

    python3 benches/dialect.py [--seed N] [--per-kind N]

The files are those of shared/workbook/tests/dialect; the default seed is the one of the test, with which
no weight was chosen. A file of one column counts as right for CleverCSV if it finds no delimiter, and
for duckdb if it finds one column. Prints a Markdown table of the share of right delimiters per kind, and
how many kinds are below 95 %. Creates a venv under target/.
"""

import argparse
import collections
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/python"))
from environment import environment
PEERS = ["clevercsv==0.8.5", "duckdb==2.0.1"]

# Runs in the venv. Prints a line of JSON for each file: the delimiters found, "none" for one column, and
# null for an error or after 30 s.
DETECT = """
import json, pathlib, signal, sys
import clevercsv, duckdb

def stop(*_):
    raise TimeoutError

signal.signal(signal.SIGALRM, stop)
names = {"\\t": "tab", " ": "space", "": "none", None: "none"}
folder = pathlib.Path(sys.argv[1])
base = duckdb.connect()
for line in open(folder / "labels.tsv", encoding="utf-8"):
    path = folder / line.split("\\t")[0]
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    signal.alarm(30)
    try:
        dialect = clevercsv.detect.Detector().detect(text)
        clever = None if dialect is None else names.get(dialect.delimiter, dialect.delimiter)
        if dialect is None:
            clever = "none"
    except Exception:
        clever = None
    finally:
        signal.alarm(0)
    try:
        query = "SELECT delimiter, len(columns) FROM sniff_csv(?)"
        delimiter, columns = base.execute(query, [str(path)]).fetchone()
        duck = "none" if columns == 1 else names.get(delimiter, delimiter)
    except Exception:
        duck = None
    print(json.dumps([clever, duck]), flush=True)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=20261128)
    parser.add_argument("--per-kind", type=int, default=30)
    options = parser.parse_args()
    python = environment(ROOT / "target/dialect", "\n".join(PEERS) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        command = ["cargo", "run", "--quiet", "--locked", "--package", "rowmill-workbook", "--example", "dialect-corpus"]
        subprocess.run([*command, "--", folder, str(options.seed), str(options.per_kind)], cwd=ROOT, check=True)
        labels = pathlib.Path(folder, "labels.tsv").read_text(encoding="utf-8").splitlines()
        run = subprocess.run([python, "-c", DETECT, folder], check=True, capture_output=True, text=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == len(labels), run.stderr

    right = collections.defaultdict(lambda: [0, 0, 0, 0])
    for line, (clever, duck) in zip(labels, found):
        _, kind, delimiter, ours = line.split("\t")
        for key in kind, "all":
            counts = right[key]
            counts[0] += 1
            for at, result in enumerate((ours, clever, duck), start=1):
                counts[at] += result == delimiter
    print(f"{datetime.date.today()}, {', '.join(PEERS)}, seed {options.seed}, {options.per_kind} files of each kind\n")
    print("| kind | Rowmill | CleverCSV | duckdb |\n|---|---|---|---|")
    for kind, (count, *scores) in right.items():
        if kind != "all":
            print(f"| {kind} | " + " | ".join(f"{score / count:.2f}" for score in scores) + " |")
    count, *scores = right.pop("all")
    print("| all | " + " | ".join(f"{score / count:.3f}" for score in scores) + " |")
    below = [sum(counts[at] < 0.95 * counts[0] for counts in right.values()) for at in (1, 2, 3)]
    print("| kinds below 0.95 | " + " | ".join(map(str, below)) + f" |\n\n{len(right)} kinds")


if __name__ == "__main__":
    main()
