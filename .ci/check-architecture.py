"""Checks docs/architecture.md: every file that it names exists, every port and crate is there with the
right dependencies, and its diagram has the states in the code.

The test of rowmill-runs checks that the diagram matches the table of transitions.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/architecture.md"
# A code span with a slash, or the name of a file at the root. `functions/*` stands for all of them.
PATH = re.compile(r"`([\w.-]+(?:/[\w.*-]*)+|[\w-]+\.(?:yaml|toml|md))`")
# Files that each stage or pipeline has, named without their folder.
RELATIVE = {"pipeline.toml"}


CRATE = re.compile(r"^\| `((?:shared|functions)/\w+|cli)` \| [^|]+ \| ([^|]+) \|$", re.M)


def dependencies() -> dict[str, str]:
    """The workspace crates that each crate depends on, development apart."""
    found = {}
    for pattern in ("shared/*/Cargo.toml", "functions/*/Cargo.toml", "cli/Cargo.toml"):
        for manifest in ROOT.glob(pattern):
            _, _, section = manifest.read_text(encoding="utf-8").partition("[dependencies]\n")
            used = sorted(re.findall(r"^rowmill-(\w+)", section.partition("\n[")[0], re.M))
            found[str(manifest.parent.relative_to(ROOT))] = ", ".join(used) or "none"
    return found


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

    listed = dict(CRATE.findall(text))
    for crate, used in dependencies().items():
        if listed.get(crate) != used:
            wrong.append(f"docs/architecture.md: {crate} uses {used}; the table says {listed.get(crate)}")

    source = (ROOT / "shared/domain/src/run.rs").read_text(encoding="utf-8")
    names = re.search(r"fn name\(self\).*?\n    }", source, re.S)
    known = set(re.findall(r'=> "(\w+)"', names[0])) if names else set()
    diagram = re.search(r"stateDiagram-v2\n(.*?)```", text, re.S)
    printed = set(re.findall(r"(\w+)(?= -->)|(?<=--> )(\w+)", diagram[1])) if diagram else set()
    printed = {name for pair in printed for name in pair if name}
    if not known or printed != known:
        wrong.append(f"docs/architecture.md: the states are {sorted(printed)}, in the code {sorted(known)}")
    print("\n".join(wrong) if wrong else f"{len(paths)} paths exist, {len(listed)} crates and {len(known)} states as in the code")
    return 1 if wrong else 0


sys.exit(main())
