"""Prints sentences with their scores by vaderSentiment 3.3.2, as JSON Lines `[SCORE, TEXT]`.

    vader_sentences.py [--count 40000] [--seed 1] [--least 50] [--rules] [--golden FILE]

Fails unless each rule of the reference fires in at least --least of the sentences. The rules are counted
on the reference itself: its source is compiled with a probe around every condition and every operand of
`and` and `or`, so a rule fires in a sentence when the reference's own condition is true there, and once
more when it is false. Words and phrases of its lists are counted where the reference applies them.

From CPython 3.12 on, `sum` of floats compensates for rounding, which changes the score of words that
cancel out. There, the reference runs with the plain sum of 3.11, so its scores are the same everywhere.

--rules prints all counts to standard error. --golden also writes the fewest of the sentences that let
each rule fire so often, for a test that needs no Python.
"""

import argparse
import ast
import collections
import functools
import importlib.util
import json
import random
import re
import sys
import types
import zlib

# --- the reference, with probes ------------------------------------------------------------------

FIRED = set()  # in the current sentence
CONDITIONS = {}  # number of a condition -> its place and text


def probe(number, value):
    FIRED.add((number, bool(value)))
    return value


class Probes(ast.NodeTransformer):
    """Wraps each condition and each operand of a condition: `probe(number, condition)`."""

    def __init__(self, source):
        self.source, self.function = source, "?"

    def visit_FunctionDef(self, node):
        outer, self.function = self.function, node.name
        self.generic_visit(node)
        self.function = outer
        return node

    def wrap(self, node):
        if isinstance(node, ast.BoolOp):
            node.values = [self.wrap(value) for value in node.values]
        text = " ".join(ast.get_source_segment(self.source, node).split())
        number = len(CONDITIONS)
        CONDITIONS[number] = f"{self.function}: {text}"
        call = ast.Call(
            ast.Name("probe_", ast.Load()), [ast.Constant(number), node], []
        )
        return ast.copy_location(call, node)

    def visit_If(self, node):
        self.generic_visit(node)
        node.test = self.wrap(node.test)
        return node


class Applied(dict):
    """A table of the reference that counts which entries are applied, and by which variable."""

    def __init__(self, name, table):
        super().__init__(table)
        self.name = name

    def __getitem__(self, key):
        local = sys._getframe(1).f_locals
        if self.name == "phrase":
            names = ("zeroonetwo", "zeroone", "onezero", "twoonezero", "twoone", "threetwoone", "threetwo")
            if "zeroonetwo" in local or "zeroone" in local:
                place = next(n for n in names if local.get(n) == key)
            else:
                place = next(n for n in names[2:] if local.get(n) == key)
            FIRED.add((f"phrase {key!r}", True))
            FIRED.add((f"phrase as {place}", True))
        elif "n_gram" in local:
            place = next(n for n in ("threetwo", "twoone") if local.get(n) == key)
            FIRED.add((f"dampener of two words {key!r}", True))
            FIRED.add((f"dampener of two words as {place}", True))
        else:
            FIRED.add((f"{self.name} {key!r}", True))
        return super().__getitem__(key)


def reference():
    spec = importlib.util.find_spec("vaderSentiment.vaderSentiment")
    source = open(spec.origin, encoding="utf-8", newline=None).read()
    source = source[: source.index("if __name__ == '__main__'")]
    tree = ast.fix_missing_locations(Probes(source).visit(ast.parse(source)))
    module = types.ModuleType("probed")
    module.__file__ = spec.origin
    module.__dict__["probe_"] = probe
    # exec under the real file name, by which the reference finds its lexicon.
    exec(compile(tree, spec.origin, "exec"), module.__dict__)
    if sys.version_info >= (3, 12):
        module.sum = lambda values: functools.reduce(lambda a, b: a + b, values, 0)
    module.BOOSTER_DICT = Applied("booster", module.BOOSTER_DICT)
    module.SPECIAL_CASES = Applied("phrase", module.SPECIAL_CASES)

    negated = module.negated

    def counted_negated(words, include_nt=True):
        result = negated(words, include_nt)
        if result:
            listed = words[0] in module.NEGATE
            FIRED.add((f"negation {words[0]!r}" if listed else "negation by n't, unlisted", True))
        return result

    module.negated = counted_negated
    analyzer = module.SentimentIntensityAnalyzer()
    but_check = analyzer._but_check

    def counted_but_check(words, sentiments):
        lower = [w.lower() for w in words]
        meant = list(sentiments)
        if "but" in lower:
            at = lower.index("but")
            meant = [s * (0.5 if i < at else 1.5 if i > at else 1) for i, s in enumerate(meant)]
        result = but_check(words, sentiments)
        if result != meant:
            FIRED.add(("quirk: but_check weighs an earlier equal valence instead", True))
        return result

    analyzer._but_check = counted_but_check
    valence = analyzer.sentiment_valence

    def counted_valence(start, senti, item, i, sentiments):
        words = senti.words_and_emoticons
        if item.lower() in analyzer.lexicon:
            cap = item.isupper() and senti.is_cap_diff
            following = i + 1 < len(words) and words[i + 1].lower() in analyzer.lexicon
            before = any(w.lower() == "no" for w in words[max(0, i - 2) : i])
            if item.lower() == "no" and following and cap:
                FIRED.add(("quirk: NO in capitals before a word of the lexicon", True))
            if item.lower() == "no" and following and before:
                FIRED.add(("quirk: no after no, before a word of the lexicon", True))
            if i > 2 and words[i - 3].lower() in analyzer.lexicon:
                if any(" ".join(w.lower() for w in words[a:b]) in dict.keys(module.SPECIAL_CASES)
                       for a, b in ((i - 1, i + 1), (i - 2, i + 1), (i, i + 2), (i, i + 3))):
                    FIRED.add(("quirk: phrase skipped, word of the lexicon three before", True))
        return valence(start, senti, item, i, sentiments)

    analyzer.sentiment_valence = counted_valence
    return module, analyzer


# Conditions that cannot be true, or not false, for any text.
NEVER_TRUE = {
    "__init__: not isinstance(text, str)",
    "make_lex_dict: not line",
    "normalize: norm_score < -1.0",
    "normalize: norm_score > 1.0",
    "_sentiment_laden_idioms_check: idiom in senti_text_lower",
    "_sentiment_laden_idioms_check: len(idioms_valences) > 0",
}
NEVER_FALSE = {"negated: include_nt"}
SHORT = re.compile(r"^(\W?\w\w?\W+|\W+\w\w?\W?)$")

QUIRKS = {
    "quirk: one or two letters keep their punctuation": lambda t: any(
        SHORT.match(w) for w in t.split()
    ),
    "quirk: a letter right after an emoji": re.compile("[\u2600-\u26ff\U0001f300-\U0001faff][a-z]").search,
    "quirk: an emoji after a tab or line end": re.compile("[\t\n]['\u2600-\u26ff\U0001f300-\U0001faff]").search,
    "quirk: separators of ASCII are white space": re.compile("[\x1c-\x1f]").search,
    "quirk: other white space of Unicode": re.compile("[\x85\xa0\u2003\u2028\u3000]").search,
    "quirk: title case is not upper case": re.compile("[\u01c5\u1f88]").search,
    "quirk: the Kelvin sign is a k": re.compile("\u212a").search,
    "quirk: capitals of other alphabets": re.compile("\\b[\u0391-\u03a9\u0410-\u042f]{2,}\\b").search,
    "quirk: typographic apostrophe negates nothing": re.compile("n\u2019t").search,
    "quirk: zero sum with emphasis": None,  # counted with the score
    "emoji": re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]").search,
    "emoji joined or with a skin tone": re.compile("\u200d|\ufe0f|[\U0001f3fb-\U0001f3ff]").search,
    "emoticon": None,
}

# --- sentences -----------------------------------------------------------------------------------

OTHER = """the a it was is and delivery box arrived service staff they we I you screen battery then my
our this that with after week two 3 10 2024 at or for to of on in again here lamp cable phone
which had has been table order size color Monday shop page""".split()

# L a word of the lexicon, P a positive one, N a negative one, B a booster, D a dampener, X a
# negation, O any other word, E an emoji, M an emoticon, J a joined emoji; the rest stands for itself.
PATTERNS = """L|O L|O O L O|L O L|B L|B O L|B O O L|D L|D O L|D O O L|O B L|O D L|O O B L|B B L|D B L
X L|X O L|X O O L|O X L|X B L|X O B L|X X L|never so L|never this L|O never so L|O never this L
never so O L|never this O L|never O so L|never O this L|O O so L|O O this L|O this L|not O this L
never O L|never O O L|without doubt L|O without doubt L|without doubt O L|without O doubt L
without L|without O L|without O O L|no L|no O L|no L or L|no O L or L|no L nor L|no L and L|O no L
no no L|no|O no|no O|NO L|O NO L or L|NO O L|no no|no NO L|no L O L|no L L|no O or L|no O nor L
least L|O least L|at least L|very least L|O at least L|O the very least L|O O least O|L least L
kind of L|sort of L|just enough L|O kind of L|O sort of L|O just enough L|O O kind of L
O O sort of L|O O just enough L|O sort of O L|O just enough O L|O sort of a L|O kind of O L|kind O L
O is kind L|kind of|O kind|that kind of thing|O kindof L|O kind-of L|sort-of O L
O O the shit|O is the shit O|the shit O|the shit O L|O the shit O L|O O the bomb|the bomb O L
O O the bomb|O O bad ass|O a bad ass L|O O bad ass O O|bad ass L|O bus stop L|O O bus stop
O O O stop|O yeah right|O O yeah right|yeah right L|O yeah right L|O O beating heart
O beating heart O L|beating heart|O O kiss of death|O a kiss of death|kiss of death O|kiss of death L
O O to die for|O is to die for|to die for|to die for L|L O the shit|L O O kiss of death|O O O to die L
O badass L|O the shit kiss of death|O O O kiss of death O|O O kiss of death L|O O O O die for
O O O bad ass O|O O O the heart|O O O beating heart L|yeah right O L|O yeah right O L
L but L|O L but O L|L L but L L|but L|L but|O but O|L O but B L|X L but L|L but L but L|P but P N
L O L but L O L O|nice but nice nice|good good but good|N N but N N N
E|E E|O E|E L|L E|E O L|J|L J|M|L M|M M|O M|X M|B M|E M|ON L
O L L L L|L L|L L L|L O O O L|O X L O X L|B L O B L|couldn't've L|ain'ts L|didn’t L|can’t O L
neither L nor L|nothing L|O hardly L|O so L|so O L|O very O L|most L|more O L|less L|little O L
P N|good bad|love hate|O P O N|O good O bad O|wars sad hurt okay wonderful|ΑΒΓ L|ПРИВЕТ L O|ǅ L|ǅABC L
ǅABC L|ǅABC L|ᾈΒ l O
1234 L|:) l|least L|least L|O no|no|P but N P P|nice but nice great great|O never so L|O never so O L
no|X L|X L|X O L|X O O L|B L|B L|B O L|B O O L|D L|D L|D O L|D O O L|- L|* L *|... L ...|"L" O|(L)|L, L
no, L|so, L|ok. L|no. L|no! L|'L'|at, least L|XD|:D L""".replace(
    "\n", "|"
).split("|")

SEPARATORS = [" "] * 40 + ["  ", "\t", "\n", "\r\n", "\xa0", "\u3000", "\u2003", "\u2028", "\x85"]
SEPARATORS += ["\x1c", "\x1d", "\x1e", "\x1f"]
ENDS = [""] * 6 + [".", "!", "!!", "!!!", "!!!!", "!!!!!!", "?", "??", "???", "????", "?????", "!?", "?!?!"]
ENDS += ["!!??", ",", ";", "..."]
JOINED = ["❤️", "👍🏽", "👨‍👩‍👧", "🏳️‍🌈", "🇩🇪", "☹️", "👎🏿", "1️⃣", "👩🏻‍🚀"]


class Sentences:
    def __init__(self, module, analyzer, seed):
        self.random = random.Random(seed)
        self.lexicon = lexicon = analyzer.lexicon
        reachable = [w for w in lexicon if w.lower() == w and not re.search(r"\s", w)]
        words = [w for w in reachable if w[0].isalpha() and len(w) > 2]
        plain = """good bad great love hate nice happy sad problem best worst friendly hurt okay complaints
            broken wonderful""".split()
        self.pools = {
            "L": words + [w for w in plain if w in lexicon] * 100,
            "P": [w for w in words if lexicon[w] > 0],
            "N": [w for w in words if lexicon[w] < 0],
            "B": [k for k, v in dict.items(module.BOOSTER_DICT) if v > 0],
            "D": [k for k, v in dict.items(module.BOOSTER_DICT) if v < 0],
            "X": module.NEGATE,
            "O": OTHER,
            "E": [e for e in analyzer.emojis if len(e) == 1] + list("😀😂😭❤👍👎💔😡🎉❗⁉🙏🆙🔛") * 20,
            "J": JOINED,
            "M": [w for w in reachable if not w[0].isalpha()],
        }
        self.pools["l"] = self.pools["L"]
        self.emoticons = frozenset(self.pools["M"])

    def word(self, token):
        r = self.random
        if token.strip("\"'(),*.!") in self.pools and len(token.strip("\"'(),*.!")) == 1:
            letter = token.strip("\"'(),*.!")
            token = token.replace(letter, r.choice(self.pools[letter]))
        return token

    def one(self):
        r = self.random
        kind = r.random()
        if kind < 0.01:  # no words at all
            return "".join(r.choice(SEPARATORS) for _ in range(r.randrange(8)))
        if kind < 0.02:  # words that cancel out: w and -w, or a sum that only floats leave near zero
            word = r.choice(self.pools["P"])
            value = self.lexicon[word]
            halves = [w for w in self.pools["N"] if self.lexicon[w] == -value] or ["bad"]
            words = [word, r.choice(halves)]
            r.shuffle(words)
            return " is ".join(words) + r.choice(ENDS)
        if kind < 0.03:  # sums of three decimals that floats may leave next to zero
            x, y = r.choice(self.pools["P"]), r.choice(self.pools["P"])
            third = -round(self.lexicon[x] + self.lexicon[y], 1)
            words = [x, y] + [w for w in self.pools["N"] if self.lexicon[w] == third][:1]
            r.shuffle(words)
            return " is ".join(words) + r.choice(ENDS)
        patterns = [r.choice(PATTERNS) for _ in range(r.choice([1, 1, 1, 2, 2, 3, 4]))]
        if r.random() < 0.12:
            patterns.insert(r.randrange(len(patterns) + 1), "but")
        tokens = [self.word(t) for p in patterns for t in p.split(" ")]
        style = 0 if tokens[0] == "ǅABC" else r.random()
        out = ""
        for i, token in enumerate(tokens):
            if style < 0.04:
                token = token.upper()
            elif style < 0.4 and r.random() < 0.3:
                token = token.upper()
            elif style < 0.5 and r.random() < 0.3:
                token = token.capitalize()
            token = token.replace("\u01c4", "\u01c5")  # a title-case digraph stays one
            if r.random() < 0.03:
                token = token.replace("k", "\u212a").replace("K", "\u212a")
            if r.random() < 0.12:
                token += r.choice(ENDS)
            if r.random() < 0.03:
                token = r.choice("\"'(#*-[") + token
            glued = out and (ord(out[-1]) > 0x2000 or ord(token[0]) > 0x2600) and r.random() < 0.5
            out += ("" if glued or not i else r.choice(SEPARATORS)) + token
        out += r.choice(ENDS)
        if r.random() < 0.03:
            out = r.choice([" ", "\n", "!", "¡", "\ufeff"]) + out + r.choice([" ", "\t"])
        return out

# --- scores and counts ---------------------------------------------------------------------------


def rules(module, counts):
    """The number of sentences in which each rule fires, with its name; the rarest first."""
    found = []
    for number, text in CONDITIONS.items():
        for outcome, never in ((True, NEVER_TRUE), (False, NEVER_FALSE)):
            if text not in never and not text.startswith(("make_", "_sentiment_laden", "__init__")):
                found.append((counts[(number, outcome)], f"{text} is {outcome}"))
    names = (
        [f"booster {k!r}" for k in dict.keys(module.BOOSTER_DICT) if " " not in k]
        + [f"negation {k!r}" for k in module.NEGATE]
        + ["negation by n't, unlisted"]
        + [f"phrase {k!r}" for k in dict.keys(module.SPECIAL_CASES) if " " in k]
        + [f"phrase as {k}" for k in "onezero twoonezero twoone threetwoone threetwo zeroone zeroonetwo".split()]
        + [f"dampener of two words {k!r}" for k in ("just enough", "kind of", "sort of")]
        + [f"dampener of two words as {k}" for k in ("threetwo", "twoone")]
        + list(QUIRKS)
        + [
            "quirk: but_check weighs an earlier equal valence instead",
            "quirk: NO in capitals before a word of the lexicon",
            "quirk: no after no, before a word of the lexicon",
            "quirk: phrase skipped, word of the lexicon three before",
        ]
    )
    found += [(counts[(name, True)], name) for name in names]
    return sorted(found, key=lambda pair: pair[0])


def fewest(texts, fired, counts, least):
    """The places of the short sentences that are needed for each rule to fire as often, and for each listed
    word to be applied 10 times."""

    def needed(rule):
        listed = str(rule[0]).startswith(("booster '", "negation '", 'negation "'))
        return 10 if listed else least

    chosen, have = [], collections.Counter()
    order = sorted(range(len(texts)), key=lambda i: (min(counts[f] for f in fired[i]), texts[i]))
    for i in order:
        if any(have[f] < needed(f) for f in fired[i]) and len(texts[i]) < 200:
            have.update(fired[i])
            chosen.append(i)
    rare = [f for f, n in counts.items() if n >= least and have[f] < needed(f)]
    assert not rare, rare
    return sorted(chosen)


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--count", type=int, default=40000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--least", type=int, default=50)
    arguments.add_argument("--rules", action="store_true")
    arguments.add_argument("--golden")
    a = arguments.parse_args()
    module, analyzer = reference()
    sentences = Sentences(module, analyzer, a.seed)
    seen = set()
    while len(seen) < a.count:
        seen.add(sentences.one())
    texts = sorted(seen, key=lambda text: (zlib.crc32(text.encode()), text))

    counts, scores, fired = collections.Counter(), [], []
    for text in texts:
        FIRED.clear()
        score = analyzer.polarity_scores(text)["compound"] + 0.0
        scores.append(score)
        FIRED.update((name, True) for name, test in QUIRKS.items() if test and test(text))
        if score == 0 and re.search("[!]|[?].*[?]", text) and any(
            word.lower() in analyzer.lexicon for word in module.SentiText(text).words_and_emoticons
        ):
            FIRED.add(("quirk: zero sum with emphasis", True))
        if any(word in sentences.emoticons for word in text.split()):
            FIRED.add(("emoticon", True))
        counts.update(FIRED)
        fired.append(frozenset(FIRED))
        print(json.dumps([score, text]))

    found = rules(module, counts)
    for count, name in found:
        if a.rules or count < a.least:
            print(f"{count:7} {name}", file=sys.stderr)
    if a.golden:
        with open(a.golden, "w", encoding="utf-8", newline="\n") as golden:
            for i in fewest(texts, fired, counts, a.least):
                golden.write(f"{scores[i]:.4f}\t{escape(texts[i])}\n")
    return 1 if found[0][0] < a.least else 0


if __name__ == "__main__":
    sys.exit(main())
