"""A whole (not streamed) answer: read from a provider, written for a caller."""

from typing import Any, NoReturn

import msgspec

from triptych.core.conversation import Answer, Citation, Reasoning, Refusal, Stop, Text, ToolCall
from triptych.core.failure import Failure, FailureKind
from triptych.core.usage import Usage
from triptych.wires.estimate import decode_answer as decode_body
from triptych.wires.openai_responses.encrypted import sealed, unsealed
from triptych.wires.openai_responses.request import ResponsesRequest
from triptych.wires.openai_responses.request_decoder import SERVICE_TIERS, SUMMARY_SEPARATOR
from triptych.wires.openai_responses.request_encoder import output_content, reasoning_item
from triptych.wires.openai_responses.snapshot import INCOMPLETE, Snapshot
from triptych.wires.openai_responses.usage import counted, read_counts

Json = dict[str, Any]


class Annotation(msgspec.Struct):
    type: str
    url: str = ""
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class Piece(msgspec.Struct):
    """A content part, or one of a summary."""

    type: str
    text: str = ""
    refusal: str = ""
    annotations: list[Annotation] | None = None


class OutputItem(msgspec.Struct):
    type: str
    id: str | None = None
    content: list[Piece] | None = None
    summary: list[Piece] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class ProviderError(msgspec.Struct):
    type: str | None = None
    code: str | int | None = None
    message: str | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class EndOfResponse(msgspec.Struct):
    """What is known of a response only at its end."""

    status: str | None = None
    incomplete_details: _Incomplete | None = None
    error: ProviderError | None = None
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    service_tier: str | None = None


class _Response(EndOfResponse, kw_only=True):
    id: str
    model: str
    output: list[OutputItem]
    created_at: float | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
# Beyond the year 9999.
_TIME_LIMIT_S = 253_402_300_800
_STOPS = {"max_output_tokens": Stop.MAX_TOKENS, "content_filter": Stop.REFUSED}


def decode_answer(body: bytes) -> Answer:
    """Raises Failure UPSTREAM_INVALID_RESPONSE: not a response, one that did not come to its end, or
    one with an item that no other wire has; UPSTREAM_ERROR: the provider says that it failed."""
    response = decode_body(_RESPONSE, body)
    if response.status == "failed":
        raise Failure(FailureKind.UPSTREAM_ERROR)
    if response.status not in ("completed", "incomplete", None):
        raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)
    parts: list[Text | Refusal | Reasoning | ToolCall] = []
    for item in response.output:
        parts += parts_of(item)
    return Answer(
        id=response.id,
        model=response.model,
        created_s=time_of(response.created_at),
        parts=tuple(parts),
        stop=stop_of(response, calls=any(isinstance(part, ToolCall) for part in parts)),
        usage=usage_of(response),
        service_tier=tier_of(response),
    )


def stop_of(response: EndOfResponse, *, calls: bool) -> Stop:
    """``calls``: there are tool calls in it."""
    if response.status == "incomplete":
        reason = response.incomplete_details.reason if response.incomplete_details else None
        # Whatever else cut it short, it is as short as if the bound had.
        return _STOPS.get(reason or "", Stop.MAX_TOKENS)
    return Stop.TOOL_CALLS if calls else Stop.END


def usage_of(response: EndOfResponse) -> Usage | None:
    counts = read_counts(response.usage)
    return None if counts is None else counted(counts, request_bytes=0, text_bytes=0, whole=True)


def time_of(created_at: float | None) -> int | None:
    """Unix time; None for none, and for what is no time."""
    return int(created_at) if created_at is not None and 0 <= created_at < _TIME_LIMIT_S else None


def tier_of(response: EndOfResponse) -> str | None:
    """None while it was left to the provider: ``auto`` is asked for, and never what served."""
    tier = response.service_tier
    return tier if tier in SERVICE_TIERS and tier != "auto" else None


def parts_of(item: OutputItem) -> list[Text | Refusal | Reasoning | ToolCall]:
    """The parts of one item; raises Failure UPSTREAM_INVALID_RESPONSE."""
    if item.type == "function_call":
        return [call_of(item)]
    if item.type == "reasoning":
        reasoning = reasoning_of(item)
        return [reasoning] if reasoning is not None else []
    if item.type != "message":
        not_understood()
    parts: list[Text | Refusal | Reasoning | ToolCall] = []
    for piece in item.content or ():
        if piece.type == "output_text":
            if piece.text:
                parts.append(Text(piece.text, tuple(citations_of(piece.annotations))))
        elif piece.type == "refusal":
            if piece.refusal:
                parts.append(Refusal(piece.refusal))
        else:
            not_understood()
    return parts


def call_of(item: OutputItem) -> ToolCall:
    if not item.call_id or not item.name:
        not_understood()
    return ToolCall(item.call_id, item.name, item.arguments or "")


def reasoning_of(item: OutputItem) -> Reasoning | None:
    """None when there is nothing in it: it is not shown, and cannot come back."""
    texts = [piece.text for piece in (*(item.summary or ()), *(item.content or ()))]
    text = SUMMARY_SEPARATOR.join(filter(None, texts))
    if item.encrypted_content:
        return Reasoning(text, unsealed(item.encrypted_content, item.id))
    return Reasoning(text) if text else None


def citations_of(annotations: list[Annotation] | None) -> list[Citation]:
    """Of web pages; those of files that a server tool read mean nothing elsewhere."""
    return [citation_of(cited) for cited in annotations or () if cited.type == "url_citation"]


def citation_of(cited: Annotation) -> Citation:
    return Citation(cited.url, cited.title or None, start=cited.start_index, end=cited.end_index)


def not_understood() -> NoReturn:
    raise Failure(FailureKind.UPSTREAM_INVALID_RESPONSE)


def encode_answer(answer: Answer, parsed: ResponsesRequest, *, now_s: int = 0) -> bytes:
    """``parsed`` is the caller's request, which the response tells again; ``now_s`` (Unix time)
    stands in for a time of creation that the provider's wire does not have."""
    snapshot = Snapshot(parsed, answer.id, answer.model, answer.created_s or now_s)
    status = "incomplete" if answer.stop in INCOMPLETE else "completed"
    output: list[Json] = []
    said: list[Json] | None = None
    for part in answer.parts:
        if isinstance(part, Text | Refusal):
            if said is None:
                said = []
                output.append(message_item(answer.id, len(output), said))
            said.append(written_content(part))
            continue
        said = None
        if isinstance(part, ToolCall):
            output.append(call_item(answer.id, len(output), part))
        else:
            output.append(answered_reasoning(answer.id, len(output), part))
    if output:
        output[-1]["status"] = status
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    return snapshot.ended(output, answer.stop, answer.usage, answer.service_tier, text)


def written_content(part: Text | Refusal) -> Json:
    """A content part as an answer has it."""
    content = output_content(part)
    if isinstance(part, Text):
        content["logprobs"] = []
    return content


def message_item(answer_id: str, index: int, content: list[Json]) -> Json:
    """``index`` is the item's place in the output, as it is for the other kinds of items."""
    return {
        "type": "message",
        "id": f"msg_{answer_id}_{index}",
        "status": "completed",
        "role": "assistant",
        "content": content,
    }


def call_item(answer_id: str, index: int, call: ToolCall) -> Json:
    return {
        "type": "function_call",
        "id": f"fc_{answer_id}_{index}",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def answered_reasoning(answer_id: str, index: int, reasoning: Reasoning, item_id: str | None = None) -> Json:
    """``item_id``: under which it was announced; else it is its own, if it has one."""
    opaque = reasoning.opaque
    if item_id is None:
        item_id = opaque.id if opaque is not None and opaque.id else f"rs_{answer_id}_{index}"
    item = reasoning_item(reasoning, item_id, None if opaque is None else sealed(opaque, item_id))
    return {**item, "status": "completed"}
