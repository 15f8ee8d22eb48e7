"""Checks links in the repository's Markdown: a relative link leads to a file, its anchor to a heading.

Links to this repository on GitHub are checked against the files here. Pages of the book (docs/)
link to files outside of it in that form, because the book is published without them, and each page
of the book is in docs/SUMMARY.md.
"""

import pathlib
import re
import subprocess
import sys

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
REPOSITORY = re.compile(r"https://github\.com/rowmill/rowmill/(?:blob|tree)/main/")
ROOT = pathlib.Path(__file__).resolve().parent.parent
BOOK = ROOT / "docs"


def anchors(path: pathlib.Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def wrong(path: pathlib.Path, link: str) -> str | None:
    """What is wrong with a link on the page at `path`."""
    here, base = REPOSITORY.sub("", link), path.parent
    if here != link:
        base = ROOT
    elif re.match(r"[a-z]+:", link):
        return None
    target, _, anchor = here.partition("#")
    to = (base / target).resolve() if target else path
    if not to.exists():
        return "no such file"
    if anchor and to.suffix == ".md" and anchor not in anchors(to):
        return "no such heading"
    if path.is_relative_to(BOOK) and here == link and not to.is_relative_to(BOOK):
        return "leaves the book; write https://github.com/rowmill/rowmill/blob/main/.."
    return None


def main() -> int:
    command = ["git", "ls-files", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    files, broken, summary = listed.stdout.split(), [], set()
    for name in files:
        path = ROOT / name
        if not path.exists():
            continue
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
        for link in LINK.findall(text):
            if path == BOOK / "SUMMARY.md":
                summary.add((BOOK / link).resolve())
            if why := wrong(path, link):
                broken.append(f"{name}: {link}: {why}")
    for name in files:
        path = ROOT / name
        if path.is_relative_to(BOOK) and path not in summary | {BOOK / "SUMMARY.md"}:
            broken.append(f"{name}: not in docs/SUMMARY.md")
    print("\n".join(broken) if broken else f"{len(files)} files, no broken link")
    return 1 if broken else 0


sys.exit(main())
