"""Where text stands in a JSON text: every string that a guard must read, and may replace in place."""

from enum import StrEnum

import msgspec

from triptych.wires.json_strings import unescaped

Path = tuple[str | int, ...]
"""Names of members (decoded) and indexes of elements, from the root."""


class Kind(StrEnum):
    """What a string is to those who inspect it."""

    TEXT = "text"
    """People or models wrote it; and whatever nobody has decided about."""
    JSON_STRING = "json_string"
    """A JSON text inside the string, such as the arguments of a call of a tool. In a stream, and
    where a model stopped early, it may be a part of one."""
    REASONING = "reasoning"
    """Readable, but a provider may have signed it: to be inspected, not rewritten."""
    URL = "url"
    """An address or the name of a host."""
    NAME = "name"
    """A short label: of a tool, a file, a participant, a property; and every key that is not the
    wire's own."""
    OPAQUE = "opaque"
    """Cannot be inspected, or is no text: base64, signatures, encrypted content, credentials of
    other servers."""


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One string of a JSON text. ``text[start:end]`` is what stands between its quotes, escapes
    and all: put :func:`~triptych.wires.json_strings.escaped` text there and the rest stays."""

    path: Path
    """Of the value; the slot of a key has the path of the member it names."""
    start: int
    """Bytes into the text, after the opening quote."""
    end: int
    """Of the closing quote."""
    kind: Kind
    is_key: bool = False

    def text(self, source: bytes) -> str:
        """The string, decoded, of the text that the slot was found in."""
        return unescaped(source[self.start : self.end])


class Delta(msgspec.Struct, frozen=True, gc=False):
    """One string of one streamed event. ``event.data[start:end]`` is between its quotes."""

    path: Path
    """In the event's data."""
    start: int
    end: int
    kind: Kind
    text: str
    """Decoded. Half of a surrogate pair, when a provider cut inside one, stays half."""
    part: Path = ()
    """Which text of the answer this is a piece of: choices, content parts and calls are told
    apart by their indexes. Pieces of one text have the same part. Empty: of none."""
    is_fragment: bool = False
    """More of the same part may follow, and what is looked for may be cut between the two.
    Otherwise the text is whole."""
    is_key: bool = False


def shown(path: Path) -> str:
    """The path as an error names it: ``messages[0].content``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text
