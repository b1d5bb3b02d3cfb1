"""What Codex asks on the Responses wire, and what OpenAI answers."""

import json
from typing import Any

import msgspec

from triptych.core.conversation import (
    Answer,
    Base64,
    Citation,
    Opaque,
    Reasoning,
    Refusal,
    Stop,
    Text,
    ToolCall,
)
from triptych.core.usage import Usage, UsageSource
from triptych.wires.openai_responses import ResponsesRequest, parse_request

SCHEMA = msgspec.Raw(b'{"type": "object", "properties": {"b": {}, "a": {"type":"string"}}}')
PNG = Base64("image/png", "iVBORw0KGgo=")
PDF_URL = "data:application/pdf;base64,JVBERi0="
PDF = Base64("application/pdf", "JVBERi0=")
# What Codex sends in its second turn, shortened.
CODEX: dict[str, Any] = {
    "model": "gpt-5.2-codex",
    "instructions": "You are Codex.",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "<permissions>"}],
        },
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list files"}]},
        {
            "type": "reasoning",
            "summary": [
                {"type": "summary_text", "text": "**Listing**"},
                {"type": "summary_text", "text": "b"},
            ],
            "content": None,
            "encrypted_content": "gAAAAB",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look."}],
            "phase": "commentary",
        },
        {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"},
        {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "call_2", "id": "fc_2"},
        {"type": "function_call_output", "call_id": "call_1", "output": "a\nb"},
        {"type": "function_call_output", "call_id": "call_2", "output": "[tool error] exit 1"},
    ],
    "tools": [
        {"type": "function", "name": "shell", "description": "Runs", "strict": False, "parameters": {}},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "high", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199",
    "text": {"verbosity": "low"},
    "client_metadata": {"x-codex-installation-id": "1"},
}
USAGE = Usage(25, 9, 7, 3, 4, UsageSource.PROVIDER)
COUNTS = {
    "input_tokens": 35,
    "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 44,
}
# What OpenAI answers, with fields that nobody here reads.
BODY: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_800_000_000,
    "status": "completed",
    "background": False,
    "billing": {"payer": "developer"},
    "error": None,
    "incomplete_details": None,
    "model": "gpt-5.2-2026-01-01",
    "output": [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
            "encrypted_content": "gAAA",
        },
        {
            "id": "msg_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {
                    "type": "output_text",
                    "text": "See there",
                    "logprobs": [],
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url": "https://a.test",
                            "title": "A",
                            "start_index": 0,
                            "end_index": 3,
                        },
                        {"type": "file_citation", "file_id": "f", "filename": "n", "index": 0},
                    ],
                },
                {"type": "refusal", "refusal": "No."},
            ],
        },
        {
            "id": "fc_1",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "f",
            "arguments": '{"a": 1}',
        },
    ],
    "service_tier": "default",
    "usage": COUNTS,
    "metadata": {},
}
ANSWER = Answer(
    id="resp_1",
    model="gpt-5.2-2026-01-01",
    created_s=1_800_000_000,
    parts=(
        Reasoning("a\n\nb", Opaque("openai", "gAAA", id="rs_1")),
        Text("See there", (Citation("https://a.test", "A", None, 0, 3),)),
        Refusal("No."),
        ToolCall("call_1", "f", '{"a": 1}'),
    ),
    stop=Stop.TOOL_CALLS,
    usage=USAGE,
    service_tier="default",
)


def parsed(**fields: object) -> ResponsesRequest:
    return parse_request(json.dumps({"model": "m", "input": "x", **fields}).encode())
