"""A small web source to try pipeline.toml with: http://127.0.0.1:8730/items/0042"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Items(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        number = sum(map(ord, self.path))
        item = {"price": number % 90 + 9.5}
        if number % 4:
            item["stock"] = number % 3
        body = json.dumps(item).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    print("source on http://127.0.0.1:8730, Ctrl-C stops it")
    try:
        ThreadingHTTPServer(("127.0.0.1", 8730), Items).serve_forever()
    except KeyboardInterrupt:
        pass
