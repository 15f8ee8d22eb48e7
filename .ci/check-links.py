"""Every relative link in the repository's Markdown must lead to a file, and every anchor to a heading."""

import pathlib
import re
import subprocess
import sys

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(path: pathlib.Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    files = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.split()
    broken = []
    for name in files:
        path = root / name
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
        for link in LINK.findall(text):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            to = (path.parent / target).resolve() if target else path
            if not to.exists():
                broken.append(f"{name}: {link}: no such file")
            elif anchor and to.suffix == ".md" and anchor not in anchors(to):
                broken.append(f"{name}: {link}: no such heading")
    print("\n".join(broken) if broken else f"{len(files)} files, no broken link")
    return 1 if broken else 0


sys.exit(main())
