"""Reports phrases that this project does not use; .ci/words.txt lists them with their replacements.

    python3 .ci/words.py [FILE...]          by default every file under version control
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / ".ci/words.txt"
# Data, generated files and this check's own lists.
EXCLUDED = re.compile(
    r"\.(csv|tsv|xlsx|xls|xlsb|ods|lock|snap|eml|model)$"
    r"|(^|/)corpus/|^events/|lexicon|^examples/make\.py$|^LICENSE$|^typos\.toml$|^\.ci/words\."
)
# White space with the marks that begin a line of comment, or the `_` of a name.
GAP = r"(?:[ \t]*\n[ \t]*(?://[/!]?|#|\*|--)?[ \t]*|[ \t]+|_)"


def phrases() -> list[tuple[re.Pattern[str], str]]:
    listed = []
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            phrase, _, advice = line.partition(" => ")
            pattern = rf"(?<![^\W_])(?:{phrase.replace(' ', GAP)})(?![^\W_])"
            listed.append((re.compile(pattern, re.I), advice))
    return listed


def tracked() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name and not EXCLUDED.search(name)]


def main() -> int:
    listed, found, files = phrases(), 0, sys.argv[1:] or tracked()
    for name in files:
        path = ROOT / name
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        hits = sorted(
            (match.start(), " ".join(match.group().split()), advice)
            for pattern, advice in listed
            for match in pattern.finditer(text)
        )
        for start, phrase, advice in hits:
            print(f"{name}:{text.count(chr(10), 0, start) + 1}: `{phrase}`: write {advice}")
        found += len(hits)
    print(f"{found} phrases to replace" if found else f"{len(files)} files, no phrase to replace")
    return 1 if found else 0


sys.exit(main())
