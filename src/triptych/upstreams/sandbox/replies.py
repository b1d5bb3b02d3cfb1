"""What the sandbox says: from a prompt to a reply, without a word about any wire."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import cycle, islice

import msgspec

from triptych.upstreams.sandbox.samples import sample

BYTES_PER_TOKEN = 4
_LOREM_WORDS_DEFAULT = 64
_LOREM_WORDS_MAX = 100_000
_LOREM = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore "
    "et dolore magna aliqua ut enim ad minim veniam quis nostrud exercitation ullamco laboris nisi"
)
_QUOTED_CHARS = 256
ANY_OBJECT = {"type": "object"}
"""The schema of an answer that may be any JSON object."""
_NUMBER = re.compile(r"\d{1,6}")
# A word with the space before it. Bounded, so that text without spaces is streamed too.
_PIECE = re.compile(r"\s{0,64}\S{1,64}|\s{1,64}")


class Tool(msgspec.Struct, frozen=True):
    name: str
    schema: object
    """JSON schema of the arguments."""


class Prompt(msgspec.Struct, frozen=True):
    """What of a request the sandbox looks at."""

    last_user_text: str
    input_tokens: int
    max_tokens: int | None = None
    stop_sequences: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    """The one to call comes first; empty when tools are forbidden."""
    tool_result: str | None = None
    """Text of the result in the last message, when there is one."""
    tool_required: bool = False
    """The client insists on a call."""
    thinks: bool = False
    """The client asked the model to think before it answers."""
    answer_schema: object = None
    """JSON schema the text of the answer has to satisfy, when one was sent."""
    stream_usage: bool = False
    """A streamed answer is to report its usage, on a wire where that is asked for."""


class Stop(StrEnum):
    END = "end"
    MAX_TOKENS = "max_tokens"
    SEQUENCE = "sequence"
    TOOL = "tool"


class ToolCall(msgspec.Struct, frozen=True):
    name: str
    arguments: object


class Reply(msgspec.Struct, frozen=True):
    """Either text or a tool call, with the thoughts before it."""

    output_tokens: int
    """All of them: those of the thoughts too."""
    text: str | None = ""
    """None when there was nothing left to say it with: the thoughts used up ``max_tokens``."""
    stop: Stop = Stop.END
    stop_sequence: str | None = None
    tool: ToolCall | None = None
    thoughts: str | None = None
    thinking_tokens: int = 0


Speaker = Callable[[Prompt], Reply]


def tokens(size_bytes: int) -> int:
    """Tokens of that many bytes of UTF-8 text: one for every four, at least one."""
    return max(1, size_bytes // BYTES_PER_TOKEN)


def reply_of(speaker: Speaker, prompt: Prompt) -> Reply:
    """What a speaker answers, as far as the client leaves it the choice: a call that is insisted on
    is made, a schema is satisfied, and where thinking was asked for, thoughts come first."""
    if not prompt.thinks:
        return _spoken(speaker, prompt)
    thoughts = f"The last message says: {prompt.last_user_text[:_QUOTED_CHARS]}"
    thinking = say(thoughts, Prompt("", 0, prompt.max_tokens))
    used = thinking.output_tokens
    if thinking.stop is Stop.MAX_TOKENS or used == prompt.max_tokens:
        reply = Reply(0, None, Stop.MAX_TOKENS)
    else:
        left = None if prompt.max_tokens is None else prompt.max_tokens - used
        reply = _spoken(speaker, msgspec.structs.replace(prompt, max_tokens=left))
    return msgspec.structs.replace(
        reply, output_tokens=reply.output_tokens + used, thoughts=thinking.text, thinking_tokens=used
    )


def _spoken(speaker: Speaker, prompt: Prompt) -> Reply:
    if prompt.tool_required and prompt.tools and prompt.tool_result is None:
        return call_tool(prompt)
    reply = speaker(prompt)
    if prompt.answer_schema is None or reply.tool is not None:
        return reply
    if prompt.answer_schema == ANY_OBJECT:
        value: object = {"answer": prompt.last_user_text}
    else:
        value = sample(prompt.answer_schema)
    return say(msgspec.json.encode(value).decode(), prompt)


def seal(thoughts: str | None, digest: str) -> str:
    """What a provider signs or encrypts thoughts with: opaque, and the same for the same answer."""
    data = hashlib.sha512(f"{digest}\n{thoughts}".encode()).digest()
    return base64.b64encode(data).decode()


def echo(prompt: Prompt) -> Reply:
    return say(prompt.last_user_text, prompt)


def lorem(prompt: Prompt) -> Reply:
    """As many words as the first number in the last user text says, 64 without one; ``max_tokens``
    cuts them short like any text."""
    number = _NUMBER.search(prompt.last_user_text)
    count = min(int(number[0]), _LOREM_WORDS_MAX) if number else _LOREM_WORDS_DEFAULT
    return say(" ".join(islice(cycle(_LOREM.split()), count)), prompt)


def call_tool(prompt: Prompt) -> Reply:
    """A call of the first tool; once its result is there, a sentence about it. Without a tool, an echo."""
    if prompt.tool_result is not None:
        return say(f"The tool returned: {prompt.tool_result}", prompt)
    if not prompt.tools:
        return echo(prompt)
    tool = prompt.tools[0]
    arguments = sample(tool.schema)
    call = ToolCall(tool.name, arguments if isinstance(arguments, dict) else {})
    return Reply(tokens(len(msgspec.json.encode(call))), stop=Stop.TOOL, tool=call)


def say(text: str, prompt: Prompt) -> Reply:
    """The text, cut where a stop sequence begins or ``max_tokens`` are used up."""
    stop, found = Stop.END, None
    for sequence in prompt.stop_sequences:
        position = text.find(sequence) if sequence else -1
        if position >= 0:
            text, stop, found = text[:position], Stop.SEQUENCE, sequence
    data = text.encode()
    limit = prompt.max_tokens
    if limit is not None and tokens(len(data)) > limit:
        data = data[: limit * BYTES_PER_TOKEN]
        text, stop, found = data.decode("utf-8", "ignore"), Stop.MAX_TOKENS, None
    return Reply(tokens(len(data)), text, stop, found)


def pieces(text: str) -> Iterator[str]:
    """The text word by word: what a stream sends one after another."""
    for match in _PIECE.finditer(text):
        yield match[0]
