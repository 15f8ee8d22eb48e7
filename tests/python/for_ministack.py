"""Converts the output of `sam build` into a template that ministack accepts.

    for_ministack.py BUILT_TEMPLATE OUT

Every difference from the template for AWS is in this file: it removes `AWS::Batch::*`, which ministack
refuses, and replaces references to queues with the ARN that the queue would have. The tests' own
endpoint replaces Batch. Each function gets a name for the SDK, see record.py.
"""

import json
import sys

import yaml

LEFT_OUT = "AWS::Batch::"


def tag(loader, suffix, node):
    """The long form of a short form such as !Ref or !Sub."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    name = suffix if suffix in ("Ref", "Condition") else "Fn::" + suffix
    return {name: value}


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms. Dates remain text."""


Loader.add_multi_constructor("!", tag)
Loader.yaml_implicit_resolvers = {
    first: [(name, pattern) for name, pattern in known if name != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def replaced(node, queues):
    """`node`, with every reference to a queue replaced by the ARN of the queue."""
    if isinstance(node, list):
        return [replaced(item, queues) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1 and node.get("Ref") in queues:
        arn = "arn:${AWS::Partition}:batch:${AWS::Region}:${AWS::AccountId}:job-queue/"
        return {"Fn::Sub": arn + queues[node["Ref"]]}
    return {key: replaced(value, queues) for key, value in node.items()}


def main(built, out):
    with open(built) as f:
        template = yaml.load(f, Loader)
    resources = template["Resources"]
    left_out = {name for name, r in resources.items() if r["Type"].startswith(LEFT_OUT)}
    queues = {}
    for name in left_out:
        if resources[name]["Type"] == "AWS::Batch::JobQueue":
            queues[name] = resources[name]["Properties"]["JobQueueName"]["Fn::Sub"]
        del resources[name]
    template = replaced(template, queues)
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            # Part of each request, so that record.py knows which function sent it.
            variables = resource["Properties"].setdefault("Environment", {}).setdefault("Variables", {})
            variables["AWS_SDK_UA_APP_ID"] = name
    with open(out, "w") as f:
        json.dump(template, f, indent=1)


main(*sys.argv[1:])
