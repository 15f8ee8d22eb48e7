"""The template with its parameters resolved, as CloudFormation would deploy it."""

import base64
import ipaddress
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ACCOUNT, REGION, STACK = "123456789012", "eu-central-1", "rowmill"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/11111111-2222-3333-4444-0a1b2c3d4e5f",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}
# The optional parts of the stack, all turned on where they do not exclude each other.
VARIANTS = {
    "default": {},
    "everything": {
        "Capacity": "ec2",
        "SecretArns": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:other-AbCdEf,arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/other",
        "ImageRepositories": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/likeness",
        "FetchBuckets": "arn:aws:s3:::tools,arn:aws:s3:::more-tools",
        "OperatorEmail": "operator@example.com",
        "SenderDomain": "example.com",
        "MonthlyBudget": 100,
        "PrivateNetwork": "true",
        "SecretKeyArns": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/secrets",
        "BucketKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/buckets",
        "TableKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/tables",
        "TopicKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/topic",
        "LogKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/logs",
    },
    "own network": {
        "VpcId": "vpc-0a1b2c3d",
        "SubnetIds": "subnet-0a1b2c3d,subnet-1a2b3c4d",
        "AssignPublicIp": "false",
        "SenderIdentity": "example.com",
    },
}
REQUIRED = {"Sender": "rowmill@example.com"}


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms."""


def short(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else "Fn::" + suffix: value}


Loader.add_multi_constructor("!", short)
Loader.yaml_implicit_resolvers = {
    first: [(name, pattern) for name, pattern in known if name != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def source():
    return yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), Loader)


class Stack:
    """The stack with these parameters in addition to the required ones."""

    def __init__(self, parameters):
        self.template = source()
        declared = self.template["Parameters"]
        self.parameters = {name: p.get("Default") for name, p in declared.items()} | REQUIRED | parameters
        assert set(self.parameters) == set(declared), parameters
        self.resources = {
            name: self.value(resource)
            for name, resource in self.template["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }

    def of_type(self, *types):
        return {n: r["Properties"] for n, r in self.resources.items() if r["Type"] in types}

    def holds(self, condition):
        if isinstance(condition, str):
            condition = self.template["Conditions"][condition]
        ((function, given),) = condition.items()
        if function == "Condition":
            return self.holds(given)
        if function == "Fn::Equals":
            first, second = map(self.value, given)
            return str(first) == str(second)
        tried = [self.holds(each) for each in given]
        return {"Fn::Not": not tried[0], "Fn::And": all(tried), "Fn::Or": any(tried)}[function]

    def value(self, node):
        if isinstance(node, list):
            values = [self.value(item) for item in node]
            return [value for value in values if value is not None]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, given),) = node.items()
            if function == "Ref":
                return self.ref(given)
            if function.startswith("Fn::"):
                return getattr(self, function[4:].lower())(given)
        values = {key: self.value(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not None}

    def ref(self, name):
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        kind = self.template["Resources"][name]["Type"]
        if kind in ARN_IS_REF:
            return self.arn(name)
        return self.physical(name)

    def physical(self, name):
        """The name of a resource: its own if it has one."""
        resource = self.template["Resources"][name]
        for key in NAMES.get(resource["Type"], []):
            if key in resource.get("Properties", {}):
                return self.value(resource["Properties"][key])
        return f"{STACK}-{name}-0A1B2C3D"

    def arn(self, name):
        kind = self.template["Resources"][name]["Type"]
        return ARNS[kind].format(region=REGION, account=ACCOUNT, name=self.physical(name))

    def getatt(self, given):
        name, attribute = given
        if attribute == "Arn":
            return self.arn(name)
        if attribute == "QueueName":
            return self.physical(name)
        return f"{name}.{attribute}"

    def sub(self, given):
        text, more = (given, {}) if isinstance(given, str) else given
        more = {key: self.value(value) for key, value in more.items()}

        def one(match):
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in more:
                return str(more[name])
            return str(self.getatt(name.split(".", 1)) if "." in name else self.ref(name))

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def findinmap(self, given):
        name, first, second = map(self.value, given)
        return self.template["Mappings"][name][first][second]

    def join(self, given):
        return given[0].join(map(str, self.value(given[1])))

    def split(self, given):
        return self.value(given[1]).split(given[0])

    def select(self, given):
        return self.value(given[1])[int(given[0])]

    def getazs(self, given):
        return [REGION + zone for zone in "abc"]

    def cidr(self, given):
        block, count, bits = map(self.value, given)
        networks = ipaddress.ip_network(block).subnets(new_prefix=32 - int(bits))
        return [str(next(networks)) for _ in range(int(count))]

    def base64(self, given):
        return base64.b64encode(self.value(given).encode()).decode()

    def __getattr__(self, name):
        if name == "if":
            return lambda given: self.value(given[1] if self.holds(given[0]) else given[2])
        raise AttributeError(name)


ARN_IS_REF = {
    "AWS::SNS::Topic",
    "AWS::Batch::ComputeEnvironment",
    "AWS::Batch::JobQueue",
    "AWS::Batch::SchedulingPolicy",
    "AWS::SecretsManager::Secret",
}
NAMES = {
    "AWS::S3::Bucket": ["BucketName"],
    "AWS::DynamoDB::Table": ["TableName"],
    "AWS::Logs::LogGroup": ["LogGroupName"],
    "AWS::SNS::Topic": ["TopicName"],
    "AWS::SQS::Queue": ["QueueName"],
    "AWS::Serverless::Function": ["FunctionName"],
    "AWS::Batch::JobQueue": ["JobQueueName"],
    "AWS::Scheduler::ScheduleGroup": ["Name"],
    "AWS::SES::ConfigurationSet": ["Name"],
    "AWS::CloudWatch::Alarm": ["AlarmName"],
}
ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "AWS::Serverless::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Batch::ComputeEnvironment": "arn:aws:batch:{region}:{account}:compute-environment/{name}",
    "AWS::Batch::JobQueue": "arn:aws:batch:{region}:{account}:job-queue/{name}",
    "AWS::Batch::SchedulingPolicy": "arn:aws:batch:{region}:{account}:scheduling-policy/{name}",
    "AWS::SecretsManager::Secret": "arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::IAM::InstanceProfile": "arn:aws:iam::{account}:instance-profile/{name}",
    "AWS::Events::Rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "AWS::KMS::Key": "arn:aws:kms:{region}:{account}:key/{name}",
}
