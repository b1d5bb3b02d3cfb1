"""The sandbox's answer on the OpenAI Responses wire: the response object and the items in it."""

import msgspec

from triptych.upstreams.sandbox.openai_responses_request import SETTINGS, Asked, Item
from triptych.upstreams.sandbox.replies import Reply, Stop, seal
from triptych.upstreams.sandbox.wire import Exchange

# The same request gets the same answer, to the byte: no clock is read.
_CREATED_S = 1_767_225_600


def response(exchange: Exchange, status: str, output: list[Item]) -> Item:
    """The response while it is being made: no usage, no text."""
    prompt = exchange.prompt
    return {
        "id": f"resp_sandbox_{exchange.digest}",
        "object": "response",
        "created_at": _CREATED_S,
        "status": status,
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": exchange.model,
        "output": output,
        "output_text": "",
        **(prompt.settings if isinstance(prompt, Asked) else SETTINGS),
        "usage": None,
    }


def ended(exchange: Exchange, reply: Reply) -> Item:
    """The response with everything in it."""
    cut = reply.stop is Stop.MAX_TOKENS
    input_tokens, output_tokens = exchange.prompt.input_tokens, reply.output_tokens
    return {
        **response(exchange, "incomplete" if cut else "completed", items(exchange, reply)),
        "completed_at": None if cut else _CREATED_S,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output_text": "" if reply.tool is not None else reply.text or "",
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": reply.thinking_tokens},
            "total_tokens": input_tokens + output_tokens,
        },
    }


def items(exchange: Exchange, reply: Reply) -> list[Item]:
    """The output: the thoughts, when there are some, then a message or a call of a function."""
    found: list[Item] = []
    if reply.thoughts is not None:
        found.append(_reasoning(exchange, reply.thoughts))
    if reply.tool is not None:
        found.append(
            {
                "id": f"fc_sandbox_{exchange.digest}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_sandbox_{exchange.digest}",
                "name": reply.tool.name,
                "arguments": msgspec.json.encode(reply.tool.arguments).decode(),
            }
        )
    elif reply.text is not None:
        found.append(
            {
                "id": f"msg_sandbox_{exchange.digest}",
                "type": "message",
                "status": "incomplete" if reply.stop is Stop.MAX_TOKENS else "completed",
                "role": "assistant",
                "content": [text_part(reply.text)],
            }
        )
    return found


def text_part(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def summary_part(text: str) -> Item:
    return {"type": "summary_text", "text": text}


def _reasoning(exchange: Exchange, thoughts: str) -> Item:
    asked = exchange.prompt
    told = isinstance(asked, Asked) and asked.summarizes
    item: Item = {
        "id": f"rs_sandbox_{exchange.digest}",
        "type": "reasoning",
        "summary": [summary_part(thoughts)] if told else [],
    }
    if isinstance(asked, Asked) and asked.seals:
        item["encrypted_content"] = seal(thoughts, exchange.digest)
    return item
