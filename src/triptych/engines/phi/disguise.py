"""Values that hide: in base64, behind underscores, or in two texts that are read as one."""

import binascii
import re
from bisect import bisect_right
from itertools import accumulate

import msgspec
import re2

from triptych.engines.phi.normalise import plain
from triptych.engines.phi.rules import RANK_RULE, Candidate, Rules

_BASE64 = re2.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_MIXED = re.compile(r"[0-9=]|[a-z][A-Z]")
_URL_SAFE = str.maketrans("-_", "+/")
_SURE = 0.75
_REACH = 48
"""Characters of a neighbour that are read with a text's own."""
_JOINING = re.compile(r"[\d@+(/-]\s?$")
_JOINED = re.compile(r"\s?[\d@)./-]")
# Not those between the thousands of a number in code.
_UNDERSCORES = re.compile(r"\b\d{1,3}(?:_\d{3})+\b|(?<=\d)_|_(?=\d)")
_UNDERLINED_TYPES = frozenset(
    "US_SSN CREDIT_CARD PHONE_NUMBER FAX_NUMBER IBAN_CODE DATE_TIME IP_ADDRESS NPI AGE".split()
)
_NEAR = 20
_FEWEST_DIGITS = 7
"""Of a number that is looked for behind an underscore."""
_STRADDLING_TYPES = frozenset("US_SSN CREDIT_CARD PHONE_NUMBER EMAIL_ADDRESS IBAN_CODE DATE_TIME".split())


def decoded(text: str, rules: Rules) -> list[Candidate]:
    """Base64 words whose text holds an identifier; each is redacted as a whole."""
    words: list[tuple[int, int]] = []
    hidden: list[str] = []
    for match in _BASE64.finditer(text.encode("ascii")):
        start, end = match.span()
        if _MIXED.search(text, start, end) is not None:
            inside = _text_of(text[start:end])
            if inside is not None:
                words.append((start, end))
                hidden.append(plain(inside).text)
    if not words:
        return []
    # All in one look, a line for each.
    begins = [0, *accumulate(len(inside) + 1 for inside in hidden)]
    best: dict[int, Candidate] = {}
    for candidate in rules.find("\n".join(hidden)):
        number = bisect_right(begins, candidate.start) - 1
        if candidate.score >= _SURE and candidate.end <= begins[number + 1]:
            best[number] = max(best.get(number, candidate), candidate, key=lambda one: one.score)
    return [
        Candidate(words[number][0], words[number][1], found.type, found.score, "pattern:base64", RANK_RULE)
        for number, found in best.items()
    ]


def _text_of(word: str) -> str | None:
    if "-" in word or "_" in word:
        word = word.translate(_URL_SAFE)
    try:
        text = binascii.a2b_base64(word + "=" * (-len(word) % 4)).decode("utf-8")
    except ValueError:
        return None
    if text.isprintable() or all(letter.isprintable() or letter.isspace() for letter in text):
        return text
    return None


def underlined(text: str, rules: Rules) -> list[Candidate]:
    """Numbers that underscores join to a word or to each other, as in the name of a file and in Markdown's
    emphasis: to a pattern they are letters."""
    if "_" not in text:
        return []
    windows: list[tuple[int, int]] = []
    begin = end = 0
    for match in _UNDERSCORES.finditer(text):
        place = match.start()
        if match.end() - place > 1:
            continue  # thousands
        start = max(0, place - _REACH)
        if not end or start > end:
            if not _is_number(text, place):
                continue
            if end:
                windows.append((begin, end))
            begin = start
        end = min(len(text), place + 1 + _REACH)
    if end:
        windows.append((begin, end))
    if not windows:
        return []
    # All in one look, a line for each.
    lines = [_UNDERSCORES.sub(_apart, text[start:end]) for start, end in windows]
    begins = [0, *accumulate(len(line) + 1 for line in lines)]
    found: list[Candidate] = []
    for candidate in rules.find("\n".join(lines)):
        number = bisect_right(begins, candidate.start) - 1
        start, end = windows[number]
        moved = start - begins[number]
        first, last = candidate.start + moved, candidate.end + moved
        # What the edge of a window cut is no number, and is found where it is whole.
        if (first > start or not start) and (last < end or last == len(text)):
            found.append(msgspec.structs.replace(candidate, start=first, end=last))
    return [one for one in found if one.type in _UNDERLINED_TYPES]


def _is_number(text: str, place: int) -> bool:
    """Whether there are digits enough around it: most underscores are of names of code."""
    around = text[max(0, place - _NEAR) : place + _NEAR]
    return sum(map(str.isdigit, around)) >= _FEWEST_DIGITS


def _apart(match: re.Match[str]) -> str:
    return " " if match[0] == "_" else match[0]


def straddling(texts: list[str], rules: Rules) -> dict[int, list[Candidate]]:
    """Values that begin at the end of one text and end at the beginning of the next."""
    found: dict[int, list[Candidate]] = {}
    for number in range(len(texts) - 1):
        left, right = texts[number], texts[number + 1]
        if not _JOINING.search(left[-4:]) or not _JOINED.match(right):
            continue
        tail, head = left[-_REACH:].rstrip(), right[:_REACH].lstrip()
        offset = max(0, len(left) - _REACH)
        skipped = len(right[:_REACH]) - len(head)
        # Groups of digits stay apart where one of the texts says so.
        between = " " if skipped or left[-1].isspace() else ""
        border, begin = len(tail), len(tail) + len(between)
        for candidate in rules.find(tail + between + head):
            if candidate.type in _STRADDLING_TYPES and candidate.start < border and candidate.end > begin:
                one = (candidate.start + offset, border + offset)
                two = (skipped, candidate.end - begin + skipped)
                for place, (start, end) in ((number, one), (number + 1, two)):
                    piece = Candidate(
                        start, end, candidate.type, candidate.score, "pattern:straddling", RANK_RULE
                    )
                    found.setdefault(place, []).append(piece)
    return found
