"""Answers each line on stdin with a line on stdout. See pipeline.toml."""

import json
import sys

for line in sys.stdin:
    record = json.loads(line)
    text = str(record["values"].get(@TEXT@, ""))
    if not text:
        answer = {"row": record["row"], "error": "there is no text to score"}
    else:
        words = len(text.split())
        answer = {"row": record["row"], "outputs": {"words": words, "score": words / 2}}
    print(json.dumps(answer), flush=True)  # flush, or the answer stays in the buffer
