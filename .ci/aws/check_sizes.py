"""Checks limits.rs against AWS's own model of AWS Batch and its list of endpoints: the sizes of Fargate
against the text of ResourceRequirement, and the regions."""

import re
import sys

import botocore.session

from regions import supported
from template import ROOT

SESSION = botocore.session.get_session()
LIMITS = (ROOT / "shared/domain/src/limits.rs").read_text(encoding="utf-8")
# Every service that the stack uses, by its name in botocore.
SERVICES = (
    "apigatewayv2 batch cloudformation cloudwatch dynamodb ec2 ecr ecs events iam lambda logs s3 scheduler"
    " secretsmanager sesv2 sns sqs ssm"
).split()


def aws_sizes():
    """Pairs of vCPUs and MiB, once from the text about memory and once from the text about vCPUs."""
    model = SESSION.get_service_model("batch").shape_for("ResourceRequirement")
    text = re.sub(r"<[^>]+>", "", model.members["value"].documentation)
    memory, vcpu = text.split('type="MEMORY"')[1].split('type="VCPU"')

    def pairs(text, other):
        found = set()
        for part in re.split(r"value = ", text)[1:]:
            values, others = re.split(rf"{other}\s* = ", part, maxsplit=1)
            numbers = lambda text: re.findall(r"\d+(?:\.\d+)?", text)
            found |= {(float(a), float(b)) for a in numbers(values) for b in numbers(others)}
        return found

    return {(v, m) for m, v in pairs(memory, "VCPU")}, pairs(vcpu, "MEMORY")


def our_sizes():
    table = LIMITS.split("pub const FARGATE_SIZES", 1)[1].split("];", 1)[0].replace("_", "")
    sizes = set()
    for vcpu, kind, numbers in re.findall(r"\(([\d.]+), FargateMemory::(\w+)\(([^)]*)\)\)", table):
        numbers = [int(n) for n in re.findall(r"\d+", numbers)]
        if kind == "steps":
            least, most, step = numbers
            numbers = range(least, most + 1, step)
        sizes |= {(float(vcpu), float(mib)) for mib in numbers}
    return sizes


def our_regions(text):
    return set(re.findall(r"\b[a-z]{2}-[a-z]+-\d\b", text))


def with_all(services):
    return set.intersection(*(set(SESSION.get_available_regions(s)) for s in services))


def main():
    wrong = []
    ours = our_sizes()
    for theirs in aws_sizes():
        wrong += [f"Fargate offers {size}, limits.rs does not" for size in sorted(theirs - ours)]
        wrong += [f"limits.rs has {size}, Fargate does not" for size in sorted(ours - theirs)]

    regional = [s for s in SERVICES if SESSION.get_available_regions(s)]
    everywhere = with_all(s for s in regional if s != "iam")
    allowed = set(supported())
    wrong += [f"{region}: a service of the stack is missing" for region in sorted(allowed - everywhere)]
    translate = our_regions(LIMITS.split("AMAZON_TRANSLATE_REGIONS", 1)[1].split("];", 1)[0])
    there = with_all(["translate", "comprehend"])
    wrong += [f"{region}: Amazon Translate differs from limits.rs" for region in sorted(translate ^ there)]
    deploy = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    listed, of_translate = deploy.split("### Regions", 1)[1].split("A `translate` step", 1)
    of_translate = of_translate.split("\n\n", 1)[0]
    wrong += [f"{region}: docs/deploy.md and the template differ" for region in sorted(our_regions(listed) ^ allowed)]
    wrong += [f"{region}: docs/deploy.md and limits.rs differ" for region in sorted(our_regions(of_translate) ^ translate)]
    print("\n".join(wrong) or f"{len(ours)} sizes of Fargate, {len(allowed)} regions, {len(translate)} with Amazon Translate")
    return 1 if wrong or len(ours) < 70 or len(allowed) < 20 else 0


sys.exit(main())
