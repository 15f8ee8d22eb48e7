"""Calls an image as Lambda calls a function: serves a Runtime API with one preview request.

    python3 .ci/image_preview.py IMAGE
"""

import http.server
import json
import subprocess
import sys
import threading

PIPELINE = '[[step]]\nkind = "sentiment"\ncolumn = "Review"\n'
REQUEST = {"pipeline": PIPELINE, "rows": [{"Review": "A wonderful, reliable product."}]}
SECONDS = 60

answer: list[tuple[str, bytes]] = []
answered = threading.Event()


class RuntimeApi(http.server.BaseHTTPRequestHandler):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html"""

    protocol_version = "HTTP/1.1"
    given = False

    def do_GET(self) -> None:
        if RuntimeApi.given:
            answered.wait()
            self.close_connection = True
            return
        RuntimeApi.given = True
        body = json.dumps(REQUEST).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
        self.send_header("Lambda-Runtime-Deadline-Ms", "4102444800000")
        self.send_header(
            "Lambda-Runtime-Invoked-Function-Arn",
            "arn:aws:lambda:eu-central-1:000000000000:function:rowmill-enrich",
        )
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        answer.append((self.path.rsplit("/", 1)[1], body))
        answered.set()

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), RuntimeApi)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
        "AWS_LAMBDA_FUNCTION_NAME": "rowmill-enrich",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "ROWMILL_STACK": "rowmill",
        "ROWMILL_WORK_BUCKET": "rowmill-work",
        "ROWMILL_LOG": "info",
    }
    pairs = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    command = ["docker", "run", "--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp"]
    container = subprocess.Popen([*command, "--name", "preview", *pairs, sys.argv[1]])
    answered.wait(SECONDS)
    subprocess.run(["docker", "kill", "preview"], capture_output=True, check=False)
    container.wait()
    if not answer:
        print(f"as a function: no answer within {SECONDS} s")
        return 1
    kind, body = answer[0]
    print("as a function:", kind, body.decode())
    rows = json.loads(body).get("rows", []) if kind == "response" else []
    return 0 if [row["status"] for row in rows] == ["ok"] else 1


sys.exit(main())
