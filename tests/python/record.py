"""Records the requests of the AWS SDK for Rust that an emulator receives: one JSON object per line, in a
file of its own in the folder ROWMILL_REQUESTS. .ci/aws/requests.py reads them.

The name that a deployed function or job gives to the SDK (AWS_SDK_UA_APP_ID) says who sent a request.
"""

import base64
import io
import json
import os
import re
import threading

LOCK = threading.Lock()
# What S3 receives beyond this is an object, which nothing is required of.
OBJECT = 100_000
HEADERS = re.compile("x-amz-|content-|if-|range$")


def write(method, target, headers, body):
    agent = headers.get("x-amz-user-agent", "") + " " + headers.get("user-agent", "")
    if "aws-sdk-rust" not in agent:
        return
    app = re.search(r"\bapp/(\w+)", agent)
    scope = re.search(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/", headers.get("authorization", ""))
    is_s3 = scope is not None and scope[1] == "s3"
    record = {
        "app": app and app[1],
        "service": scope and scope[1],
        "method": method,
        "target": target,
        "headers": {name: value for name, value in headers.items() if HEADERS.match(name)},
        "body": base64.b64encode(body).decode() if len(body) <= OBJECT or not is_s3 else None,
    }
    with LOCK, open(f"{os.environ['ROWMILL_REQUESTS']}/{os.getpid()}.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")


def asgi(app):
    """`app`, which also records."""

    async def recording(scope, receive, send):
        parts = []

        async def received():
            message = await receive()
            parts.append(message.get("body", b""))
            return message

        try:
            await app(scope, received, send)
        finally:
            if scope["type"] == "http":
                target = scope.get("raw_path", scope["path"].encode()).decode("latin-1").split("?")[0]
                query = scope["query_string"].decode("latin-1")
                headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
                write(scope["method"], f"{target}?{query}", headers, b"".join(parts))

    return recording


def wsgi(call):
    """The `__call__` of a WSGI application, which also records."""

    def recording(self, environ, start_response):
        length = environ.get("CONTENT_LENGTH")
        if length:
            body = environ["wsgi.input"].read(int(length))
        else:
            # Without a length only a chunked body has an end.
            body = environ["wsgi.input"].read() if environ.get("wsgi.input_terminated") else b""
        environ["wsgi.input"] = io.BytesIO(body)
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        }
        target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"]
        write(environ["REQUEST_METHOD"], target, headers, body)
        return call(self, environ, start_response)

    return recording


def install():
    """Records what ministack and moto receive in this process."""
    import sys

    if not os.environ.get("ROWMILL_REQUESTS"):
        return
    os.makedirs(os.environ["ROWMILL_REQUESTS"], exist_ok=True)
    if sys.argv[0] == "ministack":
        import ministack.app

        ministack.app.app = asgi(ministack.app.app)
    else:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication

        DomainDispatcherApplication.__call__ = wsgi(DomainDispatcherApplication.__call__)
