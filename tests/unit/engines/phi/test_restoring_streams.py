"""Every place at which a provider, or the network, may cut what stands for a value."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from chunk_invariance import assert_chunk_invariant

from tests.devices.streams import ARGUMENTS, REASONING, TEXT, WIRES, WireStream, events_of
from triptych.engines.phi.answers import RestoringReader, RestoringStream
from triptych.engines.phi.restore import Redacted, Restorer

VALUES = {
    "[PERSON_1]": "Ana Lima",
    "[PERSON_12]": "李小龍",
    "[US_SSN_1]": "123-45-6789",
    "[MRN_1]": 'A"7\\7\n\u2028é\U0001d11e',
    "[PERSON_2]": "[PERSON_1]",
    "[URL_1]": "",
}
CORPUS = (
    "[PERSON_1]",
    "I saw [PERSON_1] today.",
    "[PERSON_1][PERSON_12][US_SSN_1]",
    "né [MRN_1] 𝄞[MRN_1]",
    "**[PERSON_1]** ([PERSON_12]), [link](https://x.example/[US_SSN_1]?q=[PERSON_2])",
    "[person_1] and [Person_12], [pErSoN_1]",
    "none of ours: [PERSON_9] PERSON_1 [PERSON_1 [PERSON-1] [ PERSON_1 ] [US_SSN_11]",
    "ends in [PERSON_1",
    "ends in [",
    "[[PERSON_1]] [[[US_SSN_1]",
    "x [URL_1] y",
)


def reading(meter: Any, wire: str, values: dict[str, str] = VALUES, **redacted: Any) -> RestoringStream:
    class Reader:
        def stream_meter(self, parsed: Any, request_bytes: int) -> Any:
            return meter

        def read_answer(self, parsed: Any, body: bytes, request_bytes: int) -> Any:
            raise NotImplementedError

    return RestoringReader(Reader(), Redacted(wire, values, **redacted)).stream_meter(None, 0)


def relayed(wire: WireStream, chunks: Iterable[bytes]) -> bytes:
    stream = reading(wire.meter(), wire.name)
    told = b"".join(map(stream.feed, chunks))
    assert stream.final is not None
    return told + stream.final


def expected(text: str, *, as_json: bool = False) -> str:
    """Written again by hand: one pass, longest names first, any case."""
    said = ""
    while text:
        for placeholder, value in VALUES.items():
            if text[: len(placeholder)].upper() == placeholder:
                said += json.dumps(value, ensure_ascii=False)[1:-1] if as_json else value
                text = text[len(placeholder) :]
                break
        else:
            said, text = said + text[0], text[1:]
    return said


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_an_event_whose_data_are_several_lines_is_an_event_still(wire: WireStream) -> None:
    """The lines of a value that comes back are lines of data too, with or without a name of the event."""
    sent = wire.stream(["I saw ", "[PERS", "ON_12] and [MRN_1]"])
    lines = re.sub(rb'(?<=[{,])"', b'\ndata: "', sent)
    assert lines.count(b"\ndata: ") > sent.count(b"\ndata: ")
    assert wire.text(relayed(wire, [lines])) == expected("I saw [PERSON_12] and [MRN_1]")


def cut(text: str, places: Sequence[int]) -> list[str]:
    return [text[start:end] for start, end in pairwise((0, *places, len(text)))]


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
@pytest.mark.parametrize("what", [TEXT, ARGUMENTS])
def test_every_split_of_every_placeholder_is_restored(wire: WireStream, what: str) -> None:
    for sample in CORPUS:
        text = json.dumps({"said": sample}, ensure_ascii=False) if what == ARGUMENTS else sample
        wanted = expected(text, as_json=what == ARGUMENTS)
        for place in range(len(text) + 1):
            told = relayed(wire, [wire.stream(cut(text, [place]), what, ascii_only=place % 2 == 0)])
            assert wire.text(told) == wanted, (sample, place)
        told = relayed(wire, [wire.stream(list(text), what)])
        assert wire.text(told) == wanted, (sample, "one by one")
        if what == ARGUMENTS:
            assert json.loads(wire.text(told))["said"] == expected(sample)


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_any_number_of_pieces_says_the_same(wire: WireStream) -> None:
    def streamed(pieces: Iterable[str]) -> list[str]:
        return [wire.text(relayed(wire, [wire.stream(list(pieces))]))]

    assert_chunk_invariant(streamed, expected, "[MRN_1][", splits="all")
    assert_chunk_invariant(streamed, expected, "né [PERSON_12] b", splits=3)


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_how_the_network_cuts_the_stream_changes_no_byte(wire: WireStream) -> None:
    stream = wire.stream(["I [PER", "SON_1] né [MRN_1] [P"])

    def restored(chunks: Iterable[bytes]) -> list[bytes]:
        return [relayed(wire, chunks)]

    assert_chunk_invariant(restored, lambda whole: relayed(wire, [whole]), stream)
    assert b"[PERSON_1]" not in relayed(wire, [stream])


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_no_more_is_held_back_than_a_placeholder_may_have(wire: WireStream) -> None:
    longest = max(map(len, VALUES))
    for sample in CORPUS:
        stream = reading(wire.meter(), wire.name)
        for event in wire.stream(list(sample)).split(b"\n\n")[:-1]:
            stream.feed(event + b"\n\n")
            assert stream.held < longest
        # Whatever cannot become a placeholder is not waited for.
    plain = "A list: [x], [1], [PE] and (PERSON_1) \\[ ]["
    stream = reading(wire.meter(), wire.name)
    for event in wire.stream(list(plain)).split(b"\n\n")[:-1]:
        stream.feed(event + b"\n\n")
        assert stream.held <= len("[PE")


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_text_before_what_is_held_goes_on_at_once(wire: WireStream) -> None:
    stream = reading(wire.meter(), wire.name)
    events = [event + b"\n\n" for event in wire.stream(["Hello [PERS", "on_1] there"]).split(b"\n\n")[:-1]]
    at = next(place for place, event in enumerate(events) if b"Hello" in event)
    told = b"".join(map(stream.feed, events[: at + 1]))
    assert b"Hello " in told and b"[PERS" not in told
    assert b"Ana Lima there" in stream.feed(events[at + 1])


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_reasoning_is_left_as_its_vendor_wrote_it(wire: WireStream) -> None:
    stream = wire.stream(["I think [PERSON_1]", " is [US_SSN_1]"], REASONING)
    assert relayed(wire, [stream]) == stream


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_a_stream_without_placeholders_keeps_every_byte(wire: WireStream) -> None:
    stream = wire.stream(["a [list](x) [1] ", "[PERSON_9] [not", " ours] ☃"], ascii_only=True)
    assert relayed(wire, [stream]) == stream


def test_pieces_of_texts_that_are_told_in_turns_are_not_mixed_up() -> None:
    def chunk(index: int, text: str) -> bytes:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
        return b"data: %b\n\n" % json.dumps({"id": "c", "choices": [choice]}).encode()

    wire = WIRES[1]
    pieces = [(0, "[PER"), (1, "x [US_"), (0, "SON_1"), (1, "SSN_1] y"), (0, "]!")]
    told = relayed(wire, [b"".join(chunk(*piece) for piece in pieces) + b"data: [DONE]\n\n"])
    said = {0: "", 1: ""}
    for event in events_of(told):
        choice = event["choices"][0]
        said[choice["index"]] += choice["delta"]["content"]
    assert said == {0: "Ana Lima!", 1: "x 123-45-6789 y"}


def test_the_last_piece_of_a_chat_may_come_with_its_end() -> None:
    def chunk(text: str, finish: str | None) -> bytes:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
        return b"data: %b\n\n" % json.dumps({"id": "c", "choices": [choice]}).encode()

    told = relayed(WIRES[1], [chunk("[PERS", None) + chunk("ON_1] [PER", "length") + b"data: [DONE]\n\n"])
    assert "".join(event["choices"][0]["delta"]["content"] for event in events_of(told)) == "Ana Lima [PER"
    assert [event["choices"][0]["finish_reason"] for event in events_of(told)] == [None, "length"]


def test_a_broken_response_tells_what_was_held() -> None:
    wire = WIRES[2]
    stream = reading(wire.meter(), wire.name)
    events = [event + b"\n\n" for event in wire.stream(["So [PERSON_", "1]"]).split(b"\n\n")[:-1]]
    told = b"".join(map(stream.feed, events[:4]))
    told += stream.failed_frames("upstream stream interrupted", "stream_error")
    assert "".join(event.get("delta", "") for event in events_of(told)) == "So [PERSON_"
    # A client that was cut off goes on behind the last number it saw: none may come twice, none be left out.
    numbers = [event["sequence_number"] for event in events_of(told) if "sequence_number" in event]
    assert numbers == list(range(len(numbers)))


def test_a_model_that_spells_a_placeholder_differently_is_not_guessed_at() -> None:
    restorer = Restorer({"[PERSON_1]": "Ana"})
    for same in (
        "[PERSON_9]",
        "PERSON_1",
        "[PERSON 1]",
        "[PERSON_1",
        "PERSON_1]",
        "[PERSON\\_1]",
        "{PERSON_1}",
    ):
        assert restorer.restored(same) == same
    for ours in ("[PERSON_1]", "[person_1]", "[Person_1]"):
        assert restorer.restored(ours) == "Ana"


def test_a_value_that_looks_like_a_placeholder_is_put_back_once() -> None:
    restorer = Restorer({"[PERSON_1]": "[PERSON_2]", "[PERSON_2]": "Ana"})
    assert restorer.restored("[PERSON_1] [PERSON_2]") == "[PERSON_2] Ana"
