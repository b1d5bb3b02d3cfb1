"""Values that hide: in base64 or percent-encoding, behind underscores, or in texts that are read as one."""

import binascii
import re
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from urllib.parse import unquote_to_bytes

import msgspec
import re2

from triptych.engines.phi.normalise import Plain, Speller, meant, plain
from triptych.engines.phi.rules import RANK_RULE, Candidate, Rules

_BASE64 = re2.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_MIXED = re.compile(r"[0-9=]|[a-z][A-Z]")
_URL_SAFE = str.maketrans("-_", "+/")
_PERCENT = re.compile(r"%(?:[2-7][0-9A-Fa-f]|0[9AaDd])|(?:%[89A-Fa-f][0-9A-Fa-f]){1,16}")
_WORD = re.compile(r"\S*")
_LONG_WORD = 2_000
_FORM = str.maketrans("+&", " \n")
_SURE = 0.75
_REACH = 48
"""Characters of a neighbour that are read with a text's own."""
_MOST_TEXTS = 8
_JOINING = re.compile(r"[\d@+(/-]\s?$")
_JOINED = re.compile(r"\s?[\d@)./-]")
# Not those between the thousands of a number in code.
_UNDERSCORES = re.compile(r"\b\d{1,3}(?:_\d{3})+\b|(?<=\d)_|_(?=\d)")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)_(?=\d)")
_UNDERLINED_DATE = re.compile(r"(?<!\d)(?:\d{4}_\d{1,2}_\d{1,2}|\d{1,2}_\d{1,2}_(?:\d{4}|\d\d))(?!\d)")
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


def percent_encoded(text: str, find: Callable[[str], list[Candidate]]) -> list[Candidate]:
    """What words with percent-encoding say, as in the lines of a server's log, beside what is found in them as
    they stand: only what has such an escape in it, or beside it."""
    if "%" not in text:
        return []
    words: list[tuple[int, Plain]] = []
    last = 0
    for match in _PERCENT.finditer(text):
        if match.start() < last:
            continue
        before = text[max(last, match.start() - _LONG_WORD) : match.start()]
        start = match.start()
        if before and not before[-1].isspace():
            start -= len(before.rsplit(None, 1)[-1])
        spelled = _WORD.match(text, start)
        assert spelled is not None
        last = spelled.end()
        words.append((start, _unquoted(text[start:last])))
    if not words:
        return []
    begins = [0, *accumulate(len(word.text) + 1 for _, word in words)]
    found: list[Candidate] = []
    for candidate in find("\n".join(word.text for _, word in words)):
        number = bisect_right(begins, candidate.start) - 1
        begin, word = words[number]
        if candidate.end - begins[number] > len(word.text):
            continue
        first, end = word.span(candidate.start - begins[number], candidate.end - begins[number])
        first, end = first + begin, end + begin
        if any(one.start() <= end for one in _PERCENT.finditer(text, max(begin, first - 3), end + 3)):
            found.append(msgspec.structs.replace(candidate, start=first, end=end))
    return found


def _unquoted(word: str) -> Plain:
    """The fields of a query are lines of their own."""
    speller = Speller()
    done = 0
    for match in _PERCENT.finditer(word):
        speller.same(word[done : match.start()].translate(_FORM), done)
        done = match.end()
        said = meant(unquote_to_bytes(match[0]).decode("utf-8", "replace"))
        speller.other(said, match.start(), done)
    speller.same(word[done:].translate(_FORM), done)
    return speller.done()


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
    found = _in_windows(text, windows, rules, _spaced)
    if _UNDERLINED_DATE.search(text) is not None:
        found += [one for one in _in_windows(text, windows, rules, _dashed) if one.type == "DATE_TIME"]
    return [one for one in found if one.type in _UNDERLINED_TYPES]


def _in_windows(
    text: str, windows: list[tuple[int, int]], rules: Rules, spelled: Callable[[str], str]
) -> list[Candidate]:
    """``spelled``: character for character."""
    # All in one look, a line for each.
    lines = [spelled(text[start:end]) for start, end in windows]
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
    return found


def _is_number(text: str, place: int) -> bool:
    """Whether there are digits enough around it: most underscores are of names of code."""
    around = text[max(0, place - _NEAR) : place + _NEAR]
    return sum(map(str.isdigit, around)) >= _FEWEST_DIGITS


def _spaced(line: str) -> str:
    return _UNDERSCORES.sub(_apart, line)


def _dashed(line: str) -> str:
    return _spaced(_BETWEEN_DIGITS.sub("-", line))


def _apart(match: re.Match[str]) -> str:
    return " " if match[0] == "_" else match[0]


def straddling(texts: list[str], rules: Rules) -> dict[int, list[Candidate]]:
    """Values that begin at the end of one text and go on at the beginning of the next; that may be all of it,
    and the value go on in the one after."""
    found: dict[int, list[Candidate]] = {}
    for number in range(len(texts) - 1):
        if not _goes_on(texts[number], texts[number + 1]):
            continue
        left = texts[number]
        said = left[-_REACH:].rstrip()
        parts = [(number, max(0, len(left) - _REACH), 0, len(said))]
        """Of which text, from where on; where that stands in ``said``."""
        for following in range(number + 1, min(len(texts), number + _MOST_TEXTS)):
            before, right = texts[following - 1], texts[following]
            if not _goes_on(before, right):
                break
            head = right[:_REACH].lstrip()
            skipped = len(right[:_REACH]) - len(head)
            # Groups of digits stay apart where one of the texts says so.
            said += " " if skipped or before[-1].isspace() else ""
            head = head.rstrip()
            parts.append((following, skipped, len(said), len(said) + len(head)))
            said += head
            if len(right) > _REACH:
                break
        for candidate in rules.find(said):
            if (
                candidate.type in _STRADDLING_TYPES
                and candidate.start < parts[0][3]
                and candidate.end > parts[1][2]
            ):
                for place, offset, begin, end in parts:
                    start, stop = max(candidate.start, begin), min(candidate.end, end)
                    if start < stop:
                        piece = Candidate(
                            start - begin + offset, stop - begin + offset,
                            candidate.type, candidate.score, "pattern:straddling", RANK_RULE,
                        )  # fmt: skip
                        found.setdefault(place, []).append(piece)
    return found


def _goes_on(left: str, right: str) -> bool:
    return _JOINING.search(left[-4:]) is not None and _JOINED.match(right) is not None
