"""Every place where text hides in the requests and answers of the three wires, and its kind."""

import json

import pytest

from triptych.wires import anthropic_messages, openai_chat, openai_responses
from triptych.wires.slots import Kind, Slot, shown

SCHEMA = {
    "type": "object",
    "title": "title?",
    "properties": {"ssn?": {"type": ["string", "null"], "description": "description?", "pattern": "a?"}},
    "$defs": {"def?": {"enum": ["enum?", {"inner?": "x?"}], "const": "const?", "default": "default?"}},
    "required": ["ssn?"],
    "x-unknown?": {"deep?": ["value?"]},
    "anyOf": [{"$ref": "#/$defs/def?"}, {"examples": ["example?"]}],
}
SCHEMA_KINDS = [
    *[("title?", "text"), ("ssn?", "name"), ("description?", "text"), ("a?", "text"), ("def?", "name")],
    *[("enum?", "text"), ("inner?", "name"), ("x?", "text"), ("const?", "text"), ("default?", "text")],
    *[("ssn?", "name"), ("x-unknown?", "name"), ("deep?", "name"), ("value?", "text")],
    *[("#/$defs/def?", "name"), ("example?", "text")],
]


def kinds(body: object, slots: list[Slot]) -> list[tuple[str, str]]:
    source = json.dumps(body).encode()
    return [(slot.text(source), str(slot.kind)) for slot in slots]


def requested(wire: object, body: object) -> list[tuple[str, str]]:
    return kinds(body, wire.text_slots(json.dumps(body).encode()))  # type: ignore[attr-defined]


def answered(wire: object, body: object) -> list[tuple[str, str]]:
    return kinds(body, wire.answer_slots(json.dumps(body).encode()))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (anthropic_messages, {"tools": [{"input_schema": SCHEMA}]}),
        (anthropic_messages, {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        (openai_chat, {"tools": [{"type": "function", "function": {"parameters": SCHEMA}}]}),
        (openai_chat, {"functions": [{"parameters": SCHEMA}]}),
        (openai_chat, {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}),
        (openai_responses, {"tools": [{"type": "function", "parameters": SCHEMA}]}),
        (openai_responses, {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    ],
)
def test_a_schema_is_read_the_same_wherever_it_stands(wire: object, body: object) -> None:
    assert requested(wire, body) == SCHEMA_KINDS


def test_the_places_of_a_messages_request() -> None:
    body = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 10,
        "system": [{"type": "text", "text": "system", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "stop_sequences": ["stop here"],
        "metadata": {"user_id": "ada", "note": "free"},
        "tools": [{"name": "tool", "description": "what it does", "input_examples": [{"key": "value"}]}],
        "mcp_servers": [{"type": "url", "url": "https://x", "name": "m", "authorization_token": "secret"}],
        "messages": [
            {"role": "user", "content": [
                {"type": "document", "title": "title", "context": "context",
                 "source": {"type": "text", "media_type": "text/plain", "data": "document"}},
                {"type": "document", "source": {"type": "content",
                                                "content": [{"type": "text", "text": "in"}]}},
                {"type": "document", "source": {"type": "base64", "data": "JVB",
                                                "media_type": "application/pdf"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/ada.png"}},
                {"type": "search_result", "source": "https://s", "title": "found",
                 "content": [{"type": "text", "text": "result"}]},
                {"type": "tool_result", "tool_use_id": "toolu_1",
                 "content": [{"type": "text", "text": "did"}]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "done"},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "tool_use", "id": "toolu_1", "name": "tool",
                 "input": {"to": ["Ada", {"k": "v"}], "n": 1}},
                {"type": "text", "text": "said",
                 "citations": [{"type": "char_location", "cited_text": "cited"}]},
            ]},
        ],
        "user_tag": "unknown",
    }  # fmt: skip
    assert requested(anthropic_messages, body) == [
        *[("system", "text"), ("stop here", "text"), ("ada", "text"), ("note", "name"), ("free", "text")],
        *[("tool", "name"), ("what it does", "text"), ("key", "name"), ("value", "text")],
        *[("https://x", "url"), ("m", "name"), ("secret", "opaque")],
        *[("title", "text"), ("context", "text"), ("document", "text"), ("in", "text"), ("JVB", "opaque")],
        *[("https://example.com/ada.png", "url"), ("https://s", "url"), ("found", "text")],
        *[("result", "text"), ("did", "text"), ("done", "text")],
        *[("hm", "reasoning"), ("EqQB", "opaque"), ("EmwK", "opaque")],
        *[("tool", "name"), ("to", "name"), ("Ada", "text"), ("k", "name"), ("v", "text"), ("n", "name")],
        *[("said", "text"), ("cited", "text"), ("user_tag", "name"), ("unknown", "text")],
    ]


def test_the_places_of_a_chat_request() -> None:
    body = {
        "model": "gpt-x",
        "user": "ada",
        "prompt_cache_key": "cache ada",
        "safety_identifier": "safe",
        "stop": ["stop here"],
        "prediction": {"type": "content", "content": "predicted"},
        "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Paris"}}},
        "tools": [{"type": "custom", "custom": {"name": "c", "description": "d", "format": {
            "type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}}}}],
        "messages": [
            {"role": "developer", "content": "system"},
            {"role": "user", "name": "Ada", "content": [
                {"type": "text", "text": "text"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://x"}},
                {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                {"type": "file", "file": {"filename": "ada.pdf", "file_data": "JVB"}},
            ]},
            {"role": "assistant", "content": None, "refusal": "no", "reasoning_content": "hm", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}},
                {"id": "call_2", "type": "custom", "custom": {"name": "c", "input": "i"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "result"},
        ],
    }  # fmt: skip
    assert requested(openai_chat, body) == [
        *[("ada", "text"), ("cache ada", "text"), ("safe", "text"), ("stop here", "text")],
        *[("predicted", "text"), ("Paris", "text"), ("c", "name"), ("d", "text"), ("start: x", "text")],
        *[("system", "text"), ("Ada", "name"), ("text", "text"), ("data:image/png;base64,QUJD", "opaque")],
        *[("https://x", "url"), ("UklG", "opaque"), ("ada.pdf", "name"), ("JVB", "opaque"), ("no", "text")],
        *[("hm", "reasoning"), ("f", "name"), ('{"a": "b"}', "json_string"), ("c", "name"), ("i", "text")],
        ("result", "text"),
    ]


def test_the_places_of_a_responses_request() -> None:
    body = {
        "model": "gpt-x",
        "instructions": "instructions",
        "prompt": {"id": "pmpt_1", "variables": {"name": "Ada", "doc": {"text": "v"}}},
        "metadata": {"k": "v"},
        "tools": [{"type": "mcp", "server_label": "l", "server_url": "https://m", "authorization": "secret",
                   "headers": {"X-User": "ada"}, "allowed_tools": ["t"]}],
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "text"},
                {"type": "input_image", "image_url": "https://x", "detail": "auto"},
                {"type": "input_file", "filename": "ada.pdf", "file_data": "JVB", "file_url": "https://f"},
            ]},
            {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
             "summary": [{"type": "summary_text", "text": "hm"}],
             "content": [{"type": "reasoning_text", "text": "so"}]},
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1",
             "output": [{"type": "input_text", "text": "o"}]},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "custom"},
            {"type": "image_generation_call", "id": "ig_1", "result": "iVBO", "status": "completed"},
            {"type": "code_interpreter_call", "code": "print()",
             "outputs": [{"type": "logs", "logs": "log"}]},
            {"type": "tool_search_call", "arguments": {"q": "find"}},
            {"type": "computer_call_output", "output": {"type": "computer_screenshot",
                                                        "image_url": "data:image/png;base64,QQ=="}},
        ],
    }  # fmt: skip
    assert requested(openai_responses, body) == [
        *[("instructions", "text"), ("name", "name"), ("Ada", "text"), ("doc", "name"), ("v", "text")],
        *[("k", "name"), ("v", "text"), ("l", "name"), ("https://m", "url"), ("secret", "opaque")],
        *[("X-User", "name"), ("ada", "text"), ("t", "name"), ("text", "text"), ("https://x", "url")],
        *[("ada.pdf", "name"), ("JVB", "opaque"), ("https://f", "url"), ("gAAA", "opaque")],
        *[("hm", "reasoning"), ("so", "reasoning"), ("f", "name"), ("{}", "json_string"), ("o", "text")],
        *[("custom", "text"), ("iVBO", "opaque"), ("print()", "text"), ("log", "text")],
        *[("q", "name"), ("find", "text"), ("data:image/png;base64,QQ==", "opaque")],
    ]


def test_the_places_of_answers() -> None:
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "tool_use",
        "stop_sequence": "stop", "usage": {"input_tokens": 1, "service_tier": "standard"},
        "content": [{"type": "thinking", "thinking": "hm", "signature": "Eq=="},
                    {"type": "text", "text": "t"},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"k": "v"},
                     "caller": {"type": "direct"}}],
    }  # fmt: skip
    assert answered(anthropic_messages, message) == [
        *[("stop", "text"), ("hm", "reasoning"), ("Eq==", "opaque"), ("t", "text"), ("f", "name")],
        *[("k", "name"), ("v", "text")],
    ]
    completion = {
        "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-x", "system_fingerprint": "fp_1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "c", "annotations": [
                {"type": "url_citation", "url_citation": {"title": "t", "url": "https://x"}}],
            "audio": {"id": "audio_1", "data": "UklG", "transcript": "said"}}}],
        "usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}},
    }  # fmt: skip
    assert answered(openai_chat, completion) == [
        *[("c", "text"), ("t", "text"), ("https://x", "url"), ("UklG", "opaque"), ("said", "text")]
    ]
    response = {
        "id": "resp_1", "object": "response", "status": "completed", "error": None,
        "text": {"format": {"type": "text"}},
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "message", "content": [{"type": "output_text", "text": "o", "annotations": [
                {"type": "file_citation", "filename": "ada.pdf", "file_id": "file-1"}]}]},
            {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "q"}},
        ],
        "usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}},
    }  # fmt: skip
    assert answered(openai_responses, response) == [
        *[("hm", "reasoning"), ("o", "text"), ("ada.pdf", "name"), ("q", "text")]
    ]


def test_a_path_is_named_as_errors_name_it() -> None:
    body = b'{"messages":[{"content":[{"type":"text","text":"x"}]}]}'
    assert [shown(slot.path) for slot in anthropic_messages.text_slots(body)] == [
        "messages[0].content[0].text"
    ]
    assert [slot.kind for slot in anthropic_messages.text_slots(body)] == [Kind.TEXT]
