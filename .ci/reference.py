#!/usr/bin/env python3
"""The pages of the reference that are made from the code: environment variables, limits and exit codes.

    .ci/reference.py            checks that they are current
    .ci/reference.py --write    writes them

A test in tests/local/tests/e2e/docs.rs makes the page of the command line, from the program's help.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MADE = "<!-- Made by .ci/reference.py --write from {source} -->"
# A docstring of a constant, and its name, type and value.
CONSTANT = re.compile(r"((?:^[ \t]*///.*\n)+)^pub const (\w+): ([^=]+?) =\s*([^;]+);", re.MULTILINE)


def constants(source):
    text = (ROOT / source).read_text(encoding="utf-8")
    for doc, name, kind, value in CONSTANT.findall(text):
        words = " ".join(line.strip().removeprefix("///").strip() for line in doc.splitlines())
        # Links of rustdoc have no target in the book.
        words = re.sub(r"\[(`[^`]+`)\](?:\([^)]*\))?", r"\1", words)
        yield name, kind, " ".join(value.split()), words.replace("|", r"\|")


def environment():
    source = "shared/domain/src/config.rs"
    rows = [f"| `{name}` | {words} |" for name, kind, value, words in constants(source) if value == f'"{name}"']
    return "environment.md", f"""\
# Environment variables

{MADE.format(source=source)}

The text starts with the stages that read the variable. On AWS the template, submit or AWS Batch sets them. On one machine the command sets those of its children, and reads `ROWMILL_SMTP` and the secrets, `ROWMILL_SECRET_` and the name, from your environment.

| variable | meaning |
| --- | --- |
""" + "\n".join(rows) + "\n"


def limits():
    source = "shared/domain/src/limits.rs"
    rows = []
    for name, kind, value, words in constants(source):
        if re.fullmatch(r"[\d_.]+(?: \* [\d_.]+)*", value):
            number = eval(value)  # digits, points and asterisks only
            meaning, _, origin = words.partition(" Source: ")
            rows.append(f"| {meaning} | {number:,} | {origin} |")
    return "limits.md", f"""\
# Limits

{MADE.format(source=source)}

The limits of AWS and of Rowmill, each with its source. [The limits of a workbook](../pipeline.md) are keys of the pipeline.

| limit | value | source |
| --- | --- | --- |
""" + "\n".join(rows) + "\n"


def exit_codes():
    source = "cli/src/exit.rs"
    text = (ROOT / source).read_text(encoding="utf-8")
    table = re.search(r'EXIT_CODES: &str = "\\\n(.*?)";', text, re.DOTALL).group(1)
    rows = [f"| {code} | {meaning} |" for code, meaning in re.findall(r"^  (\d+) +(.*)$", table, re.MULTILINE)]
    return "exit-codes.md", f"""\
# Exit codes

{MADE.format(source=source)}

| code | meaning |
| --- | --- |
""" + "\n".join(rows) + "\n"


def main():
    write = sys.argv[1:] == ["--write"]
    stale = []
    for name, text in (environment(), limits(), exit_codes()):
        # An empty table would be a pattern that no longer matches.
        assert text.count("\n| ") > 4, f"{name}: the code has another form than this script expects"
        page = ROOT / "docs/reference" / name
        if write:
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.exit(f"docs/reference: {', '.join(stale)} out of date: run .ci/reference.py --write")


main()
