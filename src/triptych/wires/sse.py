"""Server-sent events, as the WHATWG HTML standard defines the event stream (section 9.2.6).

A *block* is what ends with a blank line: one event, or comments only. Lines end with LF, CRLF or
CR, in any mixture. U+2028 and its like are text here, never line ends.
"""

import re

import msgspec

BOM = b"\xef\xbb\xbf"

# Atomic: a CRLF is one line end, never a CR and then an LF that would end another line.
BLOCK_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
LF, CR = b"\n\r"
"""Numbers: of bytes, ``in`` reads what it looks for as one first, and drops an error if it is none."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event that has data."""

    type: str
    """Of the ``event`` field; empty when there is none."""
    data: bytes
    """The ``data`` lines, joined with LF."""


def parse_block(block: bytes) -> Event | None:
    """The event of one block, or None when it has no ``data`` field (comments, blank lines)."""
    type_ = b""
    data: list[bytes] = []
    for line in block.splitlines():
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            type_ = value
    if not data:
        return None
    return Event(type_.decode("utf-8", "replace"), data[0] if len(data) == 1 else b"\n".join(data))


def frame(event: str, data: bytes) -> bytes:
    """One event as bytes; without a name when ``event`` is empty. Line ends inside ``data`` become further
    ``data`` lines."""
    if LF in data or CR in data:
        data = b"\ndata: ".join(re.split(rb"\r\n|\n|\r", data))
    if not event:
        return b"data: %b\n\n" % data
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
