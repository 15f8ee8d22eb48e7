"""Compares `rowmill train` with scikit-learn on the same texts, folds and core: TF-IDF of words (1 to
2) and of characters within words (3 to 5), logistic regression. Prints ratios from the same run.

    python3 benches/classify.py DATA.csv --text COLUMN --label COLUMN [--runs N]

The time of rowmill is that of the whole program: start, reading, training and predicting in each of 5
folds, and training the model of all texts. The time of scikit-learn is only training and predicting
in the 5 folds. Builds rowmill in release mode and creates a venv under target/ with the peer. Needs
Linux.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/python"))
from environment import environment
PEERS = ["scikit-learn==1.9.1"]
FOLDS = 5

# Assigns folds as rowmill does: texts sorted by label, then dealt one by one.
SKLEARN = """
import csv, json, sys, time
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_union

rows = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
texts, labels = zip(*rows)
folds = int(sys.argv[2])
fold = [0] * len(texts)
for dealt, i in enumerate(sorted(range(len(texts)), key=lambda i: (labels[i].encode(), i))):
    fold[i] = dealt % folds
answers = [None] * len(texts)
train = ask = 0
for part in range(folds):
    inside = [i for i in range(len(texts)) if fold[i] != part]
    outside = [i for i in range(len(texts)) if fold[i] == part]
    start = time.perf_counter()
    features = make_union(TfidfVectorizer(ngram_range=(1, 2)), TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)))
    model = LogisticRegression(max_iter=1000).fit(features.fit_transform([texts[i] for i in inside]), [labels[i] for i in inside])
    fitted = time.perf_counter()
    for i, answer in zip(outside, model.predict(features.transform([texts[i] for i in outside]))):
        answers[i] = answer
    train += fitted - start
    ask += time.perf_counter() - fitted
print(json.dumps({"train": train, "ask": ask, "accuracy": accuracy_score(labels, answers), "macro_f1": f1_score(labels, answers, average="macro")}))
"""


def on_one_core(command, **more):
    """Runs a command on one core; returns its output and its seconds."""
    core = min(os.sched_getaffinity(0))
    start = time.perf_counter()
    done = subprocess.run(["taskset", "--cpu-list", str(core), *command], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True, **more)
    return done.stdout, time.perf_counter() - start


def spread(values):
    return f"median {statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--text", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()

    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
    rowmill = ROOT / "target/release/rowmill"
    python = environment(ROOT / "target/classify-venv", "\n".join(PEERS))

    with args.data.open(encoding="utf-8", newline="") as f:
        pairs = [(row[args.text].strip(), row[args.label].strip()) for row in csv.DictReader(f)]
    pairs = [pair for pair in pairs if all(pair)]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        same = work / "pairs.jsonl"
        same.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
        model = work / "model"
        ours = [rowmill, "train", args.data, "--text", args.text, "--label", args.label,
                "--folds", str(FOLDS), "--out", model, "--json"]
        peer = [python, "-c", SKLEARN, same, str(FOLDS)]
        # One line per text, repeated until there are enough to time.
        lines = "".join(" ".join(text.split()) + "\n" for text, _ in pairs)
        asked = max(1, 100_000 // len(pairs))
        lines = (lines * asked).encode()

        train, ask, rates = [], [], []
        for i in range(args.runs):
            out, seconds = on_one_core(ours)
            a = json.loads(out)
            b = json.loads(on_one_core(peer)[0])
            if a["texts"] != len(pairs):
                sys.exit(f"rowmill read {a['texts']} texts, this script {len(pairs)}")
            train.append(b["train"] / seconds)
            _, seconds = on_one_core([rowmill, "predict", model, "--words", "0"], input=lines)
            rates.append(len(pairs) * asked / seconds)
            ask.append(rates[-1] * b["ask"] / len(pairs))
            print(f"run {i + 1}: training {train[-1]:.1f} times as fast, predictions {ask[-1]:.1f} times", flush=True)

        print(f"\n{len(pairs)} texts, {len(a['labels'])} labels, {FOLDS} folds, one core each, {args.runs} alternating pairs")
        print(f"macro F1: rowmill {a['macro_f1']:.4f}, scikit-learn {b['macro_f1']:.4f}, difference {a['macro_f1'] - b['macro_f1']:+.4f}")
        print(f"accuracy: rowmill {a['accuracy']:.4f}, scikit-learn {b['accuracy']:.4f}")
        print(f"training, times as fast as scikit-learn: {spread(train)}")
        print(f"predictions, times as fast as scikit-learn: {spread(ask)}; texts per second {spread(rates)}")
        print(f"model: {a['bytes'] / 1e6:.1f} MB, {a['features']} n-grams")


main()
