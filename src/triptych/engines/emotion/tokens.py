"""Text to tokens: words, names, numbers, emoticons, emoji, punctuation, and what surrounds each of them.

A token is a key to look up and a set of marks. Marks say what a bag of word vectors cannot: that the word is shouted,
drawn out, negated, or made stronger or weaker by a degree word before it.
"""

import re
import unicodedata

CAPS, ELONGATED, NEGATED, STRONGER, WEAKER, REPEATED = 1, 2, 4, 8, 16, 32
MARKS = 6

NAME, NUMBER, LINK = "<name>", "<number>", "<link>"

_TOKEN = re.compile(
    # Most words, before all that cannot begin with their first letter is tried.
    r"[a-gi-np-vyzA-NP-SU-WYZ][^\W\d_]*(?:['’][^\W\d_]+)*"
    r"|https?://\S+|www\.\S+"
    r"|[<>]?[:;=xX8][-'^oc]?[()\[\]DPpOo3/\\|*]+(?!\w)|</?3+|\b[xX][dD]+\b|[oO]_[oO]|\^_*\^|T_T|-_+-|¯\\_\(ツ\)_/¯"
    r"|\[[A-Z]+\]"
    r"|\d+(?:[.,:]\d+)*"
    r"|[^\W\d_]+(?:['’][^\W\d_]+)*"
    r"|[!?]+|\.\.+|…"
    r"|[\U0001F1E6-\U0001F1FF]{2}"
    r"|[^\w\s]"
)
_STRETCHED = re.compile(r"(\w)\1{2,}")
_JOINERS = frozenset("\u200d\ufe0f\ufe0e\u20e3\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff♀♂")
_SENTENCE_ENDS = frozenset((".", "!", "?", "...", "!?", ":", '"', "\n"))

_NEGATORS = frozenset(
    (
        "not n't no never none nobody nothing nowhere neither nor without cannot hardly barely scarcely "
        "nope ain't"
    ).split()
)
_SCOPE_ENDS = frozenset("but because although though however so yet . , ; : ! ? ... !? - ( )".split())
_SCOPE_TOKENS = 5
_STRONGER = frozenset(
    (
        "very really so extremely incredibly absolutely totally completely utterly deeply insanely super "
        "too truly such terribly awfully fucking damn freaking highly beyond hugely particularly "
        "especially most more seriously"
    ).split()
)
_WEAKER = frozenset(
    (
        "slightly somewhat little bit fairly kinda sorta rather mildly barely hardly partly almost less "
        "marginally a-bit vaguely moderately"
    ).split()
)
_PLAIN_NEGATIONS = {
    word.replace("'", ""): word
    for word in (
        "don't doesn't didn't isn't wasn't aren't weren't can't couldn't wouldn't shouldn't haven't "
        "hasn't hadn't"
    ).split()
} | {"cannot": "can't", "aint": "ain't", "wont": "won't"}
_IRREGULAR = {"can't": "can", "won't": "will", "shan't": "shall", "ain't": "is"}
_AFTER_A_NAME = frozenset(
    (
        "is was has had 's and said says told looks looked feels felt seems seemed got did does will "
        "would can could loves loved hates hated just never always went came made makes thinks thought sent died asked called gave took wrote left bought"
    ).split()
)


class Lexicon:
    """What the tokeniser asks about words: which are known, which are given or family names, which may be either."""

    __slots__ = ("known", "maybe_names", "names", "plain")

    def __init__(
        self, known: "dict[str, int] | frozenset[str]", names: frozenset[str], maybe: frozenset[str]
    ) -> None:
        self.known = known
        self.names = names
        self.maybe_names = maybe
        self.plain: dict[str, str] = {}
        """The keys of pieces that were found to be one known word, whatever stands around them."""


def tokenise(text: str, lexicon: Lexicon) -> tuple[list[str], list[int]]:
    """Keys and marks of a text, in order. The number of keys is what usage counts."""
    keys: list[str] = []
    marks: list[int] = []
    known, names, maybe, plain = lexicon.known, lexicon.names, lexicon.maybe_names, lexicon.plain
    initial = True
    awaiting = ""  # an ambiguous name at the start of a sentence: the next word decides
    pieces: list[str] = []
    for chunk in text.split():  # no token has a space within; most words need no pattern
        if chunk in plain:
            pieces.append(chunk)
        else:
            pieces += _TOKEN.findall(chunk)
    for piece in pieces:
        if (key := plain.get(piece)) is not None:
            if awaiting:
                if key in _AFTER_A_NAME:
                    keys[-1] = NAME
                awaiting = ""
            initial = False
            keys.append(key)
            marks.append(0)
            continue
        first = piece[0]
        mark = 0
        if len(piece) > 7 and (piece.startswith("www.") or "://" in piece):
            word = LINK
        elif first.isalpha():
            word = piece.lower()
            if not word.isascii():
                word = _plain(word)
            length = len(word)
            if length > 1 and piece.isupper():
                mark = CAPS
            if length > 2 and word not in known and _STRETCHED.search(word):
                word = _unstretched(word, known)
                mark |= ELONGATED
            if word[-1] == "t":
                word = _PLAIN_NEGATIONS.get(word, word)
            if awaiting:
                if word in _AFTER_A_NAME:
                    keys[-1] = NAME
                awaiting = ""
            if "'" in word:
                stem, tail = _split(word)
                if stem in names or (
                    first.isupper() and not mark and (stem not in known or (stem in maybe and tail == "'s"))
                ):
                    stem = NAME
                keys.append(stem)
                marks.append(mark)
                word = tail
            elif word in names:
                word = NAME
            elif first.isupper() and not mark:
                if word in maybe:
                    if initial:
                        awaiting = word
                    else:
                        word = NAME
                elif word in known:
                    if piece[1:] == word[1:]:
                        plain[piece] = word
                elif length > 1:
                    word = NAME
            elif word == piece and word in known:
                plain[piece] = word
            initial = False
        elif first.isdigit():
            word = NUMBER
            initial = False
        else:
            awaiting = ""
            if first in "!?":
                word = first if len(set(piece)) == 1 else "!?"
                if len(piece) > 1:
                    mark = REPEATED
            elif first == "." or first == "…":
                word = "..." if len(piece) > 1 or first == "…" else "."
            elif first == "[" and len(piece) > 2:
                word = NAME
            elif piece in _JOINERS:
                continue
            else:
                word = piece if len(piece) < 9 else LINK
            if keys and len(word) == 1 and keys[-1] == word:
                marks[-1] |= REPEATED
                continue
            initial = word in _SENTENCE_ENDS
        keys.append(word)
        marks.append(mark)
    _mark_scopes(keys, marks)
    return keys, marks


def _mark_scopes(keys: list[str], marks: list[int]) -> None:
    """Marks what stands in the scope of a negator or just after a degree word."""
    if _ROLES.keys().isdisjoint(keys):
        return
    negated = degree = 0
    for index, key in enumerate(keys):
        role = _ROLES.get(key, 0)
        if role == _ENDS:
            negated = degree = 0
        elif role == _NEGATES:
            negated, degree = _SCOPE_TOKENS, 0
        else:
            if negated:
                marks[index] |= NEGATED
                negated -= 1
            if role:
                degree = role
            elif degree and key not in _BETWEEN:
                marks[index] |= degree
                degree = 0


_BETWEEN = frozenset(("a", "of", "the", "an"))
_ENDS, _NEGATES = 64, 128
_ROLES = (
    dict.fromkeys(_WEAKER, WEAKER)
    | dict.fromkeys(_STRONGER, STRONGER)
    | dict.fromkeys(_NEGATORS, _NEGATES)
    | dict.fromkeys(_SCOPE_ENDS, _ENDS)
)


def _split(word: str) -> tuple[str, str]:
    """``don't`` -> ``do n't``, ``she's`` -> ``she 's``: the spelling word vectors are trained on."""
    if word.endswith("n't"):
        return _IRREGULAR.get(word, word[:-3]), "n't"
    stem, _, tail = word.partition("'")
    return stem, "'" + tail


def _plain(word: str) -> str:
    """Straight apostrophes and letters without accents."""
    word = word.replace("’", "'")
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


def _unstretched(word: str, known: "dict[str, int] | frozenset[str]") -> str:
    """``soooo`` -> ``so``, ``coool`` -> ``cool``: the known spelling with one or two of the letters."""
    double = _STRETCHED.sub(r"\1\1", word)
    if double in known:
        return double
    single = _STRETCHED.sub(r"\1", word)
    return single if single in known else double
