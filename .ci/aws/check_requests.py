"""Validates every request that the adapters sent in the tests with botocore: its parameters
(validate_parameters), and what botocore leaves to the service: names that the operation does not have,
enumerations, lengths, ranges and patterns."""

import collections
import re
import sys

from botocore.validate import ParamValidator

import recorded

# Services whose requests must be among the recorded ones.
EXPECTED = {"batch", "dynamodb", "lambda", "s3", "scheduler", "secretsmanager", "sesv2", "sns"}


def constraints(shape, value, where):
    """What the model says about a value and ParamValidator does not check."""
    limits = shape.metadata
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape.members:
                yield from constraints(shape.members[name], inner, f"{where}.{name}")
    elif shape.type_name == "list":
        for inner in value:
            yield from constraints(shape.member, inner, where)
    elif shape.type_name == "map":
        for name, inner in value.items():
            yield from constraints(shape.key, name, where)
            yield from constraints(shape.value, inner, where)
    if isinstance(value, (str, bytes, list, dict)):
        if len(value) > limits.get("max", len(value)):
            yield f"{where}: {len(value)} long, at most {limits['max']}"
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value > limits.get("max", value):
            yield f"{where}: {value}, at most {limits['max']}"
    if isinstance(value, str):
        if shape.type_name == "string" and getattr(shape, "enum", None) and value not in shape.enum:
            yield f"{where}: {value!r} is not one of {shape.enum}"
        pattern = limits.get("pattern")
        if pattern:
            try:
                matched = re.fullmatch(pattern, value, re.DOTALL)
            except re.error:  # of another dialect
                matched = True
            if not matched:
                yield f"{where}: {value!r} does not match {pattern}"


def main():
    validator = ParamValidator()
    count, wrong = collections.Counter(), collections.Counter()
    for call in recorded.calls():
        count[call.service] += 1
        shape = call.operation.input_shape
        found = list(call.unknown)
        if shape is not None:
            report = validator.validate(call.parameters, shape)
            if report.has_errors():
                found.append(report.generate_report())
            found += constraints(shape, call.parameters, "")
        for each in found:
            wrong[f"{call.name} ({call.app or 'test'}): {each}"] += 1
    for message, times in wrong.most_common():
        print(f"{message} ({times} requests)")
    missing = EXPECTED - set(count)
    if missing:
        print(f"no recorded request to {', '.join(sorted(missing))}: run the tests of tests/aws first")
    each = ", ".join(f"{n} {service}" for service, n in sorted(count.items()))
    print(f"{sum(count.values())} distinct requests validated: {each}")
    return 1 if wrong or missing else 0


sys.exit(main())
