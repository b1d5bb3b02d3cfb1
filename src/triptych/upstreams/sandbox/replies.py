"""What the sandbox says: from a prompt to a reply, without a word about any wire."""

import re
from collections.abc import Iterator
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
    """Either text or a tool call."""

    output_tokens: int
    text: str = ""
    stop: Stop = Stop.END
    stop_sequence: str | None = None
    tool: ToolCall | None = None


def tokens(size_bytes: int) -> int:
    """Tokens of that many bytes of UTF-8 text: one for every four, at least one."""
    return max(1, size_bytes // BYTES_PER_TOKEN)


def echo(prompt: Prompt) -> Reply:
    return say(prompt.last_user_text, prompt)


def lorem(prompt: Prompt) -> Reply:
    """As many words as the first number in the last user text says, 64 without one; ``max_tokens``
    cuts them short like any text."""
    number = _NUMBER.search(prompt.last_user_text)
    count = min(int(number[0]), _LOREM_WORDS_MAX) if number else _LOREM_WORDS_DEFAULT
    return say(" ".join(islice(cycle(_LOREM.split()), count)), prompt)


def call_tool(prompt: Prompt) -> Reply:
    """A call of the first tool; once its result is there, a sentence about it."""
    if prompt.tool_result is not None:
        return say(f"The tool returned: {prompt.tool_result}", prompt)
    if not prompt.tools:
        return say("There is no tool to call: send one in tools.", prompt)
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
