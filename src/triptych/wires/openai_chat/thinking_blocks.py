"""Reasoning that has to come back unchanged, on a wire that has no field of its own for it.

``thinking_blocks`` of an assistant message is LiteLLM's extension
(https://docs.litellm.ai/docs/reasoning_content): the blocks of Anthropic's wire. Encrypted reasoning
of OpenAI stands in a redacted block, behind a prefix that no vendor writes.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence

import msgspec

from triptych.core.conversation import Opaque, Reasoning

_FOREIGN = "openai:"


class ThinkingBlock(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="thinking"):
    thinking: str | None = None
    signature: str | None = None


class RedactedThinkingBlock(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="redacted_thinking"):
    data: str


Block = ThinkingBlock | RedactedThinkingBlock


class _Foreign(msgspec.Struct):
    data: str
    id: str | None = None
    text: str = ""


_FOREIGN_DECODER = msgspec.json.Decoder(_Foreign)


def reasoning_of(block: Block) -> Reasoning:
    """What a block stands for; a redacted one that is not ours to read is Anthropic's."""
    if isinstance(block, ThinkingBlock):
        opaque = Opaque("anthropic", block.signature) if block.signature else None
        return Reasoning(block.thinking or "", opaque)
    return _foreign(block.data) or Reasoning("", Opaque("anthropic", block.data, redacted=True))


def reasonings_of(blocks: Iterable[Block]) -> list[Reasoning]:
    """Without those that hold nothing at all."""
    found = map(reasoning_of, blocks)
    return [reasoning for reasoning in found if reasoning.text or reasoning.opaque]


def block_of(reasoning: Reasoning) -> Block:
    opaque = reasoning.opaque
    if opaque is None:
        return ThinkingBlock(reasoning.text)
    if opaque.vendor == "openai":
        return RedactedThinkingBlock(_wrapped(reasoning.text, opaque))
    if opaque.redacted:
        return RedactedThinkingBlock(opaque.data)
    return ThinkingBlock(reasoning.text, opaque.data)


def blocks_of(reasonings: Sequence[Reasoning]) -> list[Block]:
    """Empty when none of them has anything that must come back."""
    if all(reasoning.opaque is None for reasoning in reasonings):
        return []
    return [block_of(reasoning) for reasoning in reasonings]


def _wrapped(text: str, opaque: Opaque) -> str:
    told = msgspec.json.encode({"id": opaque.id, "data": opaque.data, "text": text})
    return _FOREIGN + base64.urlsafe_b64encode(told).decode()


def _foreign(data: str) -> Reasoning | None:
    if not data.startswith(_FOREIGN):
        return None
    packed = data[len(_FOREIGN) :]
    try:
        told = _FOREIGN_DECODER.decode(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    except (binascii.Error, ValueError):
        return None
    return Reasoning(told.text, Opaque("openai", told.data, id=told.id))
