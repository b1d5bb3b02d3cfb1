"""Identifiers with a form of their own: RE2 patterns over the plain spelling (ASCII).

``value`` is the group that is captured where context words stand around it. No pattern has an unbounded optional tail: every search is linear.

Few patterns match in a text, and to try them all would cost more than everything else: each says what
any match of it holds, a word or a shape, and is tried only on texts that have it.
"""

import re

import msgspec

from triptych.engines.phi.validators import Validator, dea, iban, luhn, mbi, nhs, npi, us_ssn, vin


class Pattern(msgspec.Struct, frozen=True):
    type: str
    name: str
    regex: str
    score: float = 0.8
    validator: Validator | None = None
    """Raises the score to .99 where the value passes."""
    words: frozenset[str] = frozenset()
    """Every match holds one of these as a whole run of letters, in any case; empty: it need not hold a word."""
    shape: str = ""
    """A simpler pattern found in every match; empty: the pattern itself, unless there are words.

    It should see few characters at a time: all shapes share an automaton, and on noise it has a state for each
    combination of what they wait for."""


def _words(text: str) -> str:
    return "|".join(text.split())


def word_set(*texts: str) -> frozenset[str]:
    """Of texts and of simple alternations such as ``day|month``."""
    return frozenset(word for text in texts for word in re.split(r"[\s|]+", text) if word)


LONG_RUN = r"[\w.:+/=-]{15}"
"""What every key of a vendor holds, and hardly any word."""
DIGIT = r"\d"


_OTHER_MONTHS = _words(
    "januar januari janvier enero janeiro gennaio styczen stycznia februar februari fevrier febrero fevereiro "
    "febbraio lutego maerz marz maart mars marzo marca avril abril aprile kwietnia mai mei mayo maio maggio maja "
    "juni juin junio junho giugno czerwca juli juillet julio julho luglio lipca augustus aout agosto sierpnia "
    "septembre septiembre setembro settembre wrzesnia oktober octobre octubre outubro ottobre pazdziernika "
    "novembre noviembre novembro listopada dezember decembre diciembre dezembro dicembre grudnia"
)
MONTH_WORDS = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    f"nov(?:ember)?|dec(?:ember)?|{_OTHER_MONTHS}"
)
_MONTHS = word_set(
    "jan january feb february mar march apr april jun june jul july aug august sep sept september oct october "
    "nov november dec december may",
    _OTHER_MONTHS,
)
_MONTH_OR_MAY = rf"(?:{MONTH_WORDS}|may)"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:\s?(?:st|nd|rd|th|er))?"
_YEAR = r"(?:(?:1[89]|20)\d\d|'\d\d)"
_D2 = r"(?:0?[1-9]|[12]\d|3[01])"
_M2 = r"(?:0?[1-9]|1[0-2])"
_CLOCK = r"(?:[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+(?:the\s+)?)?"

DATES = (
    Pattern("DATE_TIME", "date_iso", rf"\b(?:1[89]|20)\d\d([-/.]){_M2}[-/.]{_D2}{_CLOCK}\b", 0.9),
    Pattern("DATE_TIME", "date_compact", r"\b(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\b", 0.7),
    Pattern(
        "DATE_TIME",
        "date_numeric",
        rf"\b(?:{_D2}/{_D2}/(?:\d{{4}}|\d\d)|{_D2}-{_D2}-(?:\d{{4}}|\d\d)|{_D2}\.\s?{_D2}\.\s?\d{{4}}|(?:0[1-9]|[12]\d|3[01])\.(?:0[1-9]|1[0-2])\.\d\d|{_D2} / {_D2} / \d{{4}}){_CLOCK}\b",
        0.85,
        shape=r"\d ?[/.-]\s?\d{1,2} ?[/.-]\s?\d",
    ),
    Pattern(
        "DATE_TIME",
        "date_in_words",
        rf"(?i)\b{_WEEKDAY}(?:"
        rf"(?:{MONTH_WORDS}|may)\b\.?[\s\-,/]{{0,2}}(?:the\s+)?{_DAY}\b(?:[\s,\-/]{{0,3}}{_YEAR}\b)?"
        rf"|{_DAY}[.\s\-,/]{{0,3}}(?:(?:of|de|del)\s+)?{_MONTH_OR_MAY}\b\.?(?:[\s,\-/]{{0,3}}(?:(?:of|de|del)\s+)?{_YEAR}\b)?"
        rf"|{_MONTH_OR_MAY}\b\.?[\s,\-/]{{0,3}}(?:of\s+|de\s+)?{_YEAR}\b"
        rf"|{_YEAR}[\s,\-]{{1,2}}{_MONTH_OR_MAY}[\s\-]{{1,2}}{_DAY}\b)",
        0.85,
        words=_MONTHS | {f"{ending}{month}" for ending in ("st", "nd", "rd", "th") for month in _MONTHS},
        shape=DIGIT,
    ),
    Pattern(
        "DATE_TIME",
        "date_short",
        rf"(?i)\b(?:on|since|from|until|till|by|before|after|dated?|dob|born|admitted|discharged|seen|visit|due|appt|appointment)[:\s]+(?P<value>(?:{_M2}/{_D2}|{_M2}/(?:19|20)\d\d|{_M2}-(?:19|20)\d\d))\b",
        0.7,
        shape=r"\b\d{1,2}/\d|\b\d{1,2}-(?:19|20)\d\d",
    ),
    Pattern("DATE_TIME", "date_month_year", rf"\b{_M2}/(?:19|20)\d\d\b", 0.7),
)
WEEKDAY_BEFORE = Pattern(
    "DATE_TIME",
    "weekday_relative",
    r"(?i)\b(?:last|next|this past|this coming|past|this)\s(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b",
    0.6,
    words=word_set("monday tuesday wednesday thursday friday saturday sunday"),
)
MONTH_ALONE = Pattern(
    "DATE_TIME",
    "month",
    r"\b(?:[Ii]n|[Ss]ince|[Uu]ntil|[Dd]uring)\s(?P<value>(?:(?:[Ee]arly|[Ll]ate|[Mm]id|[Ll]ast|[Nn]ext)[\s-])?(?:January|February|March|April|May|June|July|August|September|October|November|December))\b|\b(?:[Ee]arly|[Ll]ate|[Mm]id|[Ll]ast|[Nn]ext)[\s-](?:January|February|March|April|May|June|July|August|September|October|November|December)\b",
    0.6,
    words=word_set("january february march april may june july august september october november december"),
)

AGES = (
    Pattern(
        "AGE",
        "age_90",
        r"(?i)\b(?:9\d|1[0-3]\d)(?:[ -]?(?:years?|yrs?)[ -]olds?|[ -]?(?:y\.?[ /]?o\b|y/o|yos?\b)|[ -]?y(?:ea)?rs?(?:[ -]of[ -]age|,? (?:old|male|female|m\b|f\b)))",
        0.9,
        shape=r"(?i)\b(?:9\d|1[0-3]\d)[ -]?y",
    ),
    Pattern(
        "AGE",
        "age_90_after",
        r"(?i)\b(?:aged?|turn(?:s|ed|ing))(?: of|:| is)?\s+(?P<value>9\d|1[0-3]\d)(?:[^%\w.]|\.\D|\.?$)",
        0.9,
        words=word_set("age aged turn turns turned turning"),
        shape=DIGIT,
    ),
    # A clinician's note. A temperature, or millions, go on in another way.
    Pattern(
        "AGE",
        "age_90_sex",
        r"\b(?P<value>9\d|1[0-3]\d)\s?[MF],?\s(?:(?:with|who|presents|presented|presenting|admitted|found|here|hx)\b|w/|s/p|c/o|h/o)",
        0.9,
        shape=r"\b(?:9\d|1[0-3]\d)\s?[MF]\b",
    ),
    # As data has it, with no sentence around it. Not max-age.
    Pattern(
        "AGE",
        "age_90_field",
        r"(?i)(?:^|[^\w-]|\b(?:patient|person|member|client|subject)_)age(?:(?:_?(?:in_?)?years)?[\"']?\s{0,3}[:=]|\s?/\s?(?:sex|gender)[\"']?[:=\s])\s{0,3}[\"']?(?P<value>9\d|1[0-3]\d)(?:[^%\w.]|\.\D|\.?$)",
        0.9,
        words=word_set("age ageyears ageinyears"),
        shape=DIGIT,
    ),
    Pattern(
        "AGE",
        "age_90_words",
        r"(?i)\b(?:ninety(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?|(?:a|one)[ -]hundred(?:[ -](?:and[ -])?\w{3,9})?)[ -]?years?[ -]olds?\b",
        0.9,
        words=word_set("ninety hundred ninetyyear ninetyyears hundredyear hundredyears"),
    ),
)

_EXT = r"(?:\s?,?\s?(?:x|ext\.?|extension|#)\s?\d{1,6}\b|\b)"
"""An extension may be written to the number: no end of a word stands between them."""
_PHONE_WORD = r"(?:phone|tel(?:ephone|efon|efono)?|cell(?:phone)?|mobile|mob|call(?:ed|ing)?|contact|reach(?:ed|able)?|text(?:ed)?|whatsapp|handy|hotline|number|ring|dial|pager|beeper)"
_PHONE_WORDS = word_set(
    "phone tel telephone telefon telefono cell cellphone mobile mob call called calling contact reach reached "
    "reachable text texted whatsapp handy hotline number ring dial pager beeper"
)
PHONES = (
    Pattern(
        "FAX_NUMBER",
        "fax",
        r"(?i)\b(?:fax|facsimile|telefax)(?:\s?(?:number|no\.?|#|nr\.?))?(?:\s+(?:is|it|to|at|me))*[\s:=.#-]{0,3}(?P<value>\+?\(?\d[\d\s().+/-]{4,22}\d)\b",
        0.95,
        words=word_set("fax facsimile telefax faxnumber faxno faxnr telefaxnumber telefaxno telefaxnr"),
        shape=DIGIT,
    ),
    Pattern(
        "PHONE_NUMBER",
        "phone_us",
        rf"(?i)(?:\+?\b1[-. /]?|\b|\()?\(?\b[2-9]\d\d\)?[-. /]{{0,2}}\d{{3}}[-. ]?\d{{4}}{_EXT}",
        0.75,
        shape=r"\d{3}[-. ]?\d{4}",
    ),
    Pattern(
        "PHONE_NUMBER",
        "phone_us_grouped",
        rf"(?i)(?:\+?\b1[-. /])?(?:\(\d{{3}}\)\s?|\b\d{{3}}[-. ])\d{{3}}[-. ]\d{{4}}{_EXT}",
        0.85,
        shape=r"\d{3}(?:\)\s?|[-. ])\d{3}[-. ]\d{4}",
    ),
    Pattern(
        "PHONE_NUMBER",
        "phone_international",
        rf"(?i)(?:\+|\b00)[1-9]\d{{0,2}}[\s./-]?(?:\(0?\d{{0,5}}\)[\s./-]?)?\d{{1,5}}(?:[\s./-]{{0,3}}\d{{1,5}}){{1,6}}{_EXT}",
        0.85,
        shape=r"(?:\+|\b00)[1-9]",
    ),
    Pattern(
        "PHONE_NUMBER",
        "phone_trunk",
        rf"(?i)(?:\(0\d{{1,5}}\)|\b0\d{{1,5}})(?:[\s./-]{{0,3}}\d{{2,8}}){{1,5}}{_EXT}",
        0.6,
        shape=r"\b0\d",
    ),
    Pattern(
        "PHONE_NUMBER",
        "phone_groups",
        r"\b\d{2,4}(?:[-.]\d{2,5}){2,4}\b",
        0.6,
        shape=r"\b\d{2,4}[-.]\d{2,5}[-.]\d{2}",
    ),
    Pattern(
        "PHONE_NUMBER",
        "phone_context",
        rf"(?i)\b{_PHONE_WORD}\b(?:\s+(?:number|no\.?|is|me|us|him|her|them|at|on|under|to|back|nr\.?|my|the)\b)*[\s:=.#]{{0,3}}(?P<value>\+?\(?\d[\d\s().+/-]{{4,20}}\d){_EXT}",
        0.8,
        words=_PHONE_WORDS,
        shape=DIGIT,
    ),
)

_TLD = _words(
    "com org net edu gov mil int io co uk us ca au de fr es it nl be ch at dk se no fi pl pt br mx ar cl in jp cn ru "
    "info biz me tv app dev ai health care clinic hospital online site xyz eu ie nz za kr il tr gr cz hu ro store shop"
)
NETWORK = (
    Pattern(
        "EMAIL_ADDRESS", "email", r"(?i)[a-z0-9][\w.%+'-]*\s?@\s?[a-z0-9-]+(?:\.[a-z0-9-]+)+", 0.99, shape="@"
    ),
    Pattern("EMAIL_ADDRESS", "email_local", r"(?i)\b[a-z0-9][\w.%+'-]*@[a-z0-9-]{2,63}\b", 0.7, shape="@"),
    Pattern(
        "EMAIL_ADDRESS",
        "email_spelled",
        rf"(?i)\b[a-z0-9][\w.+-]*(?:\s(?:dot|punkt|punto)\s[\w+-]+){{0,3}}\s?(?:\(\s?at\s?\)|\[\s?at\s?\]|\{{\s?at\s?\}}|<\s?at\s?>|\sat\s|_at_|@)\s?[a-z0-9-]+(?:(?:\s?(?:\(\s?dot\s?\)|\[\s?dot\s?\]|\{{\s?dot\s?\}}|<\s?dot\s?>)\s?|\sdot\s|_dot_|\.)[a-z0-9-]+){{0,3}}(?:\s?(?:\(\s?dot\s?\)|\[\s?dot\s?\]|\{{\s?dot\s?\}}|<\s?dot\s?>)\s?|\sdot\s|_dot_)(?:{_TLD})\b",
        0.9,
        words=word_set("dot"),
    ),
    Pattern(
        "URL",
        "url",
        r"(?i)\b(?:(?:https?|ftps?|wss?|file)://|www\d?\.)[^\s<>\"'`\x1a|{}\\^]+",
        0.95,
        shape=r"(?i)://|\bwww\d?\.",
    ),
    Pattern(
        "URL",
        "domain",
        rf"(?i)\b(?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?\.){{1,5}}(?:{_TLD})\b(?::\d{{2,5}})?(?:/[^\s<>\"'`\x1a|{{}}\\^]*)?",
        0.7,
        shape=r"(?i)[a-z0-9]\.[a-z]{2}",
    ),
    Pattern(
        "IP_ADDRESS",
        "ipv4",
        r"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:/\d{1,2}|:\d{2,5})?\b",
        0.9,
        shape=r"\d\.\d{1,3}\.\d",
    ),
    Pattern(
        "IP_ADDRESS",
        "ipv6",
        r"(?i)(?:\b(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\b|\b(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}\b|\B::(?:[0-9a-f]{1,4}:){0,6}[0-9a-f]{1,4}\b|\b(?:[0-9a-f]{1,4}:){2,7}:)(?:/\d{1,3})?",
        0.85,
        shape=r"(?i)::|:[0-9a-f]{1,4}:[0-9a-f]{1,4}:",
    ),
    Pattern(
        "MAC_ADDRESS",
        "mac",
        r"(?i)\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}(?:[:-][0-9a-f]{2}){0,2}\b|\b[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}\b",
        0.95,
    ),
)

NUMBERS = (
    Pattern(
        "US_SSN",
        "us_ssn",
        r"\b\d{3}(?:[. /]|\s?-\s{0,2})\d{2}(?:[. /]|\s?-\s{0,2})\d{4}\b",
        0.85,
        validator=us_ssn,
    ),
    Pattern("US_SSN", "us_ssn_masked", r"(?i)(?:[x*#]{3}[- ]?[x*#]{2}[- ]?)(?P<value>\d{4})\b", 0.8),
    Pattern(
        "US_SSN",
        "us_ssn_context",
        r"(?i)\b(?:ssn|social security|social sec|soc\.? sec\.?|social)\b(?:\s?(?:number|no\.?|num|#|nr))?(?:\s+(?:is|was|ends|ending|in|with|last|four|4|digits|of|on|file|the|number))*[\s:=#()-]{0,4}(?P<value>\d{3}\s?[.-]?\s{0,2}\d{2}\s?[.-]?\s{0,2}\d{4}|\d{4})\b",
        0.95,
        validator=us_ssn,
        words=word_set("ssn social soc"),
        shape=DIGIT,
    ),
    Pattern(
        "CREDIT_CARD",
        "credit_card",
        r"\b(?:\d{4}[- ]){3}\d{1,7}\b|\b3\d{3}[- ]\d{6}[- ]\d{4,5}\b|\b\d{13,19}\b",
        0.7,
        validator=luhn,
        shape=r"\b\d{4}[- ]\d{4}[- ]\d{4}[- ]\d|\b3\d{3}[- ]\d{6}[- ]\d{4}|\b\d{13}",
    ),
    Pattern(
        "IBAN_CODE",
        "iban",
        r"(?i)\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,4})?\b",
        0.6,
        validator=iban,
        shape=r"(?i)\b[a-z]{2}\d{2}[ -]?[a-z0-9]{4}",
    ),
    Pattern(
        "HEALTH_PLAN_ID",
        "mbi",
        r"(?i)\b[1-9][ac-hjkmnp-rt-y][ac-hjkmnp-rt-y0-9]\d-?[ac-hjkmnp-rt-y][ac-hjkmnp-rt-y0-9]\d-?[ac-hjkmnp-rt-y]{2}\d\d\b",
        0.95,
        validator=mbi,
    ),
    Pattern(
        "VEHICLE_ID",
        "vin",
        r"\b[A-HJ-NPR-Z0-9]{3}[A-HJ-NPR-Z0-9]{5}[0-9X][A-HJ-NPR-Z0-9]{2}[A-HJ-NPR-Z0-9]{2}\d{4}\b",
        0.75,
        validator=vin,
        shape=LONG_RUN,
    ),
    Pattern("NPI", "npi", r"\b[12]\d{9}\b", 0.76, validator=npi),
    Pattern(
        "NPI",
        "npi_context",
        r"(?i)\bnpi(?:\s?(?:number|no\.?|#))?(?:\s+is)?[\s:=#-]{0,3}(?P<value>\d{10})\b",
        0.97,
        validator=npi,
        words=word_set("npi npinumber npino"),
        shape=DIGIT,
    ),
    Pattern("DEA_NUMBER", "dea", r"(?i)\b[abcdefghjklmprstux][a-z9]\d{7}\b", 0.8, validator=dea),
    Pattern("UK_NHS", "uk_nhs", r"\b\d{3} \d{3} \d{4}\b", 0.5, validator=nhs),
    Pattern("NATIONAL_ID", "triplets", r"\b\d{3}[- ]\d{3}[- ]\d{3}\b", 0.7),
    Pattern(
        "NATIONAL_ID",
        "uk_nino",
        r"(?i)\b[a-ceghj-prstw-z][a-ceghj-nprstw-z] ?\d\d ?\d\d ?\d\d ?[a-d]\b",
        0.85,
    ),
    Pattern("NATIONAL_ID", "spain_nif", r"\b(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z]\b", 0.8),
    Pattern(
        "NATIONAL_ID",
        "france_insee",
        r"\b[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?\d[\dAB] ?\d{3} ?\d{3}(?: ?\d\d)?\b",
        0.8,
    ),
    Pattern("NATIONAL_ID", "brazil_cpf", r"\b\d{3}\.\d{3}\.\d{3}-\d\d\b", 0.9),
    Pattern("NATIONAL_ID", "italy_cf", r"(?i)\b[a-z]{6}\d\d[a-ehlmprst]\d\d[a-z]\d{3}[a-z]\b", 0.95),
    Pattern("US_EIN", "us_ein", r"\b\d{2}-\d{7}\b", 0.7),
    Pattern(
        "CRYPTO",
        "bitcoin",
        r"\b(?:bc1[a-z0-9]{25,60}|[13][1-9A-HJ-NP-Za-km-z]{25,34}|0x[0-9a-fA-F]{40})\b",
        0.85,
        shape=LONG_RUN,
    ),
    Pattern(
        "UNIQUE_ID", "uuid", r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", 0.7
    ),
    Pattern(
        "UNIQUE_ID",
        "letters_digits",
        r"\b[A-Z]{1,6}[-_#]?\d{5,}(?:-?[A-Z0-9]{1,8})?\b|\b[A-Z]{2,6}-\d{3,}(?:-[A-Z0-9]{1,12}){0,4}\b|\b\d{2,6}-[A-Z]{2,4}-\d{2,8}\b|\b\d{6,9}[A-TV-Z]\b",
        0.6,
        shape=r"\b[A-Z]{1,6}[-_#]?\d{5}|\b[A-Z]{2,6}-\d{3}|\b\d{2,6}-[A-Z]{2,4}-\d{2}|\b\d{6}",
    ),
    Pattern("UNIQUE_ID", "long_number", r"\b\d{8,12}\b|\b\d{20,40}\b", 0.55, shape=r"\b\d{8}"),
    Pattern(
        "UNIQUE_ID", "spaced_digits", r"\b\d(?:[ ._-]{1,3}\d){6,30}\b", 0.6, shape=r"\d(?:[ ._-]{1,3}\d){3}"
    ),
    Pattern(
        "LOCATION",
        "coordinates",
        r"(?:\B-|\b)\d{1,3}\.\d{4,}\s?,\s?-?\d{1,3}\.\d{4,}\b|\b\d{1,3}\s?(?:deg|\x1a)\s?\d{1,2}['\x1a][^A-Za-z]{0,12}[NS]\b",
        0.85,
        shape=r"\d\.\d{4,}\s?,\s?-?\d|\d\s?(?:deg|\x1a)\s?\d",
    ),
)
