"""Matches the event rule and the subscription filters of the template against the events that AWS
documents, with AWS's own rule engine (event-ruler)."""

import copy
import json
import pathlib
import re
import subprocess
import sys

from event_ruler import test_event_pattern

from template import ACCOUNT, REGION, ROOT, VARIANTS, Stack

# Messages to the stage retention, which runs on one machine only so far.
LOCAL_KINDS = ["restore", "retain"]


def matches(event, pattern):
    answer = test_event_pattern(json.dumps(event), json.dumps(pattern))
    if isinstance(answer, tuple):
        answer, error = answer
        assert not error, error
    return bool(answer)


def batch_events(queue):
    """Batch's events as documented ("AWS Batch events for Amazon EventBridge"), each with whether the
    rule must match."""
    base = json.loads((ROOT / "events/batch-job-succeeded.json").read_text(encoding="utf-8"))

    def event(wanted, name, **detail):
        made = copy.deepcopy(base)
        made["detail"].pop("arrayProperties", None)
        made["detail"] |= {"jobQueue": queue} | detail
        return name, made, wanted

    array = {"size": 4, "statusSummary": {"SUCCEEDED": 3, "FAILED": 1}}
    for status in ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]:
        ended = status in ("SUCCEEDED", "FAILED")
        yield event(ended, f"job {status}", status=status)
        yield event(ended, f"array {status}", status=status, arrayProperties=array)
        for index in (0, 3):
            child = {"index": index, "statusSummary": {}}
            yield event(False, f"child {index} {status}", status=status, arrayProperties=child)
            yield event(False, f"child {index} {status}", status=status, arrayProperties={"index": index})
    for other in (queue + "-other", queue.replace("rowmill", "other"), queue.replace(ACCOUNT, "210987654321")):
        yield event(False, f"a job of {other}", status="FAILED", jobQueue=other)
    blocked = event(False, "queue blocked", status="RUNNABLE")[1]
    yield "queue blocked", blocked | {"detail-type": "Batch Job Queue Blocked"}, False
    definition = event(False, "of another service", status="FAILED")[1]
    yield "of another service", definition | {"source": "aws.ecs"}, False


def mail_events():
    """SES's events as documented ("Examples of event data that Amazon SES publishes to Amazon SNS"), and
    an alarm of CloudWatch, which arrives at the same topic."""
    bounce = json.loads((ROOT / "events/sns-bounce.json").read_text(encoding="utf-8"))
    bounce = json.loads(bounce["Records"][0]["Sns"]["Message"])
    for kind in ["Bounce", "Complaint", "Delivery", "Send", "Reject", "Open", "Click", "DeliveryDelay"]:
        yield bounce | {"eventType": kind}
    yield {"AlarmName": "rowmill-failed-runs", "NewStateValue": "ALARM", "Region": REGION, "Trigger": {}}


def fixtures():
    """The JSON fixtures of the crate aws_lambda_events."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked"], cwd=ROOT, check=True, capture_output=True
    )
    packages = json.loads(metadata.stdout)["packages"]
    crate = next(p for p in packages if p["name"] == "aws_lambda_events")
    folder = pathlib.Path(crate["manifest_path"]).parent / "src/fixtures"
    for path in sorted(folder.glob("*.json")):
        yield path.name, json.loads(path.read_text(encoding="utf-8"))


def messages(payload):
    """The messages in an event of SNS."""
    for record in payload.get("Records", []) if isinstance(payload, dict) else []:
        message = (record.get("Sns") or {}).get("Message", "")
        if message.startswith("{"):
            yield json.loads(message)


def main():
    wrong, tried = [], 0
    foreign = list(fixtures())
    for variant, parameters in VARIANTS.items():
        stack = Stack(parameters)
        rules = stack.of_type("AWS::Events::Rule")
        for queue in stack.of_type("AWS::Batch::JobQueue"):
            for name, event, wanted in batch_events(stack.arn(queue)):
                found = [rule for rule, p in rules.items() if matches(event, p["EventPattern"])]
                tried += 1
                if found != (["JobsEndedRule"] if wanted else []):
                    wrong.append(f"{variant}, {queue}: {name} is matched by {found}")
        for name, event in foreign:
            tried += 1
            wrong += [f"{name} is matched by {r}" for r, p in rules.items() if matches(event, p["EventPattern"])]

        subscriptions = {
            name: p for name, p in stack.of_type("AWS::SNS::Subscription").items() if "FilterPolicy" in p
        }
        wrong += [f"{n} filters attributes" for n, p in subscriptions.items() if p["FilterPolicyScope"] != "MessageBody"]

        def receivers(message, topic):
            chosen = {n: p for n, p in subscriptions.items() if p["TopicArn"] == stack.arn(topic)}
            return [n for n, p in chosen.items() if matches(message, p["FilterPolicy"])]

        source = (ROOT / "shared/domain/src/message.rs").read_text(encoding="utf-8")
        kinds = re.findall(r'"(\w+)"', re.search(r"KINDS[^=]*=\s*\[([^]]*)\]", source)[1])
        for kind in kinds + ["other"]:
            tried += 1
            found = receivers({"kind": kind, "run": "20261121-reviews-0a1b2c3d4e5f"}, "Topic")
            if len(found) != (kind in kinds and kind not in LOCAL_KINDS):
                wrong.append(f"a message of kind {kind} goes to {found}")
        for event in mail_events():
            tried += 1
            found = receivers(event, "OperatorTopic")
            if found != (["BounceSubscription"] if event.get("eventType") == "Bounce" else []):
                wrong.append(f"{event.get('eventType', 'an alarm')} goes to {found}")
        for name, payload in foreign + [
            (p.name, json.loads(p.read_text(encoding="utf-8"))) for p in sorted((ROOT / "events").glob("sns-*.json"))
        ]:
            for message in messages(payload):
                tried += 1
                ours = "kind" in message or message.get("eventType") == "Bounce"
                found = receivers(message, "Topic") + receivers(message, "OperatorTopic")
                if len(found) != ours:
                    wrong.append(f"the message in {name} goes to {found}")
    print("\n".join(wrong) or f"{tried} events go where they should")
    return 1 if wrong or tried < 100 else 0


sys.exit(main())
