"""The sandbox's streamed answer on the OpenAI Responses wire, event by event, as
https://platform.openai.com/docs/api-reference/responses-streaming describes them."""

from collections.abc import Iterator
from itertools import count

import msgspec

from triptych.upstreams.sandbox.openai_responses_answer import (
    ended,
    items,
    response,
    summary_part,
    text_part,
)
from triptych.upstreams.sandbox.openai_responses_request import Item
from triptych.upstreams.sandbox.replies import Reply, pieces
from triptych.upstreams.sandbox.wire import Exchange, Script
from triptych.wires.sse import frame

_JSON_FRAGMENT_CHARS = 16


def event(number: int, type_: str, **fields: object) -> bytes:
    return frame(type_, msgspec.json.encode({"type": type_, "sequence_number": number, **fields}))


def stream_script(exchange: Exchange, reply: Reply) -> Script:
    return _Numbered(exchange, reply).script()


class _Numbered:
    """One stream: its events take their numbers as they are made, so each is made in its turn."""

    def __init__(self, exchange: Exchange, reply: Reply) -> None:
        self._exchange = exchange
        self._reply = reply
        self._items = items(exchange, reply)
        self._numbers = count()

    def script(self) -> Script:
        begun = response(self._exchange, "in_progress", [])
        head = self._event("response.created", response=begun)
        head += self._event("response.in_progress", response=begun)
        return Script(head + self._item_begun(0), self._deltas(), self._tail)

    def _event(self, type_: str, **fields: object) -> bytes:
        return event(next(self._numbers), type_, **fields)

    def _deltas(self) -> Iterator[bytes]:
        for index, item in enumerate(self._items):
            if index > 0:
                yield self._item_done(index - 1) + self._item_begun(index)
            place = {"item_id": item["id"], "output_index": index}
            match item["type"]:
                case "message":
                    place |= {"content_index": 0, "logprobs": []}
                    kind, texts = "response.output_text.delta", pieces(self._reply.text or "")
                case "function_call":
                    kind = "response.function_call_arguments.delta"
                    texts = _fragments(str(item["arguments"]))
                case _:
                    place["summary_index"] = 0
                    kind = "response.reasoning_summary_text.delta"
                    texts = pieces((self._reply.thoughts or "") if item["summary"] else "")
            for text in texts:
                yield self._event(kind, **place, delta=text)

    def _item_begun(self, index: int) -> bytes:
        item = self._items[index]
        place = {"item_id": item["id"], "output_index": index}
        empty: Item = {name: value for name, value in item.items() if name != "encrypted_content"}
        part: tuple[str, Item] | None = None
        match item["type"]:
            case "message":
                empty |= {"status": "in_progress", "content": []}
                part = ("response.content_part.added", {"content_index": 0, "part": text_part("")})
            case "function_call":
                empty |= {"status": "in_progress", "arguments": ""}
            case _ if item["summary"]:
                empty["summary"] = []
                begun: Item = {"summary_index": 0, "part": summary_part("")}
                part = ("response.reasoning_summary_part.added", begun)
        added = self._event("response.output_item.added", output_index=index, item=empty)
        return added if part is None else added + self._event(part[0], **place, **part[1])

    def _item_done(self, index: int) -> bytes:
        item = self._items[index]
        place = {"item_id": item["id"], "output_index": index}
        done = b""
        match item["type"]:
            case "message":
                text = self._reply.text or ""
                place["content_index"] = 0
                done = self._event("response.output_text.done", **place, text=text, logprobs=[])
                done += self._event("response.content_part.done", **place, part=text_part(text))
            case "function_call":
                done = self._event(
                    "response.function_call_arguments.done",
                    **place,
                    arguments=item["arguments"],
                )
            case _ if item["summary"]:
                text = self._reply.thoughts or ""
                place["summary_index"] = 0
                done = self._event("response.reasoning_summary_text.done", **place, text=text)
                done += self._event("response.reasoning_summary_part.done", **place, part=summary_part(text))
        return done + self._event("response.output_item.done", output_index=index, item=item)

    def _tail(self) -> bytes:
        whole = ended(self._exchange, self._reply)
        done = self._item_done(len(self._items) - 1)
        return done + self._event(f"response.{whole['status']}", response=whole)


def _fragments(text: str) -> Iterator[str]:
    return (text[at : at + _JSON_FRAGMENT_CHARS] for at in range(0, len(text), _JSON_FRAGMENT_CHARS))
