"""Measures how soon a cold function answers its first event: `split` as it is deployed, and a Python
function with boto3, pandas and openpyxl that reads the same workbook from the same S3 and writes its
rows back, once only that, and once with the other service calls that split makes. Prints ratios from
the same run.

    python3 benches/startup.py [--runs N] [--workbook FILE]

The time is from the start of the process to its answer to the first event, over a Runtime API in this
script, with ministack for S3, DynamoDB, SNS and Scheduler. The peer runs under AWS's runtime client
for Python (awslambdaric), with its modules compiled beforehand. Unlike split, neither Python function
profiles, checks or rejects rows. Every run has its own upload. Memory is peak resident memory.

Root certificates come from the machine's bundle (SSL_CERT_FILE), if it has one. Lambda's Amazon Linux
2023 has only a bundle; Debian also has one file per certificate, and a program that looks for
certificates reads them all.

Builds the functions (.ci/build-functions) and creates venvs under target/. Needs Linux.
"""

import argparse
import http.server
import json
import os
import pathlib
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/python"))
from environment import environment
PEERS = ["awslambdaric==4.2.2", "boto3==1.43.106", "pandas==3.1.1", "openpyxl==3.1.5"]
BUNDLE = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
REGION, ACCOUNT, STACK = "eu-central-1", "000000000000", "rowmill"
INBOX, WORK = "inbox", "work"

# What an analyst would deploy: reads the workbook, writes its rows and their count.
READS = '''
import io
import json

import boto3
import pandas

s3 = boto3.client("s3")


def read(event):
    record = event["Records"][0]["s3"]
    bucket, key = record["bucket"]["name"], record["object"]["key"]
    version = record["object"]["versionId"]
    body = s3.get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read()
    rows = pandas.read_excel(io.BytesIO(body))
    chunk = rows.to_json(orient="records", lines=True, date_format="iso")
    s3.put_object(Bucket="work", Key=f"runs/{version}/chunks/00000.json", Body=chunk.encode())
    return version, {"rows": len(rows), "columns": list(rows.columns)}


def write(version, manifest):
    body = json.dumps(manifest).encode()
    s3.put_object(Bucket="work", Key=f"runs/{version}/manifest.json", Body=body)


def handler(event, context):
    version, manifest = read(event)
    write(version, manifest)
    return manifest["rows"]
'''

# The same with the other calls that split makes: the run's claim, item, table, message and schedule,
# and the lookups of an earlier manifest and of a pipeline file.
DOES = '''
import json

import boto3
from reads import read, s3, write

dynamodb, sns, scheduler = (boto3.client(name) for name in ("dynamodb", "sns", "scheduler"))


def absent(key):
    try:
        s3.get_object(Bucket="work", Key=key)
    except s3.exceptions.NoSuchKey:
        return
    raise RuntimeError(key)


def update(version, item, value):
    dynamodb.update_item(
        TableName="rowmill-runs", Key={"pk": {"S": version}, "sk": {"S": item}},
        UpdateExpression="SET #v = :v", ExpressionAttributeNames={"#v": "value"},
        ExpressionAttributeValues={":v": {"S": value}},
    )


def handler(event, context):
    version = event["Records"][0]["s3"]["object"]["versionId"]
    topic = "arn:aws:sns:eu-central-1:000000000000:rowmill"
    message = json.dumps({"kind": "split", "run": version})
    update(version, "claim", context.aws_request_id)
    scheduler.create_schedule(
        GroupName="rowmill", Name=version, ScheduleExpression="at(2099-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"}, ActionAfterCompletion="DELETE",
        Target={"Arn": topic, "RoleArn": "arn:aws:iam::000000000000:role/schedule", "Input": message},
    )
    dynamodb.put_item(TableName="rowmill-runs", Item={"pk": {"S": "run"}, "sk": {"S": version}})
    absent(f"runs/{version}/manifest.json")
    absent("pipelines/reviews.toml")
    version, manifest = read(event)
    s3.put_object(Bucket="work", Key=f"runs/{version}/rejected.jsonl", Body=b"")
    table = f"rowmill-run-{version}"
    dynamodb.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "row", "AttributeType": "N"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "row", "KeyType": "RANGE"}],
    )
    dynamodb.get_waiter("table_exists").wait(TableName=table)
    write(version, manifest)
    update(version, "run", "running")
    sns.publish(TopicArn=topic, Message=message)
    update(version, "claim", "done")
    return manifest["rows"]
'''

# Run by an interpreter that has botocore; uploads several versions and prints their ids.
PREPARE = '''
import sys

import boto3

workbook, count = sys.argv[1], int(sys.argv[2])
s3 = boto3.client("s3")
for bucket in ("inbox", "work"):
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
s3.put_bucket_versioning(Bucket="inbox", VersioningConfiguration={"Status": "Enabled"})
boto3.client("dynamodb").create_table(
    TableName="rowmill-runs",
    BillingMode="PAY_PER_REQUEST",
    AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
)
boto3.client("sns").create_topic(Name="rowmill")
boto3.client("scheduler").create_schedule_group(Name="rowmill")
body = open(workbook, "rb").read()
for _ in range(count):
    print(s3.put_object(Bucket="inbox", Key="reviews/reviews.xlsx", Body=body)["VersionId"])
'''

CHECK = '''
import sys

import boto3

s3 = boto3.client("s3")
keys = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket="work") for o in p.get("Contents", [])]
print(sum(k.endswith("manifest.json") for k in keys), sum("/chunks/" in k for k in keys))
'''


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Runtime:
    """A Lambda Runtime API for one function at a time."""

    def __init__(self):
        self.events, self.answers = queue.Queue(), queue.Queue()
        runtime = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, headers=(), body=b""):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                event = runtime.events.get()
                if event is None:
                    self.answer(410)
                    return
                headers = [
                    ("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4())),
                    ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 900_000)),
                    ("Lambda-Runtime-Invoked-Function-Arn", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"),
                    ("Content-Type", "application/json"),
                ]
                self.answer(200, headers, json.dumps(event).encode())

            def do_POST(self):
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                runtime.answers.put((time.monotonic(), self.path, body))
                self.answer(202, body=b'{"status":"OK"}')

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A killed function breaks its connection.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def address(self):
        return f"127.0.0.1:{self.server.server_address[1]}"


def first_event(command, environment, event):
    """Seconds from the start of a process to its answer, and its peak resident memory in MiB."""
    runtime = Runtime()
    runtime.events.put(event)
    environment = environment | {"AWS_LAMBDA_RUNTIME_API": runtime.address()}
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        answered, path, body = runtime.answers.get(timeout=120)
    finally:
        process.kill()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        runtime.events.put(None)
        runtime.server.shutdown()
    if not path.endswith("/response"):
        sys.exit(f"{command[0]}: {path}: {body.decode()}\n{process.stderr.read().decode()}")
    return answered - started, usage.ru_maxrss / 1024


def s3_event(version, size):
    return {"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:bench"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "0", "x-amz-id-2": "0"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "bench",
            "bucket": {"name": INBOX, "ownerIdentity": {"principalId": "A"}, "arn": f"arn:aws:s3:::{INBOX}"},
            "object": {"key": "reviews/reviews.xlsx", "size": size, "eTag": "e", "versionId": version, "sequencer": "0"},
        },
    }]}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--workbook", type=pathlib.Path, default=ROOT / "examples/reviews/reviews.xlsx")
    options = options.parse_args()

    subprocess.run([ROOT / ".ci/build-functions"], check=True)
    ours = ROOT / "target/sam/build/SplitFunction/bootstrap"
    emulators = environment(ROOT / "target/emulator-venv", (ROOT / "tests/python/emulators.txt").read_text())
    python = environment(ROOT / "target/startup-venv", "\n".join(PEERS))

    port = free_port()
    base = {
        "PATH": os.environ["PATH"],
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "group",
        "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        log = open(folder / "ministack.log", "w")
        ministack = subprocess.Popen(
            [emulators.with_name("ministack")],
            env=base | {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_REGION": REGION, "HOME": str(folder)},
            cwd=folder, stdout=log, stderr=log,
        )
        try:
            measure(options, base, folder, ours, python)
        finally:
            ministack.terminate()
            ministack.wait()


def measure(options, base, folder, ours, python):
    for _ in range(600):
        try:
            urllib.request.urlopen(base["AWS_ENDPOINT_URL"] + "/_ministack/health", timeout=5)
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.05)
    # One extra round, not counted: it fills caches, and Python compiles its modules.
    pairs = options.runs + 1
    call = [python, "-c", PREPARE, options.workbook, str(3 * pairs)]
    versions = subprocess.run(call, env=base, check=True, capture_output=True, text=True).stdout.split()
    (folder / "reads.py").write_text(READS)
    (folder / "does.py").write_text(DOES)
    size = options.workbook.stat().st_size
    if BUNDLE.exists():
        base = base | {"SSL_CERT_FILE": str(BUNDLE)}
    sides = {
        "split": ([str(ours)], base | {
            "ROWMILL_STACK": STACK,
            "ROWMILL_WORK_BUCKET": WORK,
            "ROWMILL_LOG": "info",
            "ROWMILL_TOPIC": f"arn:aws:sns:{REGION}:{ACCOUNT}:rowmill",
            "ROWMILL_SCHEDULE_GROUP": STACK,
            "ROWMILL_SCHEDULE_ROLE": f"arn:aws:iam::{ACCOUNT}:role/schedule",
        }),
    } | {
        name: ([str(python), "-m", "awslambdaric", f"{module}.handler"], base | {
            "PYTHONPATH": str(folder),
            "LAMBDA_TASK_ROOT": str(folder),
        })
        for name, module in (("Python, reads only", "reads"), ("Python, all calls", "does"))
    }
    found = {name: [] for name in sides}
    for pair in range(pairs):
        for name, (command, environment) in sides.items():
            took = first_event(command, environment, s3_event(versions.pop(), size))
            if pair:
                found[name].append(took)
                print(f"{name}: {took[0] * 1000:.1f} ms, {took[1]:.1f} MiB", flush=True)
    written = subprocess.run([python, "-c", CHECK], env=base, check=True, capture_output=True, text=True).stdout
    if written.split() != [str(3 * pairs)] * 2:
        sys.exit(f"not every run wrote a manifest and a chunk: {written}")

    wall = {name: [w for w, _ in all] for name, all in found.items()}
    memory = {name: statistics.median(m for _, m in all) for name, all in found.items()}
    median = {name: statistics.median(all) for name, all in wall.items()}
    print(f"\nmedians of {options.runs} alternating rounds:")
    for name in sides:
        print(f"  {name}: {median[name] * 1000:.1f} ms ({min(wall[name]) * 1000:.1f} to {max(wall[name]) * 1000:.1f}), {memory[name]:.1f} MiB")
    for name in list(sides)[1:]:
        ratios = [p / s for p, s in zip(wall[name], wall["split"])]
        print(f"  {name}: split is {median[name] / median['split']:.1f} times as fast ({min(ratios):.1f} to {max(ratios):.1f}) and uses {memory['split'] / memory[name]:.2f} of the memory")


main()
