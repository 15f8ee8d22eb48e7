"""Tries a deployment in an AWS account, and leaves nothing behind.

It takes about 30 minutes and costs some cents. It

1. says what it will do, what that costs, and asks;
2. deploys a stack of its own, with a new name, rowmill-smoke-<8 hex digits>;
3. runs the 339 reviews of examples/, and checks that every row is in the result;
4. runs an array job, stops the task of one child as Spot does, and checks that no row is lost;
5. calls every route of the API;
6. keeps the events that AWS sent, for the tests;
7. deletes everything, and lists what is left;
8. writes target/smoke/<stack>/report.md.

It touches only resources whose name starts with the stack's name. Ctrl-C and errors lead to step 7. The
stack can have at most 8 vCPUs in each of its two environments, and step 7 begins after 50 minutes at the
latest, so that the cost cannot exceed the bound that it prints, which is below 2 USD. AWS Budgets cannot do this, because it only alerts, hours later.
"""

import argparse
import base64
import datetime
import email
import email.policy
import http.server
import io
import json
import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import openpyxl

ROOT = pathlib.Path(__file__).resolve().parents[2]
PREFIX = "rowmill-smoke-"
MAX_VCPUS = 8
LIMIT_MINUTES = 50
# What a person agrees to, in USD.
MOST = 2.0
REVIEWS = ROOT / "examples/reviews/reviews.xlsx"
ROWS, CHILDREN = 80, 4
ARRAY = """\
[input]
key = ["ID"]
types = {{ ID = "text" }}
[[step]]
kind = "http"
url = "{url}?row={{{{ row.ID }}}}"
rate = "{rate}"
allow_hosts = {hosts}
[step.outputs]
answered = {{ status = true, type = "number" }}
[batch]
records_per_child = {each}
max_records = {rows}
max_cost = 0.50
"""


JUDGED = """\
[input]
key = ["Review ID"]
[[column]]
name = "kind"
value = 'row.Stars > 3.0 ? "good" : "bad"'
[[review]]
column = "kind"
labels = ["good", "bad"]
"""


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or the time limit. Not an Exception: no step may swallow it."""


class Failed(Exception):
    """A check of a step did not hold."""


def check(condition, message):
    if not condition:
        raise Failed(message)


# ------------------------------------------------------------------------------------ what is used


class Aws:
    """A client for each service, as an attribute."""

    def __init__(self, region, emulated):
        settings = botocore.config.Config(retries={"mode": "standard", "max_attempts": 6})
        if emulated:
            settings = settings.merge(botocore.config.Config(s3={"addressing_style": "path"}))
        self.session, self.settings = boto3.Session(region_name=region), settings
        self.emulated, self.region = emulated, self.session.region_name

    def __getattr__(self, service):
        # Only called for attributes that are not set. `lambda` is a word of Python.
        client = self.session.client(service.rstrip("_").replace("_", "-"), config=self.settings)
        setattr(self, service, client)
        return client

    def pages(self, service, operation, key, **parameters):
        client = getattr(self, service)
        if client.can_paginate(operation):
            for page in client.get_paginator(operation).paginate(**parameters):
                yield from page.get(key) or []
        else:
            yield from getattr(client, operation)(**parameters).get(key) or []


class Report:
    """What was done and seen, on the terminal and in a file."""

    def __init__(self, folder):
        self.folder, self.lines, self.failed = folder, [], []
        folder.mkdir(parents=True, exist_ok=True)

    def say(self, text):
        print(text, flush=True)

    def note(self, text):
        self.say(f"   {text}")
        self.lines.append(f"- {text}")

    def step(self, title, work):
        """Runs a step; returns whether it passed."""
        self.say(f"== {title}")
        self.lines.append(f"\n## {title}\n")
        began, result = time.monotonic(), "passed"
        try:
            work()
        except Stopped as stopped:
            result = f"stopped: {stopped}"
            raise
        except Exception as error:
            result = f"failed: {error if isinstance(error, Failed) else f'{type(error).__name__}: {error}'}"
        finally:
            if result != "passed":
                self.failed.append(title)
            text = f"{'**' if result != 'passed' else ''}{result}{'**' if result != 'passed' else ''}"
            self.say(f"   {result}, {time.monotonic() - began:.0f} s")
            self.lines.append(f"- {text}, {time.monotonic() - began:.0f} s")
            self.write()
        return result == "passed"

    def write(self):
        verdict = f"{len(self.failed)} steps failed: {'; '.join(self.failed)}" if self.failed else "Every step passed"
        heading = ["# Smoke test", "", f"{verdict}."]
        (self.folder / "report.md").write_text("\n".join(heading + self.lines) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------ cost


def planned(rowmill, *arguments):
    command = [rowmill, "plan", "--json", "--max-vcpus", str(MAX_VCPUS), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    check(done.returncode == 0, f"{command}: {done.stderr}")
    return json.loads(done.stdout)


def bound():
    """The most that the jobs can cost within LIMIT_MINUTES, in USD: MAX_VCPUS busy in both environments, On-
    Demand, in the smallest children, each with 2 GiB and an address, at prices 30 % above the planner's."""
    text = (ROOT / "shared/planning/src/prices.rs").read_text(encoding="utf-8")
    price = lambda name: float(re.search(rf"{name}: (?:f64 = )?([\d._]+)", text)[1].replace("_", ""))
    vcpus = 2 * MAX_VCPUS
    children = vcpus / 0.25
    hour = vcpus * price("vcpu_hour") + children * (2 * price("gib_hour") + price("IPV4_HOUR"))
    # A dashboard, ten alarms, metrics and a secret for an hour, the image for a day, some thousand requests.
    return 1.3 * (hour * LIMIT_MINUTES / 60) + 0.10


# ------------------------------------------------------------------------------------ what a stack has


class Everything:
    """All resources of a stack, found by its name: what the template creates, what runs create, and what
    this script creates."""

    def __init__(self, aws, stack, report):
        check(re.fullmatch(PREFIX + "[0-9a-f]{8}", stack), f"{stack} is not a stack of this script")
        self.aws, self.stack, self.report, self.unseen = aws, stack, report, {}

    def names(self, service, operation, key, name, **parameters):
        """The names of this stack among what an operation lists. `name` is a member, or None for texts."""
        try:
            for item in self.aws.pages(service, operation, key, **parameters):
                found = item if name is None else item.get(name, "")
                if self.ours(found):
                    yield found
        except (botocore.exceptions.ClientError, botocore.exceptions.ParamValidationError, KeyError) as error:
            # An emulator that does not have the operation. In AWS it is an error.
            if not self.aws.emulated:
                raise
            self.unseen[f"{service}:{operation}"] = str(error)[:100]

    def ours(self, name):
        """Whether a name, an ARN or the URL of a queue is one of this stack."""
        return re.search(rf"(^|[/:]){re.escape(self.stack)}($|[-/:.])", name) is not None

    def buckets(self):
        return self.names("s3", "list_buckets", "Buckets", "Name")

    def tables(self):
        return self.names("dynamodb", "list_tables", "TableNames", None)

    def log_groups(self):
        return self.names("logs", "describe_log_groups", "logGroups", "logGroupName")

    def definitions(self):
        return self.names("batch", "describe_job_definitions", "jobDefinitions", "jobDefinitionArn", status="ACTIVE")

    def secrets(self):
        # The name begins with the logical id; CloudFormation adds the stack's name before it.
        return self.names("secretsmanager", "list_secrets", "SecretList", "Name", IncludePlannedDeletion=True)

    def schedule_groups(self):
        return self.names("scheduler", "list_schedule_groups", "ScheduleGroups", "Name")

    def repositories(self):
        return self.names("ecr", "describe_repositories", "repositories", "repositoryName")

    def queues(self):
        return self.names("sqs", "list_queues", "QueueUrls", None)

    def rules(self):
        return self.names("events", "list_rules", "Rules", "Name")

    def topics(self):
        return self.names("sns", "list_topics", "Topics", "TopicArn")

    def subscriptions(self):
        return self.names("sns", "list_subscriptions", "Subscriptions", "TopicArn")

    def configuration_sets(self):
        return self.names("sesv2", "list_configuration_sets", "ConfigurationSets", None)

    def stacks(self):
        try:
            described = self.aws.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
            return [s["StackName"] for s in described if s["StackStatus"] != "DELETE_COMPLETE"]
        except botocore.exceptions.ClientError:
            return []

    def jobs(self):
        queue = f"{self.stack}-fargate"
        for status in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"):
            try:
                yield from (j["jobId"] for j in self.aws.pages("batch", "list_jobs", "jobSummaryList", jobQueue=queue, jobStatus=status))
            except botocore.exceptions.ClientError:
                # The queue is gone.
                return

    def left(self):
        """Everything that exists, as pairs of a kind and a name. AWS keeps what a person pays nothing for
        and cannot delete: inactive job definitions, ended jobs, and the backup of a deleted table."""
        kinds = {
            "stack": self.stacks(),
            "job": self.jobs(),
            "bucket": self.buckets(),
            "table": self.tables(),
            "log group": self.log_groups(),
            "job definition": self.definitions(),
            "secret": self.secrets(),
            "schedule group": self.schedule_groups(),
            "repository": self.repositories(),
            "queue": self.queues(),
            "rule": self.rules(),
            "topic": self.topics(),
            "subscription": self.subscriptions(),
            "function": self.names("lambda_", "list_functions", "Functions", "FunctionName"),
            "role": self.names("iam", "list_roles", "Roles", "RoleName"),
            "alarm": self.names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
            "dashboard": self.names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
            "user pool": self.names("cognito_idp", "list_user_pools", "UserPools", "Name", MaxResults=60),
            "API": self.names("apigatewayv2", "get_apis", "Items", "Name"),
            "job queue": self.names("batch", "describe_job_queues", "jobQueues", "jobQueueName"),
            "compute environment": self.names("batch", "describe_compute_environments", "computeEnvironments", "computeEnvironmentName"),
            "configuration set": self.configuration_sets(),
            "network": self.networks(),
            "tagged": self.tagged(),
        }
        return [(kind, name) for kind, names in kinds.items() for name in names]

    def networks(self):
        tag = [{"Name": "tag:rowmill:stack", "Values": [self.stack]}]
        try:
            for kind in ("vpcs", "subnets", "network_interfaces", "security_groups", "internet_gateways"):
                found = getattr(self.aws.ec2, f"describe_{kind}")(Filters=tag)
                key = next(k for k, v in found.items() if isinstance(v, list))
                yield from (next(v for n, v in item.items() if n.endswith("Id") and n[0].isupper()) for item in found[key])
        except botocore.exceptions.ClientError as error:
            self.unseen["ec2:describe"] = str(error)[:100]

    def tagged(self):
        """By tag, which covers what has no name. Definitions and jobs stay listed when they have ended, and
        an emulator lists tables that it has deleted; all three are also listed by name."""
        named = (":job-definition/", ":job/", ":table/")
        for tag in ("rowmill:stack", "aws:cloudformation:stack-name"):
            try:
                found = self.aws.pages(
                    "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList",
                    TagFilters=[{"Key": tag, "Values": [self.stack]}],
                )
                yield from (r["ResourceARN"] for r in found if not any(kind in r["ResourceARN"] for kind in named))
            except botocore.exceptions.ClientError as error:
                self.unseen["tag:GetResources"] = str(error)[:100]

    # -------------------------------------------------------------------------------- deletion

    def delete(self):
        """Deletes everything. Each part can run twice, and a part that fails does not stop the others."""
        errors = []

        def attempt(what, work):
            try:
                work()
            except Exception as error:
                if not any(code in str(error) for code in ("NotFound", "NoSuch", "does not exist", "ResourceNotFound")):
                    errors.append(f"{what}: {error}")

        aws = self.aws
        for job in list(self.jobs()):
            attempt(f"job {job}", lambda: aws.batch.terminate_job(jobId=job, reason="the smoke test ends"))
        wait(lambda: not list(self.jobs()), 300, "jobs end", self.report)
        for rule in list(self.rules()):
            if rule.startswith(f"{self.stack}-smoke"):
                attempt(f"rule {rule}", lambda: aws.events.remove_targets(Rule=rule, Ids=["smoke"]))
                attempt(f"rule {rule}", lambda: aws.events.delete_rule(Name=rule))
        for item in list(aws.pages("sns", "list_subscriptions", "Subscriptions")):
            if self.ours(item["TopicArn"]) and item["SubscriptionArn"].startswith("arn:") and f"{self.stack}-smoke" in item["Endpoint"]:
                attempt("subscription", lambda: aws.sns.unsubscribe(SubscriptionArn=item["SubscriptionArn"]))
        # ministack does not delete a bucket that has objects, and AWS's stack keeps its buckets.
        if self.stacks():
            attempt("stack", lambda: aws.cloudformation.delete_stack(StackName=self.stack))
            attempt("stack", lambda: wait(lambda: not self.stacks() or self.stuck(), 1500, "the stack is deleted", self.report))
            if self.stacks():
                # A network interface of a task can outlive the task for minutes.
                attempt("stack", lambda: aws.cloudformation.delete_stack(StackName=self.stack))
                attempt("stack", lambda: wait(lambda: not self.stacks(), 900, "the stack is deleted", self.report))
        for bucket in list(self.buckets()):
            attempt(f"bucket {bucket}", lambda: self.empty(bucket))
            attempt(f"bucket {bucket}", lambda: aws.s3.delete_bucket(Bucket=bucket))
        for table in list(self.tables()):
            attempt(f"table {table}", lambda: aws.dynamodb.delete_table(TableName=table))
        for definition in list(self.definitions()):
            attempt(f"definition {definition}", lambda: aws.batch.deregister_job_definition(jobDefinition=definition))
        for repository in list(self.repositories()):
            attempt(f"repository {repository}", lambda: aws.ecr.delete_repository(repositoryName=repository, force=True))
        for secret in list(self.secrets()):
            attempt(f"secret {secret}", lambda: aws.secretsmanager.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True))
        for group in list(self.schedule_groups()):
            attempt(f"schedules {group}", lambda: aws.scheduler.delete_schedule_group(Name=group))
        for name in list(self.configuration_sets()):
            attempt(f"configuration set {name}", lambda: aws.sesv2.delete_configuration_set(ConfigurationSetName=name))
        for queue in list(self.queues()):
            attempt(f"queue {queue}", lambda: aws.sqs.delete_queue(QueueUrl=queue))
        for group in list(self.log_groups()):
            attempt(f"logs {group}", lambda: aws.logs.delete_log_group(logGroupName=group))
        for error in errors:
            self.report.note(f"could not delete {error}")

    def stuck(self):
        described = self.aws.cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        return described and described[0]["StackStatus"] == "DELETE_FAILED"

    def empty(self, bucket):
        check(self.ours(bucket), bucket)
        for key in ("Versions", "DeleteMarkers"):
            found = self.aws.pages("s3", "list_object_versions", key, Bucket=bucket)
            batch = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in found]
            for start in range(0, len(batch), 1000):
                self.aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": batch[start : start + 1000], "Quiet": True})
        for upload in list(self.aws.pages("s3", "list_multipart_uploads", "Uploads", Bucket=bucket)):
            self.aws.s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def wait(condition, seconds, what, report, pause=None):
    """Waits until a condition holds."""
    pause = pause or (0.5 if os.environ.get("AWS_ENDPOINT_URL") else 5)
    began = time.monotonic()
    while not (value := condition()):
        check(time.monotonic() - began < seconds, f"{what}: not within {seconds / 60:.0f} minutes")
        time.sleep(pause)
    return value


# ------------------------------------------------------------------------------------ the test


class Smoke:
    def __init__(self, arguments, aws, stack, report):
        self.arguments, self.aws, self.stack, self.report = arguments, aws, stack, report
        self.everything = Everything(aws, stack, report)
        self.emulated, self.outputs, self.queue = aws.emulated, {}, None
        self.events = report.folder / "events"

    # -------------------------------------------------------------------------------- deploy

    def deploy(self):
        if self.emulated:
            self.deploy_emulated()
        else:
            self.deploy_aws()
        described = self.aws.cloudformation.describe_stacks(StackName=self.stack)["Stacks"][0]
        self.outputs = {o["OutputKey"]: o["OutputValue"] for o in described["Outputs"]}
        self.report.note(f"{len(self.outputs)} outputs, {described['StackStatus']}")

    def parameters(self):
        chosen = {
            "Sender": self.arguments.sender,
            "DefaultRecipient": self.arguments.sender,
            "MaxVcpus": str(MAX_VCPUS),
            "LogDays": "1",
            "AttachLimit": "0",
            "Architecture": self.arguments.architecture,
        }
        if self.arguments.identity:
            chosen["SenderIdentity"] = self.arguments.identity
        return [f"{name}={value}" for name, value in chosen.items()]

    def deploy_aws(self):
        build = ["sam", "build", "--parameter-overrides", *self.parameters()]
        self.command(build)
        # Its own bucket and repository, and not those that SAM shares between stacks.
        bucket = f"{self.stack}-deploy-{secrets.token_hex(4)}"
        here = {} if self.aws.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.aws.region}}
        self.aws.s3.create_bucket(Bucket=bucket, **here)
        repository = self.aws.ecr.create_repository(repositoryName=self.stack)["repository"]["repositoryUri"]
        self.command([
            "sam", "deploy", "--no-confirm-changeset", "--no-resolve-s3", "--no-resolve-image-repos",
            "--stack-name", self.stack, "--s3-bucket", bucket, "--image-repository", repository,
            "--region", self.aws.region, "--capabilities", "CAPABILITY_IAM",
            "--tags", f"rowmill:smoke={self.stack}", "--parameter-overrides", *self.parameters(),
        ])

    def deploy_emulated(self):
        bucket = f"{self.stack}-deploy"
        self.aws.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self.aws.region})
        template = pathlib.Path(self.arguments.template)
        self.command([
            str(ROOT / "target/tools/bin/sam"), "deploy", "--no-confirm-changeset", "--template-file", str(template),
            "--stack-name", self.stack, "--s3-bucket", bucket,
            "--image-repository", f"000000000000.dkr.ecr.{self.aws.region}.amazonaws.com/{self.stack}",
            "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM",
            "--parameter-overrides", *self.parameters(),
        ], cwd=template.parent)

    def command(self, command, cwd=ROOT):
        log = self.report.folder / "commands.log"
        with open(log, "a", encoding="utf-8") as file:
            print("$", *command, file=file, flush=True)
            # Its own group, so that Ctrl-C reaches only this program, which then ends it.
            process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env=os.environ | {"SAM_CLI_TELEMETRY": "0"})
            try:
                status = process.wait()
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        check(status == 0, f"{command[0]} {command[1]} failed, see {log}:\n" + "\n".join(log.read_text().splitlines()[-15:]))

    def sender(self):
        """Waits until a person has clicked the link that AWS sent."""
        if self.emulated:
            self.report.note("not shown: nobody can click a link here")
            return
        asked = self.arguments.identity or self.arguments.sender
        verified = lambda: self.aws.sesv2.get_email_identity(EmailIdentity=asked).get("VerifiedForSendingStatus")
        if not verified():
            self.report.note(f"click the link in the mail from AWS to {asked}")
        wait(verified, 900, "the sender is verified", self.report)

    # -------------------------------------------------------------------------------- events

    def listen(self):
        """A queue that receives copies of the events of Batch, S3 and SNS."""
        name = f"{self.stack}-smoke-events"
        self.queue = self.aws.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.aws.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        account = arn.split(":")[4]
        allowed = {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com", "s3.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": account}},
        }
        # SNS does not always set the account.
        from_topics = allowed | {"Principal": {"Service": "sns.amazonaws.com"}, "Condition": {"ArnLike": {"aws:SourceArn": f"arn:*:sns:*:{account}:{self.stack}*"}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed, from_topics]})
        self.aws.sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": policy})
        pattern = {"source": ["aws.batch"], "detail": {"jobQueue": [{"suffix": f"job-queue/{self.stack}-fargate"}]}}
        self.aws.events.put_rule(Name=f"{self.stack}-smoke", EventPattern=json.dumps(pattern))
        self.aws.events.put_targets(Rule=f"{self.stack}-smoke", Targets=[{"Id": "smoke", "Arn": arn}])
        for topic in self.everything.topics():
            self.aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        # The inbox notifies split; S3 allows no second receiver of the same events. So a bucket like it.
        bucket = f"{self.stack}-smoke-inbox-{secrets.token_hex(4)}"
        here = {} if self.aws.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.aws.region}}
        self.aws.s3.create_bucket(Bucket=bucket, **here)
        self.aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.aws.s3.put_bucket_notification_configuration(
            Bucket=bucket,
            NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
        )
        self.aws.s3.put_object(Bucket=bucket, Key="reviews/my file (1)+ü.xlsx", Body=REVIEWS.read_bytes())

    def keep_events(self):
        """Stores what arrived, without the account's number and addresses, one file for each kind."""
        self.events.mkdir(exist_ok=True)
        kinds, empty = {}, 0
        while empty < (2 if self.emulated else 4):
            messages = self.aws.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=0 if self.emulated else 5).get("Messages", [])
            empty = 0 if messages else empty + 1
            for message in messages:
                self.aws.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                kind = kind_of(body)
                if kind and kind not in kinds:
                    kinds[kind] = body
        for kind, body in kinds.items():
            (self.events / f"{kind}.json").write_text(self.anonymous(json.dumps(body, indent=2, ensure_ascii=False)) + "\n", encoding="utf-8")
        self.report.note(f"{len(kinds)} kinds of events in {self.events.relative_to(ROOT)}: {', '.join(sorted(kinds))}")
        wanted = {"s3-created"} if self.emulated else {"s3-created", "batch-array-succeeded", "batch-child-running"}
        check(wanted <= set(kinds), f"not received: {', '.join(sorted(wanted - set(kinds)))}")

    def anonymous(self, text):
        account = self.queue.split("/")[-2]
        text = text.replace(account, "123456789012").replace(self.arguments.sender, "rowmill@example.com")
        return re.sub(r'("(?:sourceIPAddress|principalId)"\s*:\s*")[^"]*', r"\1EXAMPLE", text)

    # -------------------------------------------------------------------------------- runs

    def upload(self, pipeline, name, body, metadata=None):
        key = f"{pipeline}/{name}"
        self.aws.s3.put_object(Bucket=self.outputs["InboxBucket"], Key=key, Body=body, Metadata=metadata or {})
        return key

    def objects(self, prefix):
        return [o["Key"] for o in self.aws.pages("s3", "list_objects_v2", "Contents", Bucket=self.outputs["WorkBucket"], Prefix=prefix)]

    def ended(self, pipeline):
        """The run of a pipeline, when its mail is written and its temporary data is gone."""
        work = self.outputs["WorkBucket"]

        def done():
            mails = [k for k in self.objects("results/") if re.match(rf"results/\d+-{pipeline}-[0-9a-f]+/mail", k)]
            for mail in mails:
                run = mail.split("/")[1]
                if not self.objects(f"runs/{run}/") and not any(run in table for table in self.everything.tables()):
                    return run
            return None

        began = time.monotonic()
        run = wait(done, 1200, f"the run of {pipeline} ends", self.report)
        self.report.note(f"run {run}: {time.monotonic() - began:.0f} s until its data was removed")
        versions = list(self.aws.pages("s3", "list_object_versions", "Versions", Bucket=work, Prefix=f"runs/{run}/"))
        check(not versions, f"{len(versions)} versions of objects are left of {run}")
        return run

    def result(self, run):
        """The sheets of a result."""
        keys = [k for k in self.objects(f"results/{run}/") if k.endswith("-result.xlsx")]
        check(len(keys) == 1, f"{run} has the results {keys}; all its objects: {self.objects(f'results/{run}/')}")
        body = self.aws.s3.get_object(Bucket=self.outputs["WorkBucket"], Key=keys[0])["Body"].read()
        book = openpyxl.load_workbook(io.BytesIO(body), read_only=True)
        return {sheet.title: [dict(zip(rows[0], row)) for row in rows[1:]] for sheet in book if (rows := list(sheet.values))}

    def mail(self, run):
        keys = sorted(k for k in self.objects(f"results/{run}/") if k.endswith(".eml"))
        body = self.aws.s3.get_object(Bucket=self.outputs["WorkBucket"], Key=keys[-1])["Body"].read()
        return email.message_from_bytes(body, policy=email.policy.default)

    def reviews(self):
        self.upload("reviews", "reviews.xlsx", REVIEWS.read_bytes())
        run = self.ended("reviews")
        sheets = self.result(run)
        results, rejected = sheets["Results"], sheets.get("Rejected", [])
        statuses = [row["status"] for row in results]
        sheet = openpyxl.load_workbook(REVIEWS, read_only=True)["Reviews"]
        given = sum(1 for _ in sheet.values) - 1
        count = len(results) + len(rejected)
        check(count == given, f"{given} rows went in, {len(results)} + {len(rejected)} came out")
        check(set(statuses) == {"ok"}, f"statuses: {({s: statuses.count(s) for s in set(statuses)})}")
        rows = [row["input row"] for row in results]
        check(rows == sorted(set(rows)), "rows are missing, twice or out of order")
        self.report.note(f"{given} rows in: {len(results)} ok, {len(rejected)} rejected with a reason")
        self.link = next(re.finditer(r"https?://[^\s\"<>]+/d/[\w.~-]+", self.mail(run).get_body(("plain", "html")).get_content()), None)
        check(self.link, "the mail has no link to the result")
        self.link = self.link[0]

    def array(self):
        """An array whose rows ask a slow source; one child is lost meanwhile."""
        with source() if self.emulated else Nothing() as local:
            text = ARRAY.format(
                url=local.url if self.emulated else self.outputs["ApiUrl"] + "/health",
                rate="8/s" if self.emulated else "1/s",
                hosts='["127.0.0.1"]' if self.emulated else "[]",
                each=ROWS // CHILDREN,
                rows=ROWS,
            )
            self.aws.s3.put_object(Bucket=self.outputs["WorkBucket"], Key="pipelines/array.toml", Body=text.encode())
            book = openpyxl.Workbook()
            book.active.append(["ID"])
            for number in range(ROWS):
                book.active.append([f"{number:04}"])
            body = io.BytesIO()
            book.save(body)
            self.upload("array", "array.xlsx", body.getvalue())
            child = wait(self.running_child, 900, "a child of the array runs", self.report)
            self.lose(child)
            run = self.ended("array")
            rows = self.result(run)["Results"]
            lost = self.job(child["jobId"])
            ids = [row["ID"] for row in rows]
            check(ids == [f"{n:04}" for n in range(ROWS)], f"{ROWS} rows went in, {len(ids)} came out, {len(set(ids))} different")
            bad = {row["ID"]: row.get("error") for row in rows if row["status"] != "ok"}
            check(not bad, f"rows without result: {bad}")
            attempts = len(lost.get("attempts", []))
            check(attempts >= 2, f"child {child['jobId']} has {attempts} attempts; it was not lost")
            reasons = [a.get("statusReason") or a["container"].get("reason") or f"exit code {a['container'].get('exitCode', 'unknown')}" for a in lost["attempts"]]
            self.report.note(f"{ROWS} rows in {CHILDREN} children; one was lost and tried {attempts} times ({'; '.join(map(str, reasons))}); all {len(rows)} rows are ok")
            if self.emulated:
                self.report.note(f"{local.count} requests for {ROWS} rows: {local.count - ROWS} of the lost child were repeated")
                check(local.count < 2 * ROWS // CHILDREN + ROWS, "more was repeated than the lost child had")

    def job(self, identifier):
        return self.aws.batch.describe_jobs(jobs=[identifier])["jobs"][0]

    def running_child(self):
        queue = f"{self.stack}-fargate"
        for status in ("RUNNABLE", "PENDING", "STARTING", "RUNNING"):
            for job in self.aws.pages("batch", "list_jobs", "jobSummaryList", jobQueue=queue, jobStatus=status):
                if "-array-" not in job["jobName"]:
                    continue
                children = self.aws.pages("batch", "list_jobs", "jobSummaryList", arrayJobId=job["jobId"], jobStatus="RUNNING")
                for child in children:
                    detail = self.job(child["jobId"])
                    if self.emulated or detail.get("container", {}).get("taskArn"):
                        return detail
        return None

    def lose(self, child):
        """Ends the machine of a child: SIGTERM and then SIGKILL, as when Spot takes it back."""
        # Until some rows are done, so that there is something to lose.
        time.sleep(2 if self.emulated else 15)
        if self.emulated:
            lost = process_of(child["jobId"])
            check(lost, f"no process of child {child['jobId']}")
            os.kill(lost, signal.SIGKILL)
            self.report.note("a child was killed (SIGKILL) while it worked")
            return
        queue = self.aws.batch.describe_job_queues(jobQueues=[f"{self.stack}-fargate"])["jobQueues"][0]
        names = [e["computeEnvironment"] for e in queue["computeEnvironmentOrder"]]
        found = self.aws.batch.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]
        task = child["container"]["taskArn"]
        cluster = next(e["ecsClusterArn"] for e in found if task.split("/")[-2] == e["ecsClusterArn"].split("/")[-1])
        where = next(e["computeResources"]["type"] for e in found if e["ecsClusterArn"] == cluster)
        self.aws.ecs.stop_task(cluster=cluster, task=task, reason="smoke test: this child is lost")
        self.report.note(f"the task of a child ({where}) was stopped while it worked")

    def bounce(self):
        """A mail that bounces, at SES's simulator, which needs no verification."""
        self.upload("reviews", "bounce.xlsx", REVIEWS.read_bytes(), {"notify": "bounce@simulator.amazonses.com"})
        self.report.note("a run whose mail bounces was started; its event is kept if it arrives")

    # -------------------------------------------------------------------------------- API

    def call(self, path, method="GET", token=None, body=None):
        url = path if path.startswith("http") else self.outputs["ApiUrl"] + path
        if self.emulated:
            # The name of the API is not in the DNS here.
            parts = urllib.parse.urlsplit(url)
            url, host = os.environ["AWS_ENDPOINT_URL"] + parts.path + (f"?{parts.query}" if parts.query else ""), parts.netloc
        request = urllib.request.Request(url, method=method)
        if self.emulated:
            request.add_header("Host", host)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(NoRedirect)
        try:
            answer = opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        return answer.status, answer.read().decode(errors="replace"), answer.headers

    def routes(self):
        """Every route that the stack has. Those without a line here must answer without a fault."""
        status, body, _ = self.call("/health")
        check(status == 200, f"GET /health: {status} {body}")
        status, body, headers = self.call(self.link)
        check(status == 302 and "X-Amz-Signature" in (headers["Location"] or ""), f"GET /d/{{token}}: {status} {body[:300]}")
        if not self.emulated:
            with urllib.request.urlopen(headers["Location"], timeout=60) as answer:
                check(answer.read(4) == b"PK\x03\x04", "the link does not lead to a workbook")
        status, _, _ = self.call("/d/v1.AAAA.AAAA")
        check(status in (400, 403, 404), f"a forged link is answered with {status}")
        api = urllib.parse.urlsplit(self.outputs["ApiUrl"]).netloc.split(".")[0]
        found = [r["RouteKey"] for r in self.aws.pages("apigatewayv2", "get_routes", "Items", ApiId=api)]
        check(found, "the API has no routes")
        answers = []
        for route in sorted(found):
            if route == "$default":
                continue
            method, path = route.split(" ", 1)
            path = re.sub(r"\{[^}]+\}", "smoke", path)
            status, body, _ = self.call(path, "GET" if method == "ANY" else method)
            answers.append(f"{route}: {status}")
            check(status < 500, f"{route}: {status} {body[:300]}")
        self.report.note(f"{len(found)} routes: {', '.join(answers)}; the link of the mail leads to the result, a forged one to nothing")

    def token(self, role):
        """A token of a new person with a role."""
        idp, pool, client = self.aws.cognito_idp, self.outputs["UserPoolId"], self.outputs["PageClientId"]
        name, password = f"{role}@example.com", f"Aa1!{secrets.token_urlsafe(24)}"
        verified = [{"Name": "email", "Value": name}, {"Name": "email_verified", "Value": "true"}]
        # Nobody is written to.
        idp.admin_create_user(UserPoolId=pool, Username=name, UserAttributes=verified, MessageAction="SUPPRESS")
        idp.admin_set_user_password(UserPoolId=pool, Username=name, Password=password, Permanent=True)
        idp.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=role)
        parameters = {"USERNAME": name, "PASSWORD": password}
        signed_in = idp.admin_initiate_auth(UserPoolId=pool, ClientId=client, AuthFlow="ADMIN_USER_PASSWORD_AUTH", AuthParameters=parameters)
        return signed_in["AuthenticationResult"]["IdToken"]

    def api(self):
        """The API by people with different roles: an upload to S3 by a signed form, its run, its rows."""
        status, _, _ = self.call("/runs")
        check(status == 401, f"GET /runs without a token: {status}")
        viewer, operator = self.token("viewer"), self.token("operator")

        def ask(path, token=operator, method="GET", body=None, expected=200):
            status, text, _ = self.call(path, method, token, body)
            check(status == expected, f"{method} {path}: {status} {text[:300]}")
            return json.loads(text) if text.startswith("{") else text

        check(ask("/session", viewer)["role"] == "viewer", "the viewer has another role")
        content = REVIEWS.read_bytes()
        self.aws.s3.put_object(Bucket=self.outputs["WorkBucket"], Key="pipelines/judged.toml", Body=JUDGED.encode())
        check("judged" in [p["name"] for p in ask("/pipelines", viewer)["pipelines"]], "the pipeline is not listed")
        content = REVIEWS.read_bytes()
        upload = {"file": "reviews.xlsx", "pipeline": "judged", "size": len(content)}
        ask("/uploads", viewer, "POST", upload, 403)

        def started():
            made = ask("/uploads", operator, "POST", upload, 201)
            # An emulator does not check the form.
            check(self.emulated or self.post(made, content + b"x") >= 400, "S3 took a file that is larger than its form says")
            status = self.post(made, content)
            check(status in (200, 201, 204), f"POST to S3: {status}")
            start = {"upload": made["upload"], "pipeline": "judged"}
            run = ask("/runs", operator, "POST", start, 202)["run"]
            check(ask("/runs", operator, "POST", start, 202)["run"] == run, "the same upload started two runs")
            return run

        def ended(run):
            # A retry exists once its request is handled.
            look = lambda: self.call(f"/runs/{run}", "GET", operator)
            over = lambda: (found := look())[0] == 200 and (r := json.loads(found[1]))["state"].startswith(("delivered", "failed")) and r
            return wait(over, 900, f"{run} ends", self.report)

        cancelled = started()
        ask(f"/runs/{cancelled}/cancel", operator, "POST", {}, 202)
        run = started()
        shown = ended(run)
        count = shown["counts"]["records"]
        check(shown["state"] == "delivered" and shown["reviews"]["open"] == count, f"{shown}")
        page = ask(f"/runs/{run}/rows?limit=3&sort=row&facets=true")
        check(page["total"] == count and len(page["rows"]) == 3, f"GET /rows: {page}")
        row = page["rows"][0]["row"]
        ask(f"/runs/{run}/rows/{row}/approve", viewer, "POST", {"version": 0}, 403)
        ask(f"/runs/{run}/rows/{row}/approve", operator, "POST", {"version": 0})
        ask(f"/runs/{run}/rows/{row}/override", operator, "POST", {"value": "bad", "version": 0}, 409)
        many = ask(f"/runs/{run}/reviews/filter", operator, "POST", {"filter": {"label": "bad"}, "verdict": "approve"}, 201)
        check(many["count"] == page["facets"]["label"]["bad"], f"{many}")
        check(run in [r["run"] for r in ask("/runs")["runs"]], "the run is not listed")
        ask(f"/runs/{run}/cancel", operator, "POST", {}, 409)
        status, _, headers = self.call(f"/runs/{run}/workbook", "GET", operator)
        check(status == 302 and "X-Amz-Signature" in (headers["Location"] or ""), f"GET /workbook: {status}")
        again = ask(f"/runs/{run}/retry", operator, "POST", {"rows": {"where": "row.Stars > 4.0"}}, 202)["run"]
        check(ended(again)["counts"]["records"] == count, "the retry has other rows")
        stopped = ended(cancelled)
        check(stopped["stopped"], f"the cancelled run was not stopped: {stopped}")
        self.report.note(f"an upload by a signed form became a run of {count} rows, was reviewed and retried; another was cancelled; a viewer may not upload or approve")

    def post(self, made, content):
        """Sends the form of an upload to S3, as the page does. Returns the status."""
        edge = secrets.token_hex(16)
        part = lambda name, more, value: f'--{edge}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"
        body = b"".join(part(name, "", value.encode()) for name, value in made["fields"].items())
        body += part("file", '; filename="reviews.xlsx"', content) + f"--{edge}--\r\n".encode()
        request = urllib.request.Request(made["url"], body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
        try:
            return urllib.request.urlopen(request, timeout=60).status
        except urllib.error.HTTPError as error:
            return error.code

    def letters(self):
        """No function failed."""
        for name in ("FailedInvocationsQueue", "UndeliveredEventsQueue"):
            url = self.outputs[name]
            messages = self.aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", [])
            check(not messages, f"{name}: {messages[:1]}")
        self.report.note("no dead letters")

    # -------------------------------------------------------------------------------- all

    def run(self):
        report, step = self.report, self.report.step
        try:
            if not step("Deploy", self.deploy):
                return
            step("Sender", self.sender)
            step("Listen to events", self.listen)
            ran = step("339 reviews", self.reviews)
            if not self.emulated:
                step("A mail that bounces", self.bounce)
            step("An array job loses a child", self.array)
            if ran:
                step("Every route", self.routes)
                step("The API", self.api)
            step("Dead letters", self.letters)
            if self.queue:
                step("Events", self.keep_events)
        finally:
            # A second Ctrl-C during deletion only says so.
            signal.alarm(0)
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, lambda *_: print("   deleting; please wait, or run --delete later", flush=True))
            if os.environ.get("ROWMILL_SMOKE_KEEP"):
                report.say(f"kept: {self.stack}")
            else:
                step("Delete everything", self.everything.delete)
                step("Nothing is left", self.nothing_left)

    def nothing_left(self):
        def rest():
            self.everything.unseen.clear()
            return self.everything.left()

        # What AWS still lists for minutes: tags, tables and networks that are being deleted.
        began = time.monotonic()
        left = rest()
        while left and time.monotonic() - began < (10 if self.emulated else 600):
            time.sleep(1 if self.emulated else 20)
            left = rest()
        if self.everything.unseen:
            seen = "; ".join(f"{what} ({why})" for what, why in sorted(self.everything.unseen.items()))
            self.report.note(f"could not be listed here: {seen}")
        shown = "\n".join(f"{kind} {name}" for kind, name in left)
        check(not left, f"{len(left)} resources are left; run tests/aws/smoke.sh --delete {self.stack}\n{shown}")
        self.report.note("no resource whose name or tag has the stack's name is left")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Nothing:
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return None


class source(Nothing):
    """A server on this machine, for an emulated run; it counts its requests."""

    def __enter__(self):
        counted = self
        self.count, self.lock = 0, threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with counted.lock:
                    counted.count += 1
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def process_of(job):
    """The process of a child on this machine, by the environment that Batch gives it."""
    wanted = f"AWS_BATCH_JOB_ID={job}".encode()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                return int(process.name)
        except OSError:
            continue
    return None


def kind_of(body):
    """A name for an event, or None for what is no event."""
    if body.get("source") == "aws.batch":
        detail = body["detail"]
        array = detail.get("arrayProperties", {})
        what = "child" if "index" in array else "array" if array.get("size") else "job"
        status = detail.get("status", "").lower()
        return f"batch-{what}-{status}" if status else "batch-" + body["detail-type"].lower().replace(" ", "-")
    if body.get("Records", [{}])[0].get("eventSource") == "aws:s3":
        return "s3-created"
    if body.get("Type") == "Notification":
        try:
            message = json.loads(body["Message"])
        except ValueError:
            return "sns-text"
        kind = message.get("kind") or message.get("eventType") or ("alarm" if "AlarmName" in message else "other")
        return f"sns-{str(kind).lower()}"
    return None


def arguments():
    parser = argparse.ArgumentParser(prog="tests/aws/smoke.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sender", help="your address: sender and recipient of the mails; AWS sends it a link to click")
    parser.add_argument("--identity", default="", help="the address or domain, if it is an SES identity already")
    parser.add_argument("--region", help="by default the region of your profile")
    parser.add_argument("--architecture", default="arm64", choices=["arm64", "x86_64"])
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--delete", metavar="STACK", help="only delete what an earlier run left")
    # For the tests of this script: the stack's name, and the template for the emulators at AWS_ENDPOINT_URL.
    parser.add_argument("--stack", help=argparse.SUPPRESS)
    parser.add_argument("--template", help=argparse.SUPPRESS)
    parser.add_argument("--rowmill", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.delete and not given.sender:
        parser.error("--sender is needed")
    return given


def emulated():
    """Whether all calls go to emulators on this machine. A mixture is refused."""
    endpoints = {name: value for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL")}
    if not endpoints:
        return False
    local = all(urllib.parse.urlsplit(value).hostname in ("127.0.0.1", "localhost") for value in endpoints.values())
    if not local or "AWS_ENDPOINT_URL" not in endpoints:
        sys.exit(f"error: {', '.join(endpoints)} sends calls elsewhere; unset it to use AWS")
    return True


def main():
    given = arguments()
    aws = Aws(given.region, emulated())
    if not aws.region:
        sys.exit("error: no region; pass --region, or set one in your profile")
    stack = given.delete or given.stack or PREFIX + secrets.token_hex(4)
    report = Report(ROOT / "target/smoke" / stack)
    if given.delete:
        everything = Everything(aws, stack, report)
        smoke = Smoke(given, aws, stack, report)
        passed = report.step("Delete everything", everything.delete) and report.step("Nothing is left", smoke.nothing_left)
        return 0 if passed else 1

    account = aws.sts.get_caller_identity()["Account"]
    rowmill = given.rowmill
    if not rowmill:
        subprocess.run(["cargo", "build", "--quiet", "--release", "--locked"], cwd=ROOT, check=True)
        rowmill = ROOT / "target/release/rowmill"
    pipeline = report.folder / "array.toml"
    pipeline.write_text(ARRAY.format(url="https://example.com/", rate="1/s", hosts="[]", each=ROWS // CHILDREN, rows=ROWS), encoding="utf-8")
    plans = [planned(rowmill, REVIEWS), planned(rowmill, "--pipeline", pipeline, "--rows", ROWS)]
    # The reviews run twice: once for the mail that bounces.
    expected, most = 2 * plans[0]["cost_usd_on_demand"] + plans[1]["cost_usd_on_demand"] + 0.10, bound()
    check(most <= MOST, f"the bound of {most:.2f} USD is above {MOST:.2f} USD")
    where = "emulators on this machine" if aws.emulated else f"account {account}"
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    said = [
        f"stack {stack} in {where}, region {aws.region}, mail from and to {given.sender}",
        f"about 30 minutes, at most {LIMIT_MINUTES} before everything is deleted",
        f"expected {expected:.2f} USD (the planner's figures for the jobs, On-Demand, and 0.10 for the rest); at most {most:.2f} USD, with all vCPUs of both environments busy until the limit",
    ]
    for line in said:
        report.note(line)
    report.lines.append(f"- commit {commit}, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC")
    if aws.emulated:
        report.lines.append(
            "- emulators: ministack, moto and this project's endpoint for Batch. They do not show: permissions, the"
            " network, Fargate and Spot, the image, EventBridge's delivery of Batch's events, delivery of mail and"
            " bounces, service quotas, and the time that AWS takes"
        )
    if not given.yes and input(f"Type the stack's name to deploy it, anything else to stop: {stack} > ").strip() != stack:
        sys.exit("stopped; nothing was created")

    def stop(number, _):
        raise Stopped("the time limit" if number == signal.SIGALRM else signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, stop)
    signal.alarm(LIMIT_MINUTES * 60)
    try:
        Smoke(given, aws, stack, report).run()
    except Stopped as stopped:
        report.failed.append(f"stopped by {stopped}")
    report.write()
    print(f"report: {(report.folder / 'report.md').relative_to(ROOT)}")
    print(f"{'FAILED: ' + '; '.join(report.failed) if report.failed else 'every step passed'}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
