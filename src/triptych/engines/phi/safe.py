"""Medical words that look like names: drugs, and people after whom signs, scores and diseases are called."""

import re
from collections.abc import Sequence

from triptych.engines.phi.rules import Candidate
from triptych.engines.phi.tokens import Lexicon, Lists

_WORD = re.compile(r"[A-Za-z]+")
_CALLED_AFTER = re.compile(
    r"(?:'s?)?[\s-]{1,2}(?:(?:[a-z]+|[IVX]+|II?)\s)?(?:signs?|scores?|tests?|criteri(?:a|on)|diseases?|syndromes?|palsy|reflex(?:es)?|triad|classification|"
    r"staging|stage|grad(?:e|ing)|sum|index|scale|catheters?|fractures?|lymphoma|thyroiditis|phenomenon|esophagus|maneuvers?|"
    r"manoeuvres?|position|procedure|operation|repair|tendon|lesions?|disorder|dystrophy|encephalopathy|contracture|nodes?|"
    r"spots?|lines?|ring|law|formula|equation|questionnaire|inventory|tumou?r|sarcoma|cells?|bod(?:y|ies)|stain|method|"
    r"technique|incision|shunt|valve|tube|bag|drain|diet|rules?|risk|probability|level|model|trial|study|vaccine|protocol|"
    r"chorea|ataxia|anemia|purpura|nephropathy|cholangitis|hepatitis|gangrene|ulcer|hernia|cyst|abscess|angina|murmur|"
    r"respirations?|breathing|number|\d+(?:\+\d+)?\b)",
    re.IGNORECASE,
)


_YEAR = re.compile(r"(?:19|20)\d\d(?:s|'s)?(?:\s?(?:-|to|and)\s?(?:19|20)?\d\d)?")
_HOLIDAY = re.compile(
    r"(?i)christmas|easter|thanksgiving|halloween|\beve\b|new year|valentine|independence|labor day|memorial|ramadan|eid|"
    r"diwali|hanukkah|passover|hallow|yesterday|ninety|hundred"
)
_DETERMINERS = frozenset(
    "the a an our your his her their my this that local in at of and on call new same nearby general department unit ward "
    "service services office team outpatient inpatient emergency room community".split()
)
_ABBREVIATIONS = frozenset(("e.g", "i.e"))
_STATES = frozenset(
    "AL AK AZ AR CA CO CT DC DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
    "RI SC SD TN TX UT VT VA WA WV WI WY".split()
)
_LABELS = frozenset(
    "account acct bill booking card case cell chart charge claim code contact credit debit email fax id invoice licence "
    "iban license mbi member mobile mrn npi number order passport phone plate policy record ref reference serial ssn tel "
    "ticket visa vin".split()
)
_LABELLED = re.compile(r"\s?(?:no\.?|num|number)?[\s:=#]{0,3}(?:[A-Z]{0,4}\d|#)")
"""What makes one of these words the label of a number."""
_JOINTS = frozenset("-_")
_SLUG = re.compile(r"[a-z]+(?:[-_][a-z]+){3,}")
_SLUG_BEGIN = re.compile(r"[a-z_-]*[a-z]")
_SLUG_END = re.compile(r"[a-z][a-z_-]*$")
_SLUG_REACH = 64
_LISTED_NAME = Lexicon.mask("first_name", "rare_first_name", "surname")
_PERSON = Lexicon.mask("first_name", "surname", "title")
_MEDICAL = Lexicon.mask("medical")
_FACILITY = Lexicon.mask("facility", "medical")
_CALENDAR = Lexicon.mask("calendar")
_ANY_SURNAME = Lexicon.mask("surname", "rare_surname")
_NO_SURNAME = Lexicon.mask("medical", "calendar", "title", "street", "facility", "country_or_state")
_SURNAME_AFTER = re.compile(r" ([A-Z][a-z]{1,14})(?![A-Za-z0-9]|[.,]?\s[A-Z])")
"""A capitalised word that no other one follows: not in a headline."""
_AROUND = 200
_LEAST_PHONE_DIGITS = 5
_AGE_OF_IDENTIFIERS = 90


def is_safe(text: str, found: Candidate, lists: Lists) -> bool:
    """Whether what the tagger marked identifies nobody."""
    value = text[found.start : found.end]
    if found.type in {"PERSON", "LOCATION"}:
        if len(value) == 2 and _is_state(text, value, found):
            return False
        if value.islower() and _in_slug(text, value, found, lists):
            return True
        if value.lower() in _LABELS and _LABELLED.match(text, found.end):
            return True
        words = [value] if value.isalpha() else _WORD.findall(value)
        return _is_usual(value, words, found, lists) or _is_medical(text, words, found, lists)
    digits = sum(map(str.isdigit, value))
    if found.type == "DATE_TIME":
        return _YEAR.fullmatch(value) is not None or (digits == 0 and not _is_calendar(value, lists))
    if found.type == "AGE":
        ages = [int(number) for number in re.findall(r"\d{1,4}", value)]
        return bool(ages) and max(ages) < _AGE_OF_IDENTIFIERS
    if found.type == "PHONE_NUMBER":
        return digits < _LEAST_PHONE_DIGITS
    return digits == 0


def _is_state(text: str, value: str, found: Candidate) -> bool:
    """``MD`` in "Baltimore, MD": some abbreviations of states are medical ones too."""
    before = text[max(0, found.start - 8) : found.start].rstrip()
    return value.upper() in _STATES and before.endswith((",", "."))


def _in_slug(text: str, value: str, found: Candidate, lists: Lists) -> bool:
    """Words of ``fix-pulley-stirrup-mount``: a name there stands, half of it at least, on a list of common ones."""
    if not _JOINTS.intersection(text[max(0, found.start - 1) : found.end + 1]):
        return False
    before = _SLUG_END.search(text, max(0, found.start - _SLUG_REACH), found.start)
    after = _SLUG_BEGIN.match(text, found.end, found.end + _SLUG_REACH)
    start = before.start() if before else found.start
    end = after.end() if after else found.end
    if _SLUG.fullmatch(text, start, end) is None:
        return False
    words = _WORD.findall(value)
    return 2 * sum(lists[word] & _LISTED_NAME != 0 for word in words) < len(words)


def _is_calendar(value: str, lists: Lists) -> bool:
    return _HOLIDAY.search(value) is not None or any(
        lists[word] & _CALENDAR for word in _WORD.findall(value.lower())
    )


def _is_usual(value: str, words: Sequence[str], found: Candidate, lists: Lists) -> bool:
    """A single small letter; "e.g."; "the outpatient clinic"."""
    if value.rstrip(".").lower() in _ABBREVIATIONS:
        return True
    if len(value) == 1:
        return value.islower() or value.isdigit()
    if found.type != "LOCATION" or not words or any(word.istitle() and len(word) > 1 for word in words):
        return not words
    return all(word.lower() in _DETERMINERS or lists[word.lower()] & _FACILITY for word in words)


def _is_medical(text: str, words: Sequence[str], found: Candidate, lists: Lists) -> bool:
    """All its words are on the list of medical terms, and no given name or title says otherwise, or what follows
    says that something is called after it."""
    known = 0
    named = False
    first = ""
    for word in words:
        if len(word) > 1:
            bits = lists[word.lower()]
            if not bits & _MEDICAL:
                return False
            named = named or bool(bits & _PERSON)
            first = first or word
            known += 1
    if not known:
        return False
    if not named or _CALLED_AFTER.match(text, found.end):
        return True
    if known > 1:
        return False
    around = text[max(0, found.start - _AROUND) : found.end + _AROUND]
    return found.score < 0.8 or (first.isupper() and len(first) <= 5 and not around.isupper())


def with_surname(text: str, found: Candidate, lists: Lists) -> int:
    """Where the name ends, if what the tagger marked is a given name before a surname that is a usual word: Xin He."""
    if found.type != "PERSON" or not text[found.end + 1 : found.end + 2].isupper():
        return found.end
    value = text[found.start : found.end]
    if not value.istitle() or not value.replace("-", "").isalpha():
        return found.end
    after = _SURNAME_AFTER.match(text, found.end)
    if after is None:
        return found.end
    bits = lists[after[1].lower()]
    return after.end() if bits & _ANY_SURNAME and not bits & _NO_SURNAME else found.end
