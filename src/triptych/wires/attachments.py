"""What of a request is no text: images, sound, files, documents. The same on every wire, because no
two vendors mean different things by one ``type``."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from triptych.core.failure import Failure, FailureKind
from triptych.wires.governed_fields import STRIPPED_FIELDS
from triptych.wires.slots import Path

# Anthropic's, OpenAI's chat, OpenAI's responses.
_NEVER_TEXT = frozenset((
    "image", "container_upload", "image_url", "input_audio", "video_url", "audio", "input_image",
    "image_generation_call", "computer_call_output", "computer_screenshot", "input_video",
))  # fmt: skip
_FILES = frozenset(("document", "file", "input_file"))
_REFERENCES = frozenset(("file_id", "file_url"))
# What is data of the caller's tools, not of the wire.
_FREE = frozenset((
    "input", "arguments", "input_schema", "parameters", "schema", "input_examples", "output_schema",
))  # fmt: skip
_CALLS = frozenset(("tool_use", "server_tool_use", "mcp_tool_use"))
# Reasoning that its maker encrypted: in any other part, data may be anything.
_SEALING = frozenset(("redacted_thinking", "reasoning.encrypted"))
_TEXT_TYPE = re.compile(
    r"(?:text/[a-z0-9.+-]+|application/(?:json|xml|yaml|x-yaml|x-ndjson|jsonl|csv|rtf|[a-z0-9.-]+\+(?:json|xml)))"
    r"(?:[ ]?;.*)?",
    re.IGNORECASE,
)
_DATA_URL = re.compile(r"\s*data:([^,]*?);base64,", re.IGNORECASE)


class Twice(Exception):
    """A key occurs twice in one object."""


class Attachment(msgspec.Struct, frozen=True):
    path: Path
    """Of the part that holds it."""
    data: Path | None = None
    """Where the Base64 of a text stands; None: it cannot be inspected."""


class Contents(msgspec.Struct, frozen=True):
    attachments: list[Attachment]
    """In the order of the body."""
    documents: list[Path]
    """Of Anthropic's document blocks, whatever they hold: citations count them from 0."""
    inputs: list[Path]
    """Of the arguments of calls that are no text but JSON values."""
    sealed: list[Path]
    """Of ``data`` that only its maker can read."""


def contents(body: bytes) -> Contents:
    """The body must be JSON. Raises Failure INVALID_BODY for an object, at any depth, in which a key
    occurs twice: the one could hide what is read in the other."""
    try:
        # Numbers stay texts: there is a limit to the digits of one that is converted.
        whole = json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)
    except Twice as twice:
        raise Failure(
            FailureKind.INVALID_BODY,
            "The request body has an object in which a key occurs more than once.",
        ) from twice
    found = Contents([], [], [], [])
    if isinstance(whole, dict):
        _walk(whole, found)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Twice
    return members


def _walk(whole: dict[str, Any], found: Contents) -> None:
    """Without recursion; what is pushed last is looked at first."""
    waiting: list[tuple[Path, Any]] = [
        ((name,), value) for name, value in reversed(whole.items()) if name not in STRIPPED_FIELDS
    ]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(((*path, i), value[i]) for i in range(len(value) - 1, -1, -1))
            continue
        if not isinstance(value, dict):
            continue
        type_ = value.get("type")
        if not isinstance(type_, str):
            type_ = ""  # of no kind that is known
        if type_ == "document":
            found.documents.append(path)
        elif type_ in _SEALING:
            found.sealed.append((*path, "data"))
        attachment = _attachment(path, value)
        if attachment is not None:
            found.attachments.append(attachment)
            continue
        for name in reversed(value):
            if name == "input" and type_ in _CALLS:
                found.inputs.append((*path, name))
                continue
            if name in _FREE and name != "input":
                continue
            inner = value[name]
            if isinstance(inner, dict | list):
                waiting.append(((*path, name), inner))


def _attachment(path: Path, part: Mapping[str, Any]) -> Attachment | None:
    type_ = part.get("type")
    if not isinstance(type_, str):
        # The sound of an earlier answer, named by its id alone.
        return Attachment(path) if path[-1] == "audio" and "id" in part else None
    if type_ in _NEVER_TEXT:
        return Attachment(path)
    if type_ not in _FILES:
        return None
    if type_ == "document":
        source = part.get("source")
        if not isinstance(source, dict):
            return Attachment(path)
        kind = source.get("type")
        if kind in ("text", "content"):
            # Blocks inside are looked at for themselves.
            return None
        if kind == "base64" and _is_text(source.get("media_type")):
            return Attachment(path, (*path, "source", "data"))
        return Attachment(path)
    inner, place = (part.get("file"), (*path, "file")) if type_ == "file" else (part, path)
    if not isinstance(inner, dict) or _REFERENCES & inner.keys():
        return Attachment(path)
    data = inner.get("file_data")
    url = _DATA_URL.match(data) if isinstance(data, str) else None
    if url is None or not _is_text(url[1]):
        return Attachment(path)
    return Attachment(path, (*place, "file_data"))


def is_encoded_text(part: Mapping[str, Any]) -> bool:
    """Whether a part says that it is a text in Base64: then it is decoded, and read like any other."""
    if not isinstance(part.get("type"), str):
        return False
    attachment = _attachment(("part",), part)
    return attachment is not None and attachment.data is not None


def _is_text(media_type: object) -> bool:
    return isinstance(media_type, str) and _TEXT_TYPE.fullmatch(media_type) is not None


class EncodedText(msgspec.Struct, frozen=True):
    """A text that travels in Base64, alone or behind the head of a ``data:`` URL."""

    head: str
    text: str

    def encoded(self, text: str) -> str:
        """The same with another text."""
        return self.head + base64.b64encode(text.encode()).decode()


def encoded_text(data: str) -> EncodedText | None:
    """None when it is not Base64 of UTF-8, or holds what no text holds."""
    url = _DATA_URL.match(data)
    head = url[0] if url is not None else ""
    try:
        text = base64.b64decode("".join(data[len(head) :].split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if "\x00" in text else EncodedText(head, text)
