"""What stands between the quotes of a JSON string, decoded and written again.

Half of a surrogate pair (legal by the grammar of RFC 8259, section 8.2) survives both ways: a
provider that cuts a text into events cuts pairs too.
"""

import json
import re

import msgspec

_DECODE = msgspec.json.Decoder(str).decode
# Slower, but takes half of a pair.
_LENIENT = json.JSONDecoder(strict=False)
BACKSLASH = ord("\\")
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def unescaped(inside: bytes) -> str:
    """The text of what stands between the quotes.

    Never raises for what the walker found: bytes that are not UTF-8 are read as U+FFFD.
    """
    if BACKSLASH not in inside:
        return inside.decode("utf-8", "replace")
    try:
        return _DECODE(b'"%b"' % inside)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text: str = _LENIENT.decode('"' + inside.decode("utf-8", "replace") + '"')
        return text


def escaped(text: str) -> bytes:
    """The text as it stands between the quotes of a JSON string, in UTF-8."""
    try:
        return msgspec.json.encode(text)[1:-1]
    except UnicodeEncodeError:
        pieces: list[bytes] = []
        position = 0
        for half in _HALF_PAIR.finditer(text):
            pieces.append(msgspec.json.encode(text[position : half.start()])[1:-1])
            pieces.append(b"\\u%04x" % ord(half[0]))
            position = half.end()
        pieces.append(msgspec.json.encode(text[position:])[1:-1])
        return b"".join(pieces)
