"""Credentials: forms that vendors document, and secrets that context or entropy give away."""

import math
from collections import Counter

from triptych.engines.phi.patterns import LONG_RUN, Pattern, word_set

_KEYS = "|".join(
    (
        r"(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z2-7]{16}",  # AWS
        r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{20,}",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent)-[\w-]{16,}",  # GitLab
        r"xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}",  # Slack
        r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9_]{10,}|whsec_[\w+/=]{16,}",  # Stripe
        r"sk-(?:ant-|proj-|svcacct-|or-|lf-)?[\w-]{20,}",  # OpenAI, Anthropic, OpenRouter, Langfuse
        r"AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}",  # Google
        r"SG\.[\w-]{16,32}\.[\w-]{30,}",  # SendGrid
        r"(?:AC|SK)[0-9a-f]{32}",  # Twilio
        r"npm_[A-Za-z0-9]{30,}|pypi-AgE[\w-]{20,}|rubygems_[0-9a-f]{48}|dckr_pat_[\w-]{20,}",
        r"hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}|pplx-[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{20,}",
        r"do[opr]_v1_[0-9a-f]{40,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{20,}|sq0[a-z]{3}-[\w-]{20,}|EAAA[\w-]{50,}",
        r"dapi[0-9a-f]{32}|dp\.(?:pt|st|ct)\.[\w.]{20,}|lin_api_[A-Za-z0-9]{30,}|ntn_[A-Za-z0-9]{30,}|secret_[A-Za-z0-9]{40,}",
        r"PMAK-[0-9a-f-]{40,}|NRAK-[A-Z0-9]{20,}|glsa_[\w]{30,}|hv[sbr]\.[\w-]{20,}|sbp_[0-9a-f]{30,}|ATATT3[\w=-]{50,}",
        r"sl\.[\w-]{60,}|key-[0-9a-f]{32}|\d{8,10}:AA[\w-]{32,}|[MNO][A-Za-z\d_-]{23,26}\.[\w-]{6}\.[\w-]{27,}",
        r"AGE-SECRET-KEY-1[A-Z0-9]{50,}|[a-z]{2,8}_(?:live|test)_[A-Za-z0-9]{24,}",
    )
)
_SECRET_OWNER = "api|app|auth|access|secret|private|service|client|account|storage|encryption|signing|master|refresh|session|bot|deploy|webhook"
_SECRET_WORD = (
    rf"(?:{_SECRET_OWNER})[\s_-]{{0,2}}(?:key|token|secret|hash)(?:[\s_-]?(?:id|value))?|"
    "token|secret|credentials?|authorization"
)
_SECRET_WORDS = word_set("credential credentials authorization") | {
    f"{owner}{word}{tail}"
    for owner in ("", *word_set(_SECRET_OWNER))
    for word in ("key", "token", "secret", "hash")
    for tail in ("", "id", "value")
}

CREDENTIALS = (
    Pattern(
        "PRIVATE_KEY",
        "private_key",
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[\s\\nr]+(?:[A-Za-z0-9+/=]{30,}|(?:Proc-Type|DEK-Info|Version|Comment):[^\n\\]*))*(?:[\s\\nr]+[A-Za-z0-9+/=]{1,80})?(?:[\s\\nr]*-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?",
        0.99,
        shape="-----BEGIN ",
    ),
    Pattern("API_KEY", "vendor_key", rf"\b(?:{_KEYS})", 0.98, shape=LONG_RUN),
    Pattern("ACCESS_TOKEN", "jwt", r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}", 0.98, shape=r"\beyJ"),
    Pattern(
        "CONNECTION_STRING",
        "connection_string",
        r"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?|mssql|sqlserver|oracle|cockroachdb|clickhouse|cassandra|neo4j|bolt|kafka|nats|s?ftp|ssh|smtps?|ldaps?|https?|jdbc:[a-z0-9]{2,20}|snowflake)(?:\+[a-z0-9]{2,20})?://[^\s:@/]{0,80}:[^\s@]+@[^\s\"'<>]+",
        0.97,
        shape="://",
    ),
    Pattern(
        "CONNECTION_STRING",
        "connection_fields",
        r"(?i)\b(?:server|data source|host|endpoint|defaultendpointsprotocol|accountname|driver)\s?=[^;\n]*;(?:[^;\n=]*=[^;\n]*;)*?\s?(?:password|pwd|accountkey|sharedaccesskey)\s?=\s?[^;\s\"']{1,300}",
        0.97,
        shape=r"=[^;\n]*;",
    ),
    Pattern(
        "ACCESS_TOKEN",
        "bearer",
        r"(?i)\b(?:bearer|basic|token)\s{1,2}(?P<value>[\w.~+/-]{16,}={0,2})",
        0.8,
        words=word_set("bearer basic token"),
    ),
    Pattern(
        "PASSWORD",
        "password",
        r"(?i)\b(?:[a-z0-9]{0,20}[_-])?(?:password|passwd|passwort|contrasena|mot de passe|pwd|passphrase|passcode|pin(?: code)?|login code|otp|pw)\b[\"']?(?:\s+(?:for\s+[\w.-]{1,40}|to\s+[\w.-]{1,40}|is|was|are|set to|now|changed to|reset to|remains)){0,4}\s{0,2}[:=]{0,2}>?\s{0,2}[\"'`]?(?P<value>[^\s\"'`<>]{3,})",
        0.85,
        words=word_set("password passwd passwort contrasena passe pwd passphrase passcode pin login otp pw"),
    ),
    Pattern(
        "API_KEY",
        "secret_in_context",
        rf"(?i)(?:\b|_)(?:{_SECRET_WORD})[\"']?(?:\s+(?:is|was)|\s{{0,3}}[:=]>?|\s)\s{{0,3}}[\"'`]?(?P<value>[\w.~+/=$%!@^&*-]{{10,}})",
        0.85,
        words=_SECRET_WORDS,
    ),
    Pattern("SECRET", "high_entropy", r"\b[A-Za-z0-9+/_-]{28,}={0,2}", 0.6, shape=LONG_RUN),
)

_NOT_SECRETS = frozenset(
    "required incorrect wrong invalid expired reset field policy policies manager protected hash hashing change changed "
    "changes strength length must should cannot can't needs need has have been does not and the for with that this your "
    "my his her their our with number reminder recovery prompt authentication authorization based none null true false "
    "string text".split()
)


def looks_secret(name: str, before: str, value: str) -> bool:
    """Whether what a context pattern caught can be a secret at all; forms that vendors document always are.

    ``before`` is what the pattern matched in front of the value.
    """
    if name == "password":
        return _password(value, assigned=before.rstrip("\"'` >").endswith((":", "=")))
    if name in {"secret_in_context", "bearer"}:
        return any(letter.isdigit() for letter in value) and entropy(value) >= 2.5
    if name == "high_entropy":
        kinds = (str.isdigit, str.isupper, str.islower)
        if "/" in value.strip("/") and value.count("/") > len(value) // 16:
            return False
        return all(any(map(kind, value)) for kind in kinds) and entropy(value) >= 4.2
    return True


def _password(value: str, assigned: bool) -> bool:
    value = value.rstrip(".,;:)]}?!") or value
    if value.lower() in _NOT_SECRETS or len(value) < 3:
        return False
    if assigned:
        return True
    letters = value.isalpha()
    return not letters or not (value.islower() or value.istitle()) or len(value) > 24


def entropy(value: str) -> float:
    """Shannon entropy in bits per character."""
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())
