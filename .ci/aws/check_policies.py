"""Checks the policies of the template: with parliament, and by simulating every recorded call, and every
call that AWS makes with one of the stack's roles, against the policies of its role (iam-simulate). No call
may be denied, and each statement must be used; `rare` lists the calls that no test records."""

import collections
import copy
import json
import pathlib
import re
import subprocess
import sys

import parliament

import recorded
from template import ACCOUNT, REGION, ROOT, STACK, VARIANTS, Stack

SIMULATE = pathlib.Path(__file__).parent / "simulate"
OTHER_ACCOUNT = "000000000000"
# The default policy of a KMS key: policies of the account's roles decide.
KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    ],
}


def listed(value):
    return value if isinstance(value, list) else [value]


def identity_policies(stack):
    """The policies of each role, by its logical id. Each statement has an id."""
    found = {}
    for name, role in stack.of_type("AWS::IAM::Role").items():
        found[name] = {p["PolicyName"]: p["PolicyDocument"] for p in role.get("Policies", [])}
    for policy in stack.of_type("AWS::IAM::Policy").values():
        for role in policy["Roles"]:
            logical = next(n for n in found if stack.physical(n) == role)
            found[logical][policy["PolicyName"]] = policy["PolicyDocument"]
    for role, policies in found.items():
        for policy, document in policies.items():
            for number, statement in enumerate(document["Statement"]):
                statement.setdefault("Sid", f"{policy}{number}")
    return found


# ------------------------------------------------------------------------------------ calls


def normalized(stack, value):
    """A recorded value with the names that emulators gave to resources replaced by those of `stack`."""
    if isinstance(value, dict):
        return {normalized(stack, k): normalized(stack, v) for k, v in value.items()}
    if isinstance(value, list):
        return [normalized(stack, v) for v in value]
    if not isinstance(value, str):
        return value
    value = value.replace(OTHER_ACCOUNT, ACCOUNT)
    # The stack of tests/aws/smoke.sh.
    value = re.sub(r"rowmill-smoke-[0-9a-f]{8}", STACK, value)
    for bucket in ("Inbox", "Work"):
        value = re.sub(rf"\b{STACK}-{bucket.lower()}-\w+", stack.physical(f"{bucket}Bucket"), value)
    # The name of a secret, which is what ministack's Ref gives.
    if match := re.fullmatch(rf"{STACK}-(LinkKey)-\w+", value):
        return stack.arn(match[1])
    for kind in ("role", "secret"):
        match = re.fullmatch(rf"arn:aws:\w+:[^:]*:{ACCOUNT}:{kind}[/:]\S*?({'|'.join(stack.resources)})\S*", value)
        if match:
            return stack.arn(match[1])
    return value


def arn(service, resource):
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def needed(stack, call):
    """What AWS authorizes for a call: actions, each with a resource and the keys of conditions. Source:
    Service Authorization Reference, and for S3 "Required permissions for Amazon S3 API operations"."""
    p, name = normalized(stack, call.parameters), call.operation.name
    if call.service == "s3":
        bucket = f"arn:aws:s3:::{p['Bucket']}"
        versioned = "VersionId" in p
        if name in ("GetObject", "HeadObject"):
            yield "s3:GetObjectVersion" if versioned else "s3:GetObject", f"{bucket}/{p['Key']}", {}
            # Otherwise an object that does not exist is 403 and not 404.
            yield "s3:ListBucket", bucket, {}
        elif name in ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
            yield "s3:PutObject", f"{bucket}/{p['Key']}", {}
        elif name == "CopyObject":
            source, _, key = p["CopySource"].partition("/")
            yield "s3:GetObject", f"arn:aws:s3:::{source}/{key}", {}
            yield "s3:PutObject", f"{bucket}/{p['Key']}", {}
        elif name == "AbortMultipartUpload":
            yield "s3:AbortMultipartUpload", f"{bucket}/{p['Key']}", {}
        elif name == "DeleteObject":
            yield "s3:DeleteObject", f"{bucket}/{p['Key']}", {}
        elif name == "DeleteObjects":
            for each in p["Delete"]["Objects"]:
                yield "s3:DeleteObjectVersion" if each.get("VersionId") else "s3:DeleteObject", f"{bucket}/{each['Key']}", {}
        elif name == "ListObjectsV2":
            yield "s3:ListBucket", bucket, {}
        elif name == "ListObjectVersions":
            yield "s3:ListBucketVersions", bucket, {}
        else:
            raise ValueError(f"what does {name} need?")
    elif call.service == "dynamodb":
        table = lambda name: arn("dynamodb", f"table/{name}")
        if name == "ListTables":
            yield f"dynamodb:{name}", "*", {}
        elif name == "TransactWriteItems":
            for item in p["TransactItems"]:
                ((kind, body),) = item.items()
                action = "ConditionCheckItem" if kind == "ConditionCheck" else f"{kind}Item"
                yield f"dynamodb:{action}", table(body["TableName"]), {}
        elif name in ("BatchWriteItem", "BatchGetItem"):
            for each in p["RequestItems"]:
                yield f"dynamodb:{name}", table(each), {}
        else:
            yield f"dynamodb:{name}", table(p["TableName"]), {}
            if p.get("Tags"):
                yield "dynamodb:TagResource", table(p["TableName"]), {}
    elif call.service == "batch":
        job = arn("batch", "job/4c7599ae-0a82-49aa-ba5a-4727fcce14a8")
        if name == "RegisterJobDefinition":
            definition = arn("batch", f"job-definition/{p['jobDefinitionName']}")
            yield "batch:RegisterJobDefinition", definition, {}
            if p.get("tags"):
                yield "batch:TagResource", f"{definition}:1", {}
            container = p["containerProperties"]
            for role in (container["jobRoleArn"], container["executionRoleArn"]):
                # AWS documents neither which service it is, nor that there is one.
                for service in ("ecs-tasks.amazonaws.com", "batch.amazonaws.com", None):
                    yield "iam:PassRole", role, {"iam:PassedToService": service} if service else {}
        elif name == "SubmitJob":
            queue = p["jobQueue"]
            queue = queue if queue.startswith("arn:") else arn("batch", f"job-queue/{queue}")
            for resource in (p["jobDefinition"], queue, job):
                yield "batch:SubmitJob", resource, {}
                if p.get("tags"):
                    yield "batch:TagResource", resource, {}
        elif name == "DeregisterJobDefinition":
            yield "batch:DeregisterJobDefinition", p["jobDefinition"], {}
        elif name in ("TerminateJob", "CancelJob"):
            yield f"batch:{name}", job, {}
        else:
            yield f"batch:{name}", "*", {}
    elif call.service == "scheduler":
        yield f"scheduler:{name}", arn("scheduler", f"schedule/{p['GroupName']}/{p['Name']}"), {}
        if "Target" in p:
            yield "iam:PassRole", p["Target"]["RoleArn"], {"iam:PassedToService": "scheduler.amazonaws.com"}
    elif call.service == "sns":
        yield f"sns:{name}", p["TopicArn"], {}
    elif call.name == "sesv2:GetEmailIdentity":
        yield "ses:GetEmailIdentity", arn("ses", f"identity/{p['EmailIdentity']}"), {}
    elif call.service == "sesv2":
        sender = re.search(r"<(.+)>|(.+)", p["FromEmailAddress"])
        context = {"ses:FromAddress": sender[1] or sender[2]}
        for action in ("ses:SendEmail", "ses:SendRawEmail"):
            # In the sandbox SES also checks the identity of each recipient.
            for identity in (sender[1] or sender[2], "you@example.com"):
                yield action, arn("ses", f"identity/{identity}"), context
            if "ConfigurationSetName" in p:
                yield action, arn("ses", f"configuration-set/{p['ConfigurationSetName']}"), context
    elif call.service == "secretsmanager":
        yield f"secretsmanager:{name}", p["SecretId"], {}
    elif call.service == "lambda":
        function = p["FunctionName"]
        yield f"lambda:{name}", arn("lambda", f"function:{function}"), {}
    elif call.service == "translate":
        yield "translate:TranslateText", "*", {}
        # With the language `auto`, Translate asks Comprehend with the caller's permissions.
        yield "comprehend:DetectDominantLanguage", "*", {}
    else:
        raise ValueError(f"what does {call.name} need?")


def with_keys(stack, role, action):
    """The calls of other services to KMS that a call needs with the role's permissions if the stack has
    its own keys: actions, resource and conditions. Source: the page of each service on KMS."""
    service, name = action.split(":")
    keys = {
        ("s3", "GetObject"): ("BucketKeyArn", ["Decrypt"]),
        ("s3", "GetObjectVersion"): ("BucketKeyArn", ["Decrypt"]),
        ("s3", "PutObject"): ("BucketKeyArn", ["Decrypt", "GenerateDataKey"]),
        ("dynamodb", "CreateTable"): ("TableKeyArn", ["CreateGrant", "Decrypt", "DescribeKey"]),
        ("sns", "Publish"): ("TopicKeyArn", ["Decrypt", "GenerateDataKey"]),
    }
    read = ("dynamodb", {"BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"})
    if service == read[0] and name in read[1]:
        keys[service, name] = ("TableKeyArn", ["Decrypt"])
    parameter, actions = keys.get((service, name), (None, []))
    key = stack.parameters.get(parameter)
    if key:
        for each in actions:
            yield f"kms:{each}", key, {"kms:ViaService": f"{service}.{REGION}.amazonaws.com"}


def by_services(stack):
    """The calls that AWS makes with the stack's roles, and those of jobs and functions to services that
    the emulators do not have: role, action, resource."""
    functions = stack.of_type("AWS::Serverless::Function")
    role_of = {n: next(r for r in stack.of_type("AWS::IAM::Role") if stack.arn(r) == p["Role"]) for n, p in functions.items()}
    stream = ":log-stream:any/stream"

    def logs(group):
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            yield action, stack.arn(group).removesuffix(":*") + stream

    for function, role in role_of.items():
        # Lambda writes the log and sends to the destinations of asynchronous invocations.
        yield from ((role, *each) for each in logs("FunctionLogs"))
        for destination in functions[function].get("EventInvokeConfig", {}).get("DestinationConfig", {}).values():
            action = {"SQS": "sqs:SendMessage", "Lambda": "lambda:InvokeFunction"}[destination["Type"]]
            yield role, action, destination["Destination"]
    # EventBridge Scheduler.
    yield "ScheduleRole", "sns:Publish", stack.arn("Topic")
    yield "SweepRole", "lambda:InvokeFunction", stack.arn("CleanupFunction")
    yield "SweepRole", "sqs:SendMessage", stack.arn("UndeliveredEvents")
    # ECS starts containers: it pulls the image, opens the log and reads secrets.
    yield from (("ExecutionRole", *each) for each in logs("JobLogs"))
    yield "ExecutionRole", "ecr:GetAuthorizationToken", "*"
    images = [arn("ecr", "repository/rowmill4f5a6b7c/enrichfunction19a86f12repo")]
    images += [r for r in stack.parameters["ImageRepositories"].split(",") if r]
    for image in images:
        for action in ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"):
            yield "ExecutionRole", action, image
    secrets = [arn("secretsmanager", "secret:rowmill/tax/api-key"), arn("secretsmanager", "secret:rowmill/tax/api-key-AbCdEf")]
    secrets += [s for s in stack.parameters["SecretArns"].split(",") if s]
    secrets.append(arn("ssm", "parameter/rowmill/tax/password"))
    for secret in secrets:
        yield "ExecutionRole", "ssm:GetParameters" if ":ssm:" in secret else "secretsmanager:GetSecretValue", secret
    # Enrich: programs, previews and Amazon Translate.
    work = stack.arn("WorkBucket")
    for role in ("EnrichRole", "JobRole"):
        for action in ("comprehend:DetectDominantLanguage", "translate:TranslateText"):
            yield role, action, "*"
        for folder in ("pipelines", "programs"):
            yield role, "s3:GetObject", f"{work}/{folder}/any"
        yield role, "s3:ListBucket", work
        for bucket in filter(None, stack.parameters["FetchBuckets"].split(",")):
            yield role, "s3:GetObject", f"{bucket}/tools/score.zip"


def rare(stack):
    """Calls that the tests of a deployment do not cause: role, action, resource, conditions."""
    p = stack.parameters
    identity = arn("ses", f"identity/{p['SenderDomain'] or p['SenderIdentity'] or p['Sender']}")
    job = arn("batch", "job/4c7599ae-0a82-49aa-ba5a-4727fcce14a8")
    # /health and the sweep ask whether the sender is verified; the tests send through moto.
    yield "ApiRole", "ses:GetEmailIdentity", identity, {}
    # The form of an upload is signed with the role, and the browser sends it; the preview function is an
    # image, which the emulator does not run; a run that is in progress, or that is deleted.
    work, inbox = stack.arn("WorkBucket"), stack.arn("InboxBucket")
    yield "ApiRole", "s3:PutObject", f"{work}/uploads/0123/book.xlsx", {}
    yield "ApiRole", "lambda:InvokeFunction", stack.arn("EnrichFunction"), {}
    # Invoking itself for an export, and one of more than 8 MB that fails.
    yield "ApiRole", "lambda:InvokeFunction", stack.arn("ApiFunction"), {}
    yield "ApiRole", "s3:AbortMultipartUpload", f"{work}/exports/20261121-reviews-0a1b2c3d4e5f/0/a.csv", {}
    yield "ApiRole", "batch:DescribeJobs", "*", {}
    yield "ApiRole", "dynamodb:Query", arn("dynamodb", f"table/{STACK}-run-20261121-reviews-0a1b2c3d4e5f"), {}
    yield "ApiRole", "dynamodb:BatchWriteItem", stack.arn("ReviewsTable"), {}
    yield "ApiRole", "dynamodb:DeleteItem", stack.arn("RunsTable"), {}
    yield "ApiRole", "s3:DeleteObject", f"{work}/results/20261121-reviews-0a1b2c3d4e5f/about.json", {}
    yield "ApiRole", "s3:DeleteObject", f"{inbox}/reviews/0123/book.xlsx", {}
    # With a file of tiers.
    yield "ApiRole", "s3:GetObject", f"{work}/config/tiers.toml", {}
    yield "ApiRole", "dynamodb:UpdateItem", stack.arn("SubmittersTable"), {}
    yield "SplitRole", "dynamodb:GetItem", stack.arn("SubmittersTable"), {}
    yield "CleanupRole", "ses:GetEmailIdentity", identity, {}
    # A step with a rate: the tests of a deployment reach no source.
    yield "JobRole", "dynamodb:UpdateItem", stack.arn("PermitsTable"), {}
    # A run that Batch refuses, and jobs that are left when a run ends.
    yield "SubmitRole", "batch:TerminateJob", job, {}
    yield "SubmitRole", "sns:Publish", stack.arn("Topic"), {}
    # A run that is stopped.
    yield "JobRole", "sns:Publish", stack.arn("Topic"), {}
    yield "SubmitRole", "batch:CancelJob", job, {}
    yield "CleanupRole", "batch:TerminateJob", job, {}
    # A second round, and one that Batch refuses.
    definition = arn("batch", f"job-definition/{STACK}-0a1b2c3d4e5f-0a1b2c3d4e5f:1")
    for resource in (definition, job, *(stack.arn(queue) for queue in stack.of_type("AWS::Batch::JobQueue"))):
        for action in ("SubmitJob", "TagResource"):
            yield "ReportRole", f"batch:{action}", resource, {}
    yield "ReportRole", "batch:TerminateJob", job, {}
    round = f"{stack.arn('WorkBucket')}/runs/20261121-reviews-0a1b2c3d4e5f/second-round.json"
    yield "ReportRole", "s3:PutObject", round, {}
    # A retry.
    yield "SplitRole", "s3:GetObject", f"{stack.arn('WorkBucket')}/results/run/about.json", {}
    # A run that has stalled: cleanup publishes what moves it on, and checks it again later.
    yield "CleanupRole", "sns:Publish", stack.arn("Topic"), {}
    schedule = stack.arn("ScheduleRole")
    yield "CleanupRole", "iam:PassRole", schedule, {"iam:PassedToService": "scheduler.amazonaws.com"}
    # The sweep: tables without a run, and uploads whose event was lost.
    yield "CleanupRole", "dynamodb:ListTables", "*", {}
    yield "CleanupRole", "s3:ListBucketVersions", inbox, {}


def simulate(stack, policies, asked):
    """Answers the requests: role, action, resource, context."""
    work = ROOT / "target/aws-checks"
    folder = work / "simulate"
    if not (folder / "node_modules/.package-lock.json").exists() or (
        (folder / "package-lock.json").read_bytes() != (SIMULATE / "package-lock.json").read_bytes()
    ):
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json", "simulate.mjs"):
            (folder / name).write_bytes((SIMULATE / name).read_bytes())
        npm = [work / "bin/npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(npm, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (folder / "simulate.mjs").write_bytes((SIMULATE / "simulate.mjs").read_bytes())
    requests = [
        {
            "policies": [{"name": n, "policy": d} for n, d in policies[role].items()],
            "action": action,
            "resource": resource,
            "account": ACCOUNT,
            "principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/{stack.physical(role)}/session",
            "context": context,
            "resourcePolicy": KEY_POLICY if action.startswith("kms:") else None,
        }
        for role, action, resource, context in asked
    ]
    answered = subprocess.run(
        [work / "bin/node", "simulate.mjs"], cwd=folder, input=json.dumps(requests), text=True, capture_output=True, check=True
    )
    return json.loads(answered.stdout)


def simulated(stack, calls, used):
    """The denied requests, and the number of simulated ones."""
    policies = identity_policies(stack)
    functions = stack.of_type("AWS::Serverless::Function")
    roles = {stack.arn(name): name for name in stack.of_type("AWS::IAM::Role")}
    asked = {}
    for call in calls:
        role = call.app if call.app in policies else roles[functions[call.app]["Role"]]
        for action, resource, context in needed(stack, call):
            asked[role, action, resource, tuple(context.items())] = call.name
    for role, action, resource in by_services(stack):
        asked[role, action, resource, ()] = "AWS"
    for role, action, resource, context in rare(stack):
        asked[role, action, resource, tuple(context.items())] = "rare calls"
    for (role, action, resource, _), caller in list(asked.items()):
        for key_action, key, context in with_keys(stack, role, action):
            asked[role, key_action, key, tuple(context.items())] = f"{action} for {caller}"
    for key in filter(None, stack.parameters["SecretKeyArns"].split(",")):
        asked["ExecutionRole", "kms:Decrypt", key, ()] = "ECS"
    requests = [(r, a, o, dict(c)) for r, a, o, c in asked]
    # A simulator that allows everything would prove nothing.
    denied = [
        ("SplitRole", "s3:GetObject", "arn:aws:s3:::somewhere/else", {}),
        ("SubmitRole", "iam:PassRole", stack.arn("JobRole"), {"iam:PassedToService": "lambda.amazonaws.com"}),
        ("ReportRole", "ses:SendEmail", arn("ses", "identity/x@example.com"), {"ses:FromAddress": "x@example.com"}),
    ]
    answers = simulate(stack, policies, requests + denied)
    wrong = []
    for (role, action, resource, _), caller, answer in zip(requests, asked.values(), answers):
        if answer["result"] != "Allowed":
            wrong.append(f"{role}: {action} on {resource} for {caller}: {answer['result']}")
        used.update((role, sid) for sid in answer["statements"])
    for request, answer in zip(denied, answers[len(requests) :], strict=True):
        if answer["result"] != "ImplicitlyDenied":
            wrong.append(f"the simulator does not deny {request[:3]}: {answer['result']}")
    return wrong, len(requests), {(r, s["Sid"]) for r, ps in policies.items() for d in ps.values() for s in d["Statement"]}


# -------------------------------------------------------------------------------- parliament


def documents(stack):
    """Every policy of the stack by a name: of roles, and of resources."""
    for role, policies in identity_policies(stack).items():
        for name, document in policies.items():
            yield f"{role}/{name}", document
    for name, resource in stack.resources.items():
        for key in ("AssumeRolePolicyDocument", "PolicyDocument", "KeyPolicy"):
            document = resource["Properties"].get(key) if resource["Type"] != "AWS::IAM::Policy" else None
            if document:
                yield f"{name}/{key}", document


def findings(document):
    document = copy.deepcopy(document)
    for statement in document["Statement"]:
        # parliament requires what the policy of a role's trust cannot have.
        statement.setdefault("Resource", f"arn:aws:iam::{ACCOUNT}:role/any")
    for finding in parliament.analyze_policy_string(json.dumps(document)).findings:
        yield finding.issue, json.dumps(finding.detail, default=str)


def main():
    wrong, used, existing, count, policies = [], set(), set(), 0, 0
    calls = [call for call in recorded.calls() if call.app]
    apps = collections.Counter(call.app for call in calls)
    for variant, parameters in VARIANTS.items():
        stack = Stack(parameters)
        for name, document in documents(stack):
            policies += 1
            for issue, detail in findings(document):
                wrong.append(f"parliament, {variant}: {name}: {issue} {detail}")
        denied, simulations, statements = simulated(stack, calls, used)
        wrong += [f"{variant}: {each}" for each in denied]
        count += simulations
        existing |= statements
    wrong += [f"{role}: no call uses the statement {sid}" for role, sid in sorted(existing - used)]
    functions = set(Stack({}).of_type("AWS::Serverless::Function")) - {"EnrichFunction"} | {"JobRole"}
    wrong += [f"no recorded call of {app}: run the tests of a deployment first" for app in sorted(functions - set(apps))]
    if wrong:
        print("\n".join(wrong))
        return 1
    print(
        f"{policies} policies checked by parliament, {sum(apps.values())} recorded calls simulated in {count} requests,"
        f" {len(existing)} statements, all of them used"
    )
    return 0


sys.exit(main())
