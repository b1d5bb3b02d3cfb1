"""The estimate that holds are made of: from bytes alone, never far below the truth."""

import base64
import json
import random
import time
from typing import Any

import pytest

from triptych.wires.request_size import TOOL_USE_TOKENS, estimate_request_tokens
from triptych.wires.token_estimate import IMAGE_TOKENS, REMOTE_DOCUMENT_TOKENS, TOOL_TOKENS

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 800).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(range(256)) * 800).decode()


def body(content: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **fields}).encode()


def test_four_bytes_are_a_token() -> None:
    text = body("x" * 4_000)
    assert estimate_request_tokens(text) == len(text) // 4
    assert estimate_request_tokens(b"{}") == 1


IMAGES: dict[str, dict[str, Any]] = {
    "messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    "messages, another order": {"source": {"data": PNG, "type": "base64"}, "type": "image"},
    "chat": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    "responses": {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
}
REMOTE: dict[str, dict[str, Any]] = {
    "messages": {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    "chat": {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "high"}},
    "responses": {"type": "input_image", "image_url": "https://example.com/a.png"},
}


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("block", IMAGES.values(), ids=IMAGES)
def test_an_image_in_the_body_counts_as_an_image_not_by_its_bytes(block: dict[str, Any], count: int) -> None:
    tokens = estimate_request_tokens(body([block] * count))
    assert count * IMAGE_TOKENS <= tokens < count * (IMAGE_TOKENS + 60) + 60


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("block", REMOTE.values(), ids=REMOTE)
def test_an_image_named_by_its_address_counts_as_one(block: dict[str, Any], count: int) -> None:
    tokens = estimate_request_tokens(body([block] * count))
    assert count * IMAGE_TOKENS <= tokens < count * (IMAGE_TOKENS + 60) + 60


def test_a_document_counts_by_its_size_and_a_remote_one_as_two_pages() -> None:
    inside = {"type": "document", "source": {"type": "base64", "data": PDF}}
    remote = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    size = len(PDF) * 3 // 4
    tokens = estimate_request_tokens(body([inside]))
    assert size // 40 <= tokens < size // 40 + 100
    assert REMOTE_DOCUMENT_TOKENS <= estimate_request_tokens(body([remote])) < REMOTE_DOCUMENT_TOKENS + 100


def test_images_inside_and_outside_of_the_body_are_each_counted() -> None:
    tokens = estimate_request_tokens(body([IMAGES["messages"], REMOTE["messages"], IMAGES["messages"]]))
    assert 3 * IMAGE_TOKENS <= tokens < 3 * (IMAGE_TOKENS + 60) + 60


@pytest.mark.parametrize("schema", ["input_schema", "parameters"])
def test_tools_count_for_their_frames_beside_their_bytes(schema: str) -> None:
    tools = [{"name": f"t{place}", schema: {"type": "object"}} for place in range(3)]
    text = body("hi", tools=tools)
    assert estimate_request_tokens(text) == len(text) // 4 + TOOL_USE_TOKENS + 3 * TOOL_TOKENS


def test_what_stands_inside_a_text_is_text() -> None:
    text = body('{"type":"image"} and "image_url" and "data": "' + "A" * 5_000)
    assert estimate_request_tokens(text) == len(text) // 4


def test_random_bytes_are_estimated_too() -> None:
    lots = random.Random(5)
    marks = [b'"data"', b";base64,", b'"', b'"image"', b'"image_url"', b'"tools"', b"A" * 300, b":"]
    for _ in range(300):
        text = b"".join(lots.choices(marks, k=lots.randrange(40)))
        assert estimate_request_tokens(text) >= 1


def test_a_body_of_nothing_but_marks_takes_no_time() -> None:
    began_s = time.thread_time()
    estimate_request_tokens(b'"data":"",' * 1_000_000)
    estimate_request_tokens(b";base64," * 1_000_000)
    assert time.thread_time() - began_s < 1.0
