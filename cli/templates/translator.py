"""A stand-in for LibreTranslate on http://127.0.0.1:8732. It knows the texts of sample.xlsx, and returns
others unchanged. For real translations use LibreTranslate or Amazon Translate."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KNOWN = {
    "Es ist nach zwei Tagen kaputtgegangen.": ("de", "It broke after two days."),
    "Le paquet est arrivé mardi.": ("fr", "The parcel arrived on Tuesday."),
    "No está mal, pero el manual es inútil.": ("es", "Not bad, but the manual is useless."),
    "Sehr freundlicher Kundendienst, vielen Dank!": ("de", "Very friendly support, thank you!"),
}


class Translator(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        language, text = KNOWN.get(asked["q"], ("en", asked["q"]))
        answer = {"translatedText": text, "detectedLanguage": {"language": language, "confidence": 90}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    print("translator on http://127.0.0.1:8732, Ctrl-C stops it")
    try:
        ThreadingHTTPServer(("127.0.0.1", 8732), Translator).serve_forever()
    except KeyboardInterrupt:
        pass
