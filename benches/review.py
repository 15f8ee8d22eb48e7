"""Pages, filters, counts and exports of a run under review, through `rowmill serve`.

    python3 benches/review.py [ROWS] [BINARY]

Prints the time of each request, from Python on the same machine, in milliseconds: the median, the
99th percentile and the longest.
"""

import csv
import json
import pathlib
import random
import sys
import tempfile
import time

from serving import ROOT, Server

PIPELINE = """
[[step]]
kind = "sentiment"
column = "text"
[[review]]
column = "sa_class"
"""
WORDS = "good bad late parcel love hate broken fine invoice refund great slow box lamp ok".split()


def measure(name: str, times: int, call) -> None:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    print(f"{name:44} {took[len(took) // 2]:8.1f} {took[len(took) * 99 // 100]:8.1f} {took[-1]:8.1f}", flush=True)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    binary = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "target/release/rowmill")
    random.seed(1)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "reviews.toml").write_text(PIPELINE)
        with open(folder / "data.csv", "w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["id", "text"])
            for row in range(rows):
                lines.writerow([row, " ".join(random.choices(WORDS, k=12))])
        with Server(binary, folder) as server:
            began = time.perf_counter()
            run = server.finished_run(folder / "data.csv", "reviews")
            base = f"/runs/{run}"
            print(f"run of {rows:,} rows: {time.perf_counter() - began:.1f} s")
            before = server.peak_mib()
            print(f"{'milliseconds':44} {'median':>8} {'p99':>8} {'longest':>8}")
            measure("first page, which reads the index", 1, lambda: server.get(f"{base}/rows"))

            cursor = [""]

            def next_page() -> None:
                page = server.get(f"{base}/rows?limit=50{cursor[0]}")
                cursor[0] = f"&after={page['next']}" if page["next"] else ""

            measure("page of 50 rows", 300, next_page)
            measure("page in the order of rows", 300, lambda: server.get(f"{base}/rows?sort=row&after={random.randint(2, rows)}"))
            measure("page of a label", 300, lambda: server.get(f"{base}/rows?label=negative"))
            measure("page with counts", 100, lambda: server.get(f"{base}/rows?facets=true&status=ok"))
            row = iter(range(2, rows))
            measure("verdict", 200, lambda: server.call("POST", f"{base}/rows/{next(row)}/approve", {"version": 0}))

            def batch() -> None:
                verdicts = [{"row": next(row), "verdict": "approve", "version": 0} for _ in range(100)]
                results = json.loads(server.call("POST", f"{base}/reviews", {"verdicts": verdicts}))["results"]
                assert all(result["problem"] is None for result in results)

            measure("100 verdicts", 20, batch)
            measure("page of open rows with counts", 100, lambda: server.get(f"{base}/rows?facets=true&verdict=open"))
            given = []
            ask = {"filter": {"verdict": "open"}, "verdict": "approve"}
            measure("verdict on all open rows", 1, lambda: given.append(json.loads(server.call("POST", f"{base}/reviews/filter", ask))))
            print(f"  rows: {given[0]['count']:,}")
            measure("page of approved rows with counts", 100, lambda: server.get(f"{base}/rows?facets=true&verdict=approved"))
            measure("undo of the verdict on all rows", 1, lambda: server.call("DELETE", f"{base}/reviews/filter/{given[0]['filter_verdict']}"))
            grown = []
            for format in ["csv", "jsonl", "xlsx"]:
                start = server.reset_peak()
                measure(f"export of all rows as {format}", 1, lambda: server.read(f"{base}/export.{format}?rows=all"))
                grown.append(server.peak_mib() - start)
            print(f"memory that an export adds: {max(grown):.0f} MiB at most (csv, jsonl, xlsx: {grown[0]:.0f}, {grown[1]:.0f}, {grown[2]:.0f})")
            assert max(grown) < 64, "an export may take 64 MiB"
            print(f"peak memory of the server: {before:.0f} MiB after the run, {server.peak_mib():.0f} MiB in the exports")


main()
