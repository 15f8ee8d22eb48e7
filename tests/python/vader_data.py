"""Writes lexicon.tsv and emoji.tsv from the data files of the installed vaderSentiment 3.3.2.

    vader_data.py FOLDER        in the repository: shared/steps/src/sentiment/vader

lexicon.tsv: one token and its valence per line. Where the published file lists a token twice, the
reference keeps the later line, and so does this file. The columns with the raters' answers are left out.

emoji.tsv: one character and its description per line. The reference looks up single characters, so its
entries of two and more (skin tones, flags, families) are never found, and are left out.
"""

import importlib.util
import pathlib
import sys

SOURCE = pathlib.Path(importlib.util.find_spec("vaderSentiment").origin).parent
FOLDER = pathlib.Path(sys.argv[1])


def table(name):
    """What the reference's own parser reads: the first two columns, the last line for a key wins."""
    pairs = {}
    for line in (SOURCE / name).read_text(encoding="utf-8").rstrip("\n").split("\n"):
        if line:
            key, value = line.strip().split("\t")[0:2]
            pairs[key] = value
    return pairs


def write(name, pairs):
    text = "".join(f"{key}\t{value}\n" for key, value in pairs)
    (FOLDER / name).write_text(text, encoding="utf-8")


lexicon = table("vader_lexicon.txt")
write("lexicon.tsv", ((key, float(value)) for key, value in lexicon.items()))
emojis = table("emoji_utf8_lexicon.txt")
write("emoji.tsv", ((key, value) for key, value in emojis.items() if len(key) == 1))
