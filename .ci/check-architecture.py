"""Checks docs/architecture.md: every file that it names exists, it includes the generated states, and
every state there is one of the code's.

The test of rowmill-runs checks that docs/states.md matches the table of transitions.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/architecture.md"
STATES = ROOT / "docs/states.md"
# A code span with a slash, or the name of a file at the root. `functions/*` stands for all of them.
PATH = re.compile(r"`([\w.-]+(?:/[\w.*-]*)+|[\w-]+\.(?:yaml|toml|md))`")
# Files that each stage or pipeline has, named without their folder.
RELATIVE = {"pipeline.toml"}


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    wrong = []
    paths = [path for path in PATH.findall(text) if path not in RELATIVE]
    for path in paths:
        if not any(ROOT.glob(path.rstrip("/"))):
            wrong.append(f"docs/architecture.md: no such file: {path}")
    for port in (ROOT / "shared/ports/src").glob("*.rs"):
        path = f"shared/ports/src/{port.name}"
        if re.search(r"^pub trait \w+: Send", port.read_text(encoding="utf-8"), re.M) and path not in paths:
            wrong.append(f"docs/architecture.md: the port in {path} is missing")

    if "{{#include states.md" not in text:
        wrong.append("docs/architecture.md: does not include docs/states.md")
    source = (ROOT / "shared/domain/src/run.rs").read_text(encoding="utf-8")
    names = re.search(r"fn name\(self\).*?\n    }", source, re.S)
    known = set(re.findall(r'=> "(\w+)"', names[0])) if names else set()
    diagram = re.search(r"stateDiagram-v2\n(.*?)```", STATES.read_text(encoding="utf-8"), re.S)
    printed = set(re.findall(r"(\w+)(?= -->)|(?<=--> )(\w+)", diagram[1])) if diagram else set()
    printed = {name for pair in printed for name in pair if name}
    if not known or printed != known:
        wrong.append(f"docs/states.md: the states are {sorted(printed)}, in the code {sorted(known)}")
    print("\n".join(wrong) if wrong else f"{len(paths)} paths exist, {len(known)} states as in the code")
    return 1 if wrong else 0


sys.exit(main())
