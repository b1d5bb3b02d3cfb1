"""Thinking blocks and what is opaque in them, another vendor's too.

Anthropic's own signatures and redacted data are carried as they are. What another vendor wrote has
to survive a client of this wire, which sends back what it got: it travels as the signature of a
thinking block, ``openai:`` and then base64url of ``{"id","data"}``. A colon is in no signature of
Anthropic's, so that the two cannot be taken for each other.
"""

import base64
import binascii

import msgspec

from triptych.core.conversation import Opaque, Reasoning

VENDOR = "anthropic"
_FOREIGN = ("openai",)


class _Carried(msgspec.Struct, omit_defaults=True):
    data: str
    id: str | None = None
    text: str = ""


_CARRIED = msgspec.json.Decoder(_Carried)


def signature(opaque: Opaque | None) -> str:
    """What a thinking block's signature says; empty when there is nothing that is opaque."""
    if opaque is None:
        return ""
    if opaque.vendor == VENDOR:
        return opaque.data
    carried = msgspec.json.encode(_Carried(opaque.data, opaque.id))
    return f"{opaque.vendor}:{base64.urlsafe_b64encode(carried).decode().rstrip('=')}"


def thinking(text: str, signed: str) -> Reasoning:
    """The reasoning of a ``thinking`` block."""
    if not signed:
        return Reasoning(text)
    foreign = _foreign(signed)
    return Reasoning(text, Opaque(VENDOR, signed)) if foreign is None else _with_text(foreign, text)


def redacted_thinking(data: str) -> Reasoning:
    """The reasoning of a ``redacted_thinking`` block."""
    foreign = _foreign(data)
    return Reasoning("", Opaque(VENDOR, data, redacted=True)) if foreign is None else foreign


def _with_text(reasoning: Reasoning, text: str) -> Reasoning:
    return Reasoning(text, reasoning.opaque) if text else reasoning


def _foreign(data: str) -> Reasoning | None:
    vendor, colon, carried = data.partition(":")
    if not colon or vendor not in _FOREIGN:
        return None
    try:
        read = _CARRIED.decode(base64.urlsafe_b64decode(carried + "=" * (-len(carried) % 4)))
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return None
    return Reasoning(read.text, Opaque(vendor, read.data, id=read.id))
