"""Bodies are put together from pieces whose bytes are known, so that what must be left of them is known
without reading them again: every value becomes its placeholder, every other byte stays."""

import json
import random
import re
from typing import Any

import pytest

from tests.devices.rules import NAMES, Rules
from triptych.engines.phi.inspect import Asked, Inspected, inspect

SSN = "123-45-6789"
VALUES = (*NAMES, SSN, "ana@example.org")
TYPES = dict.fromkeys(NAMES, "PERSON") | {SSN: "US_SSN", "ana@example.org": "EMAIL_ADDRESS"}
_MARK = re.compile(r"@(\d+):(\d)@")
_FILLERS = (
    *("says", "née Ωmega", 'a "quoted" word', "back\\slash", "tab\tline\nend", "\U0001d11e clef"),
    *("C:\\new\\table", "/slash/", "\u2028 separator", "[not one_1]", "[X_1", "{}", ""),
)


def screened(wire: str, body: bytes, **asked: Any) -> Inspected:
    return inspect(Rules(), Asked(wire, body, **asked))


class Writer:
    """Random texts with marks where values go, and the two bodies that come of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.used = 0

    def text(self, depth: int = 1) -> str:
        """``depth``: in how many JSON strings it stands."""
        words = []
        for _ in range(self.random.randrange(1, 5)):
            if self.random.random() < 0.5:
                words.append(self.random.choice(_FILLERS))
            else:
                words.append(f"@{self.random.randrange(len(VALUES))}:{depth}@")
        return " , ".join(words)

    def address(self) -> str:
        return f"https://example.org/a/b?name=@{self.random.randrange(len(VALUES) - 1, len(VALUES))}:1@&x=1"

    def nested(self) -> str:
        inner = {"who": self.text(2), self.text(2) or "k": [self.text(2), {"deep": self.text(2)}]}
        return json.dumps(inner, ensure_ascii=self.random.random() < 0.5)

    def some(self, fields: dict[str, Any]) -> dict[str, Any]:
        kept = [name for name in fields if self.random.random() < 0.8]
        self.random.shuffle(kept)
        return {name: fields[name] for name in kept}

    def bodies(self, request: dict[str, Any]) -> tuple[bytes, bytes]:
        """As the caller sends it, and as it must leave."""
        spaces = self.random.choice(((",", ":"), (", ", ": "), (" ,\n ", "\t: ")))
        text = json.dumps(request, ensure_ascii=self.random.random() < 0.5, separators=spaces)
        numbers: dict[str, int] = {}
        placeholders: dict[str, str] = {}

        def placeholder(match: re.Match[str]) -> str:
            value = VALUES[int(match[1])]
            if value not in placeholders:
                type_ = TYPES[value]
                numbers[type_] = numbers.get(type_, 0) + 1
                placeholders[value] = f"[{type_}_{numbers[type_]}]"
            return placeholders[value]

        sent = _MARK.sub(lambda match: self.spelled(VALUES[int(match[1])], int(match[2])), text)
        return sent.encode(), _MARK.sub(placeholder, text).encode()

    def spelled(self, value: str, depth: int) -> str:
        """Each character as it is, or as an escape."""
        for _ in range(depth):
            told = []
            for character in value:
                plain = json.dumps(character, ensure_ascii=False)[1:-1]
                escape = json.dumps(character)[1:-1]
                if self.random.random() < 0.1 and len(escape) == 1:
                    escape = f"\\u{ord(character):04x}"
                told.append(escape if self.random.random() < 0.2 else plain)
            value = "".join(told)
        return value


def messages(w: Writer) -> dict[str, Any]:
    text = w.text
    blocks = [
        {"type": "text", "text": text(), "cache_control": {"type": "ephemeral"}},
        {
            "type": "document",
            "title": text(),
            "context": text(),
            "source": {"type": "text", "media_type": "text/plain", "data": text()},
        },
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "text", "text": text()}]},
        },
        {
            "type": "search_result",
            "source": w.address(),
            "title": text(),
            "content": [{"type": "text", "text": text()}],
        },
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": text()}]},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": w.nested()},
    ]
    use = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "look",
        "input": {"q": text(), text() or "x": [text()]},
    }
    w.random.shuffle(blocks)
    return {
        "model": "m",
        "max_tokens": 16,
        "messages": [
            {"role": "user", "content": text() or "x"},
            {"role": "assistant", "content": [{"type": "text", "text": text()}, use]},
            {"role": "user", "content": blocks},
        ],
        **w.some(
            {
                "system": [{"type": "text", "text": text()}],
                "stop_sequences": [text()],
                "output_config": {
                    "format": {
                        "type": "json_schema",
                        "schema": {"type": "object", "description": text(), "properties": {text(): {}}},
                    }
                },
                "some_new_field": {"inner": [1.50, text(), None]},
                "tools": [{"name": "look", "input_schema": {"type": "object", "description": "é\\"}}],
                "temperature": 1e0,
            }
        ),
    }


def chat(w: Writer) -> dict[str, Any]:
    text = w.text
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": w.nested()}}
    return {
        "model": "m",
        "messages": [
            {"role": "system", "content": text()},
            {"role": "user", "name": "somebody", "content": [{"type": "text", "text": text()}]},
            {"role": "assistant", "content": text(), "refusal": text(), "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": text()},
        ],
        **w.some(
            {
                "stop": [text(), text()],
                "user": text(),
                "prompt_cache_key": text(),
                "prediction": {"type": "content", "content": text()},
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "description": text(), "schema": {"enum": [text()]}},
                },
                "some_new_field": [text(), {"deep": {"deeper": text()}}],
            }
        ),
    }


def responses(w: Writer) -> dict[str, Any]:
    text = w.text
    return {
        "model": "m",
        "input": [
            {"role": "user", "content": text()},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text()}]},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": w.nested()},
            {"type": "function_call_output", "call_id": "call_1", "output": text()},
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {
                        "type": "output_text",
                        "text": text(),
                        "annotations": [{"type": "url_citation", "url": w.address(), "title": text()}],
                    }
                ],
            },
        ],
        **w.some(
            {
                "instructions": text(),
                "user": text(),
                "text": {"format": {"type": "json_schema", "name": "x", "schema": {"title": text()}}},
                "prompt": {"id": "pmpt_1", "variables": {"name": text()}},
                "some_new_field": text(),
            }
        ),
    }


@pytest.mark.parametrize(
    ("wire", "request_of"),
    [("anthropic-messages", messages), ("openai-chat", chat), ("openai-responses", responses)],
)
def test_only_the_bytes_of_values_change(wire: str, request_of: Any) -> None:
    changed = 0
    for seed in range(60):
        writer = Writer(seed)
        sent, expected = writer.bodies(request_of(writer))
        inspected = screened(wire, sent)
        assert inspected.body == expected, seed
        assert inspected.fixed is None and not inspected.unreadable
        # What went out holds nothing of what came in.
        decoded = json.dumps(json.loads(inspected.body), ensure_ascii=False)
        assert not any(value in decoded for value in VALUES)
        changed += sent != expected
    assert changed > 55


def test_a_body_without_values_is_the_same_object() -> None:
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"h\\u00e9llo [X_1]"}]}'
    assert screened("anthropic-messages", body).body is body


def test_an_unchanged_prefix_redacts_to_the_same_bytes() -> None:
    def turns(count: int) -> bytes:
        said = [f"{VALUES[i % len(VALUES)]} and {VALUES[(i * 3) % len(VALUES)]} at {i}" for i in range(count)]
        return json.dumps({"model": "m", "messages": [{"role": "user", "content": t} for t in said]}).encode()

    longest = screened("openai-chat", turns(12)).body
    for count in range(1, 12):
        redacted = screened("openai-chat", turns(count)).body
        assert longest.startswith(redacted.removesuffix(b"]}"))
