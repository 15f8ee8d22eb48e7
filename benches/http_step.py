"""Requests small JSON and extracts one field, with an `http` step, aiohttp and Scrapy, one core each
and the same number of requests at once. Then measures throughput from a source that takes 200 ms,
relative to the ideal. Prints ratios from the same run.

    python3 benches/http_step.py [--requests N] [--at-once N] [--runs N]

The time of Rowmill is that of the whole program: workbook in, one request per row, outcomes stored
durably, workbook and mail out. The time of the peers is from the first request to the last response,
as the source sees it, with everything in memory and nothing stored; the output says where Rowmill is
measured that way too. The source is our own (shared/steps/benches/http.rs), on the other core; its
load is printed to show that it is not the bottleneck. Rounds alternate.

Builds rowmill and the source in release mode and creates a venv under target/. Needs Linux and two
cores.
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
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/python"))
from environment import environment
PEERS = ["aiohttp==3.14.5", "uvloop==0.23.0", "Scrapy==2.19.0", "XlsxWriter==3.3.1"]
# Scrapy makes one in this many of the requests, which already takes seconds.
SCRAPY_SHARE = 20
# For the slow source: requests at once, and rounds.
SLOW = [(64, 50), (256, 39)]
LATENCY = 0.2

MAKE = """
import sys, xlsxwriter
book = xlsxwriter.Workbook(sys.argv[1], {"constant_memory": True})
sheet = book.add_worksheet()
sheet.write_string(0, 0, "ID")
for i in range(int(sys.argv[2])):
    sheet.write_string(i + 1, 0, f"{i:07}")
book.close()
"""

PIPELINE = """
[[step]]
kind = "http"
url = "{address}/{ms}/{{{{ row.ID }}}}"
allow_hosts = ["127.0.0.1"]
outputs = {{ due = {{ json = "$.due", type = "number" }} }}

[batch]
concurrency = {at_once}
seconds_per_record = 0.0001
"""

AIOHTTP = """
import asyncio, json, sys, aiohttp

async def main(address, requests, at_once):
    ids, due = iter(range(requests)), {}

    async def work(session):
        for i in ids:
            async with session.get(f"{address}/0/{i:07}") as response:
                due[i] = json.loads(await response.read())["due"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:
        await asyncio.gather(*(work(session) for _ in range(at_once)))
    assert len(due) == requests and set(due.values()) == {812.5}

run = asyncio.run
if sys.argv[4:]:
    import uvloop
    run = uvloop.run
run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""

SCRAPY = """
import sys, scrapy
from scrapy.crawler import CrawlerProcess

address, requests, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
due = {}

class Spider(scrapy.Spider):
    name = "spider"
    custom_settings = {
        "CONCURRENT_REQUESTS": at_once,
        "CONCURRENT_REQUESTS_PER_DOMAIN": at_once,
        "DOWNLOAD_DELAY": 0,
        "AUTOTHROTTLE_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "COOKIES_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "LOG_LEVEL": "ERROR",
    }

    async def start(self):
        for i in range(requests):
            yield scrapy.Request(f"{address}/0/{i:07}", dont_filter=True, cb_kwargs={"i": i})

    def parse(self, response, i):
        due[i] = response.json()["due"]

process = CrawlerProcess()
process.crawl(Spider)
process.start()
assert len(due) == requests and set(due.values()) == {812.5}
"""


def built():
    """Builds the program and the source; returns their paths."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    bench = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "rowmill-steps", "--bench", "http"]
    made = subprocess.run([*bench, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    for line in made.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "http":
            return ROOT / "target/release/rowmill", message["executable"]
    sys.exit("cargo names no executable of the bench")


def on_core(core, command):
    return ["taskset", "--cpu-list", str(core), *(str(c) for c in command)]


class Source:
    """The source, on its own core."""

    def __init__(self, program, core):
        self.process = subprocess.Popen(on_core(core, [program, "serve"]), stdout=subprocess.PIPE, text=True)
        self.address = f"http://{self.process.stdout.readline().strip()}"

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def figures(self):
        with urllib.request.urlopen(f"{self.address}/figures") as answer:
            return json.load(answer)

    def measured(self, command, requests):
        """Runs a client. Returns its wall time, the seconds from the first request to the last
        response, and how busy the source was in that time."""
        self.figures()
        cpu, start = self.cpu(), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, cpu = time.monotonic() - start, self.cpu() - cpu
        seen = self.figures()
        if seen["requests"] != requests:
            sys.exit(f"the source received {seen['requests']} requests, not {requests}: {command}")
        return wall, seen["seconds"], cpu / seen["seconds"]


class Rowmill:
    """Runs `rowmill run` on a workbook with `requests` rows, `at_once` requests at once."""

    def __init__(self, folder, rowmill, python, core):
        self.folder, self.rowmill, self.python, self.core = folder, rowmill, python, core

    def measured(self, source, requests, at_once, latency=0.0):
        job, out = self.folder / f"job-{requests}-{at_once}", self.folder / "out"
        if not job.exists():
            job.mkdir()
            subprocess.run([self.python, "-c", MAKE, job / "rows.xlsx", str(requests)], check=True)
        text = PIPELINE.format(address=source.address, ms=round(latency * 1000), at_once=at_once)
        (job / "pipeline.toml").write_text(text)
        shutil.rmtree(out, ignore_errors=True)
        # One child at a time, so that it has the core to itself.
        run = [self.rowmill, "run", job / "rows.xlsx", "--out", out, "--slots", "1", "--json"]
        return source.measured(on_core(self.core, run), requests)


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=30_000)
    options.add_argument("--at-once", type=int, default=64)
    options.add_argument("--runs", type=int, default=5)
    options = options.parse_args()

    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("it needs two cores: one for the source, one for its clients")
    (rowmill, bench), python = built(), environment(ROOT / "target/bench-http-venv", "\n".join(PEERS))
    with tempfile.TemporaryDirectory() as folder:
        source = Source(bench, cores[0])
        try:
            ours = Rowmill(pathlib.Path(folder), rowmill, python, cores[1])
            fast(source, ours, python, cores[1], options)
            slow(source, ours, options)
        finally:
            source.process.kill()
            source.process.wait()


def fast(source, ours, python, core, options):
    at_once = str(options.at_once)

    def peer(program, requests, *more):
        command = [python, "-c", program, source.address, requests, at_once, *more]
        _, seconds, busy = source.measured(on_core(core, command), requests)
        return requests / seconds, busy

    rates = {name: [] for name in ("whole", "seen", "aiohttp", "aiohttp with uvloop", "Scrapy")}
    busiest = 0.0
    # One extra round, not counted: it fills caches, and Python compiles its modules.
    for run in range(options.runs + 1):
        wall, seconds, busy = ours.measured(source, options.requests, options.at_once)
        found = {"whole": options.requests / wall, "seen": options.requests / seconds}
        busiest = max(busiest, busy)
        found["aiohttp"], busy = peer(AIOHTTP, options.requests)
        found["aiohttp with uvloop"], more = peer(AIOHTTP, options.requests, "uvloop")
        found["Scrapy"], _ = peer(SCRAPY, options.requests // SCRAPY_SHARE)
        busiest = max(busiest, busy, more)
        if run:
            for name, rate in found.items():
                rates[name].append(rate)
            rates_text = ", ".join(f"{name} {rate:.0f}" for name, rate in found.items())
            print(f"run {run}, requests per second: {rates_text}", flush=True)
    print(f"\n{options.requests} requests, {at_once} at once, one core each, {options.runs} alternating rounds")
    for side, name in (("whole", "rowmill, the whole program"), ("seen", "rowmill, as the source sees it")):
        for theirs in ("aiohttp", "aiohttp with uvloop", "Scrapy"):
            ratios = [a / b for a, b in zip(rates[side], rates[theirs])]
            print(f"{name}, to {theirs}: {spread(ratios)}")
    print(f"noise, fastest run / slowest run: {', '.join(f'{n} {max(r) / min(r):.2f}' for n, r in rates.items())}")
    print(f"the source was busy for at most {busiest:.2f} of the time")


def slow(source, ours, options):
    print(f"\na source that takes {LATENCY * 1000:.0f} ms: throughput relative to the ideal")
    for at_once, rounds in SLOW:
        seen, whole = [], []
        for _ in range(options.runs):
            wall, seconds, _ = ours.measured(source, at_once * rounds, at_once, LATENCY)
            seen.append(rounds * LATENCY / seconds)
            whole.append(rounds * LATENCY / wall)
        print(f"{at_once} at once, {rounds} rounds: measured by the source {spread(seen)}, the whole program {spread(whole)}", flush=True)


if __name__ == "__main__":
    main()
