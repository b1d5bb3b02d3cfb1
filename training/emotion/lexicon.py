"""Which words get vectors of their own, which are names, and which may be either."""

from collections import Counter

from training.emotion.corpora import given_and_family_names, lower_case_share, world_names
from training.emotion.words import SPECIAL
from triptych.engines.emotion.tokens import Lexicon, tokenise

COMMON_WORDS = 14_000


def build_lexicon(texts: list[str], glove_index: dict[str, int]) -> tuple[Lexicon, list[str]]:
    share = lower_case_share(texts)
    census = given_and_family_names()
    common_names = frozenset(census[:400] + census[4000:4400])
    candidates = list(dict.fromkeys(census + world_names(glove_index)))
    names, maybe = set(), set()
    for name in candidates:
        if len(name) < 3 or not name.isalpha():
            continue
        times, lower = share.get(name, (0, 0.0))
        ordinary = times * lower >= 2 and lower >= 0.3
        if ordinary and times * lower >= 40 and name not in common_names:
            continue  # a word that happens to be somebody's name: people, happy, love
        if ordinary:
            maybe.add(name)
        elif glove_index.get(name, 10**6) > 3000 or times * lower < 2:
            names.add(name)
    first = Lexicon(frozenset(glove_index), frozenset(names), frozenset(maybe))
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenise(text, first)[0])
    words = list(SPECIAL)
    words += [w for w, n in counts.most_common() if n >= 2 and w not in SPECIAL and w not in names]
    seen = set(words)
    frequent = sorted(glove_index, key=glove_index.__getitem__)[: 2 * COMMON_WORDS]
    words += [w for w in frequent if w.isalpha() and w.isascii() and w not in seen and w not in names][
        :COMMON_WORDS
    ]
    return Lexicon({w: i for i, w in enumerate(words)}, frozenset(names), frozenset(maybe)), words
