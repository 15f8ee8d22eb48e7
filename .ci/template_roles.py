"""Checks that each role in the template may access the keys of the work bucket that its stage uses, and
that the metric filters and the code agree on log messages."""

import pathlib
import re
import sys

from samcli.yamlhelper import yaml_parse

READ, WRITE, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
# From the callers of rowmill_domain::keys, and for programs from what fetches them.
TOUCHED = {
    "SplitRole": {READ: {"pipelines/", "runs/"}, WRITE: {"runs/"}},
    "SubmitRole": {READ: {"runs/"}},
    # For a run without a manifest, the recipients are in the pipeline.
    "ReportRole": {READ: {"pipelines/", "results/", "runs/"}, WRITE: {"results/"}},
    "CleanupRole": {DELETE: {"runs/"}},
    "ApiRole": {
        READ: {"exports/", "pipelines/", "results/", "runs/", "uploads/"},
        WRITE: {"exports/", "uploads/"},
        DELETE: {"exports/", "results/"},
    },
    "EnrichRole": {READ: {"pipelines/", "programs/"}},
    "JobRole": {READ: {"programs/", "runs/"}},
}


def listed(value):
    return value if isinstance(value, list) else [value]


def allowed(role: dict) -> dict[str, set[str]]:
    """The prefixes of the work bucket, by action."""
    found = {}
    for policy in role["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            for resource in listed(statement.get("Resource", [])):
                path = resource.get("Fn::Sub") if isinstance(resource, dict) else resource
                key = re.fullmatch(r"\$\{WorkBucket\.Arn\}/(.*)\*", path) if isinstance(path, str) else None
                for action in listed(statement["Action"]) if key else []:
                    if action in (READ, WRITE, DELETE):
                        found.setdefault(action, set()).add(key[1])
    return found


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    resources = yaml_parse((root / "template.yaml").read_text(encoding="utf-8"))["Resources"]
    wrong = []
    for role, wanted in TOUCHED.items():
        given = allowed(resources[role])
        for action in (READ, WRITE, DELETE):
            touched, may = wanted.get(action, set()), given.get(action, set())
            wrong += [f"{role}: the code needs {action} on {key}, which is not allowed" for key in sorted(touched - may)]

    code = "".join(path.read_text(encoding="utf-8") for path in root.glob("functions/*/src/**/*.rs"))
    filters = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::Logs::MetricFilter"]
    messages = {m for f in filters for m in re.findall(r'message = "([^"]+)"', f["FilterPattern"])}
    wrong += [f"no function logs {m!r}, which a metric filter counts" for m in sorted(messages) if f'"{m}"' not in code]
    # The messages that cleanup logs about what it finds.
    logged = set(re.findall(r'\?finding, "([^"]+)"', code))
    wrong += [f"no metric filter counts {m!r}" for m in sorted(logged - messages)]
    print("\n".join(wrong) if wrong else f"{len(TOUCHED)} roles, {len(messages)} messages as in the code")
    return 1 if wrong or not logged else 0


sys.exit(main())
