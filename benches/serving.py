"""A running `rowmill serve`, for the benchmarks of its API."""

import http.client
import json
import pathlib
import re
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Server:
    """`rowmill serve` with the pipelines in a folder, and its state below it."""

    def __init__(self, binary: str, folder: pathlib.Path) -> None:
        command = [binary, "serve", "--port", "0", "--pipelines", folder, "--out", folder / "out"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        address = self.process.stdout.readline()
        self.port, self.token = re.fullmatch(r"http://127.0.0.1:(\d+)/#token=(\w+)\n", address).groups()
        self.connection = http.client.HTTPConnection("127.0.0.1", int(self.port))

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def request(self, method: str, path: str, body=None) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}"}
        if isinstance(body, bytes):
            headers["Content-Type"] = "multipart/form-data; boundary=b"
        elif body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        assert answer.status < 300, (answer.status, answer.read()[:500])
        return answer

    def call(self, method: str, path: str, body=None) -> bytes:
        return self.request(method, path, body).read()

    def get(self, path: str):
        return json.loads(self.call("GET", path))

    def read(self, path: str) -> int:
        """Reads an answer in parts, and returns its size."""
        answer, size = self.request("GET", path), 0
        while part := answer.read(1 << 16):
            size += len(part)
        return size

    def finished_run(self, file: pathlib.Path, pipeline: str) -> str:
        """Uploads a file, and waits for the end of its run."""
        content = file.read_bytes()
        new = {"file": file.name, "pipeline": pipeline, "size": len(content)}
        upload = json.loads(self.call("POST", "/uploads", new))
        part = 'Content-Disposition: form-data; name="'
        fields = "".join(f'--b\r\n{part}{name}"\r\n\r\n{value}\r\n' for name, value in upload["fields"].items())
        form = f'{fields}--b\r\n{part}file"; filename="x"\r\n\r\n'.encode()
        self.call("POST", upload["url"], form + content + b"\r\n--b--\r\n")
        start = {"upload": upload["upload"], "pipeline": pipeline}
        run = json.loads(self.call("POST", "/runs", start))["run"]
        while "delivered" not in (state := self.get(f"/runs/{run}")["state"]):
            assert state != "failed"
            time.sleep(0.2)
        return run

    def peak_mib(self) -> float:
        return self._memory("VmHWM")

    def reset_peak(self) -> float:
        """Sets the peak to the memory in use, which it returns."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._memory("VmRSS")

    def _memory(self, name: str) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024
