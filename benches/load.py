"""Many people at once on `rowmill serve`.

    python3 benches/load.py [BINARY]

Two profiles: 100 users who arrive at 5 per second, and 200 who arrive at 20 per second. Each looks at the
runs, at one run, at its rows and their counts, labels a text, and approves rows, with a pause of 1 to 2
seconds after each request, until everybody has been there for 20 seconds. All are in this process, on the
same machine as the server. Fails after an error, or if the 99th percentile is 100 ms or more.
"""

import asyncio
import csv
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from serving import ROOT, Server

PIPELINE = """
[[step]]
kind = "classify"
column = "message"
model = "topics.model"
[[review]]
column = "label"
"""
PROFILES = [(100, 5), (200, 20)]
STAY = 20
ROWS = 20_000


class User:
    def __init__(self, server: Server, run: str, texts: list[str], first_row: int) -> None:
        self.server, self.run, self.texts, self.row = server, run, texts, first_row
        self.took: list[tuple[float, str]] = []

    async def stay(self, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.server.port))
        actions = [self.runs, self.show, self.rows, self.counts, self.predict, self.approve]
        while time.perf_counter() < until:
            name, method, path, body = random.choice(actions)()
            began = time.perf_counter()
            status, content = await self.call(reader, writer, method, path, body)
            self.took.append((time.perf_counter() - began, name))
            assert status < 300, (method, path, status, content[:500])
            await asyncio.sleep(random.uniform(1, 2))
        writer.close()

    async def call(self, reader, writer, method: str, path: str, body) -> tuple[int, bytes]:
        content = json.dumps(body).encode() if body is not None else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\nAuthorization: Bearer {self.server.token}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        writer.write(head.encode() + b"\r\n" + content)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), await reader.readexactly(int(headers["content-length"]))

    def runs(self):
        return "runs", "GET", "/runs", None

    def show(self):
        return "a run", "GET", f"/runs/{self.run}", None

    def rows(self):
        return "rows", "GET", f"/runs/{self.run}/rows?limit=50&sort=row&after={random.randint(2, ROWS)}", None

    def counts(self):
        return "counts", "GET", f"/runs/{self.run}/rows?facets=true&verdict=open", None

    def predict(self):
        return "a text", "POST", "/predict", {"pipeline": "topics", "text": random.choice(self.texts)}

    def approve(self):
        self.row += 1
        return "a verdict", "POST", f"/runs/{self.run}/rows/{self.row}/approve", {"version": 0}


async def profile(server: Server, run: str, texts: list[str], first: int, users: int, rate: int) -> None:
    began = time.perf_counter()
    until = began + users / rate + STAY
    everybody = [User(server, run, texts, first + 40 * number) for number in range(users)]

    async def arrive(number: int, user: User) -> None:
        await asyncio.sleep(number / rate)
        await user.stay(until)

    await asyncio.gather(*(arrive(*pair) for pair in enumerate(everybody)))
    took = sorted(one for user in everybody for one in user.took)
    p99 = took[len(took) * 99 // 100][0] * 1000
    seconds = time.perf_counter() - began
    print(
        f"{users} users at {rate}/s: {len(took):,} requests in {seconds:.0f} s, no error; "
        f"median {took[len(took) // 2][0] * 1000:.1f} ms, p99 {p99:.1f} ms, longest {took[-1][0] * 1000:.1f} ms ({took[-1][1]})",
        flush=True,
    )
    assert p99 < 100, "the 99th percentile must be below 100 ms"


def main() -> None:
    binary = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/rowmill")
    random.seed(1)
    labeled = ROOT / "examples/complaints/labelled.csv"
    texts = [line["message"] for line in csv.DictReader(open(labeled, encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "topics.toml").write_text(PIPELINE)
        train = [binary, "train", labeled, "--text", "message", "--label", "topic", "--out", folder / "topics.model"]
        subprocess.run(train, check=True, capture_output=True)
        with open(folder / "data.csv", "w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["id", "message"])
            lines.writerows([row, random.choice(texts)] for row in range(ROWS))
        with Server(binary, folder) as server:
            run = server.finished_run(folder / "data.csv", "topics")
            for number, (users, rate) in enumerate(PROFILES):
                asyncio.run(profile(server, run, texts, 2 + 8000 * number, users, rate))


main()
