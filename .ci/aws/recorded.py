"""Reads the requests that the tests recorded (tests/python/record.py, tests/aws/src/record.rs) as calls:
operation and parameters, parsed with moto's parsers and botocore's models."""

import base64
import dataclasses
import functools
import json
import os
import pathlib
import re
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
from moto.core import parse
from moto.core.model import ServiceModel
from werkzeug.datastructures import Headers, MultiDict

from template import ROOT

SESSION = botocore.session.get_session()
# The names in signatures that botocore calls otherwise.
MODELS = {"ses": "sesv2"}
PARSERS = {
    "json": parse.JSONParser,
    "query": parse.QueryParser,
    "rest-json": parse.RestJSONParser,
    "rest-xml": parse.RestXMLParser,
}


@dataclasses.dataclass
class Call:
    app: str | None
    """The function or role that sent it; `None`: the tests of the adapters."""
    service: str
    operation: botocore.model.OperationModel
    parameters: dict
    unknown: list
    """Names in the request that the operation does not have."""

    @property
    def name(self):
        return f"{self.service}:{self.operation.name}"


@functools.cache
def model(service):
    loader = SESSION.get_component("data_loader")
    # moto's subclass, which its parsers need.
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


@functools.cache
def routes(service):
    """The operations of a REST service: method, pattern of the path, fixed query, and the operation."""
    found = []
    for name in model(service).operation_names:
        operation = model(service).operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")

        def placeholder(match):
            return f"(?P<{match[1].replace('-', '_')}>{'.+' if match[2] else '[^/]+'})"

        pattern = "".join(
            re.sub(r"\{([\w-]+)(\+?)\}", placeholder, part) if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{[^}]+\})", path)
        )
        fixed = dict(parse_qsl(query, keep_blank_values=True))
        found.append((operation.http["method"], re.compile(pattern.rstrip("/") + "/?"), fixed, operation))
    # The most specific first.
    return sorted(found, key=lambda r: (-len(r[2]), r[1].pattern.count("(?P"), -len(r[1].pattern)))


def operation_of(service, record, path, query, form):
    if target := record["headers"].get("x-amz-target"):
        return model(service).operation_model(target.split(".")[-1]), {}
    if "Action" in form:
        return model(service).operation_model(form["Action"]), {}
    named = query.pop("x-id", None)
    for method, pattern, fixed, operation in routes(service):
        match = pattern.fullmatch(path)
        if not match or method != record["method"] or named not in (None, operation.name):
            continue
        if all(name in query and value in ("", query[name]) for name, value in fixed.items()):
            for name in fixed:
                query.pop(name)
            names = {n.replace("-", "_"): n for n in re.findall(r"\{([\w-]+)", operation.http["requestUri"])}
            return operation, {names[n]: unquote(v) for n, v in match.groupdict().items()}
    raise ValueError(f"no operation of {service} for {record['method']} {record['target']}")


def unknown(shape, node, where=""):
    """The names in a JSON value that its shape does not have."""
    if shape.type_name == "structure" and isinstance(node, dict) and not shape.is_document_type:
        members = {m.serialization.get("name", n): m for n, m in shape.members.items()}
        for name, value in node.items():
            if name not in members:
                yield f"{where}.{name}"
            else:
                yield from unknown(members[name], value, f"{where}.{name}")
    elif shape.type_name == "list" and isinstance(node, list):
        for item in node:
            yield from unknown(shape.member, item, where)
    elif shape.type_name == "map" and isinstance(node, dict):
        for value in node.values():
            yield from unknown(shape.value, value, where)


def call(record):
    service = MODELS.get(record["service"], record["service"])
    url = urlsplit(record["target"])
    query = MultiDict(parse_qsl(url.query, keep_blank_values=True))
    body = base64.b64decode(record["body"]) if record["body"] is not None else b""
    protocol = model(service).protocol
    form = MultiDict(parse_qsl(body.decode(), keep_blank_values=True)) if protocol == "query" else MultiDict()
    operation, uri = operation_of(service, record, url.path, query, form)
    values = MultiDict([*query.items(multi=True), *form.items(multi=True)])
    if not body and protocol in ("json", "rest-json"):
        body = b"{}"
    shape = operation.input_shape
    parsed = PARSERS[protocol](operation).parse(
        {
            "body": body,
            "headers": Headers(record["headers"]),
            "method": record["method"],
            "url_params": uri,
            "url_path": unquote(url.path),
            "values": values,
        }
    )
    parameters = {n: v for n, v in (parsed or {}).items() if v is not None}
    extra = []
    if protocol in ("json", "rest-json") and shape is not None and "payload" not in shape.serialization:
        extra = list(unknown(shape, json.loads(body)))
    if protocol == "query":
        members = {*shape.members, "Action", "Version"}
        extra = [name for name in form if name.split(".")[0] not in members]
    if protocol.startswith("rest"):
        known = {m.serialization.get("name") for m in shape.members.values()}
        extra += [f"?{name}" for name in query if name not in known]
    return Call(record["app"], service, operation, parameters, extra)


def folder():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "requests"


def calls():
    """All recorded calls, each distinct request once."""
    seen = set()
    for path in sorted(folder().glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            headers = record["headers"]
            for changing in ("x-amz-date", "x-amz-user-agent", "x-amz-content-sha256"):
                headers.pop(changing, None)
            key = json.dumps(record, sort_keys=True)
            if key not in seen:
                seen.add(key)
                yield call(record)
