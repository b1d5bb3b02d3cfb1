"""What the guard reads of a request, what it makes of it, and what it refuses to decide."""

import json
import time
from typing import Any

import pytest

from tests.devices.rules import Rules
from triptych.core.failure import Failure, FailureKind
from triptych.core.policy import Policy, guard_mode, strictest
from triptych.engines.phi.answers import restored_answer
from triptych.engines.phi.inspect import Asked, Garbage, Inspected, inspect
from triptych.engines.phi.job import Job
from triptych.engines.phi.placeholder import Placeholders, label
from triptych.engines.phi.restore import Restorer, Shifts
from triptych.engines.phi.streams import StreamRestorer
from triptych.wires.guarded import CHAT, GUARDED, RESPONSES


def chat(content: Any, **fields: Any) -> bytes:
    request = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    return json.dumps(request, ensure_ascii=False).encode()


def messages(content: Any) -> bytes:
    return json.dumps(
        {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
    ).encode()


def screened(body: bytes, wire: str = "openai-chat", **asked: Any) -> Inspected:
    return inspect(Rules(), Asked(wire, body, **asked))


def test_a_value_has_one_placeholder_whatever_it_is_taken_for() -> None:
    known = Placeholders({"[PERSON_3]": "Ana"})
    assert [known.of("Ana", "LOCATION"), known.of("Bob", "PERSON"), known.of("Bob", "PERSON")] == [
        "[PERSON_3]",
        "[PERSON_4]",
        "[PERSON_4]",
    ]
    assert known.of("x", "my own / filter!") == "[MY_OWN_FILTER_1]"
    assert label("???") == "REDACTED"


def test_a_conversation_s_numbers_hold_whatever_stands_in_front() -> None:
    first = screened(chat("Bob and Ana Lima"))
    later = screened(chat("Ana Lima, Jo", user="ana@example.org"), known=first.values)
    assert json.loads(later.body)["messages"][0]["content"] == "[PERSON_2], Jo"
    assert first.values.items() <= later.values.items()


@pytest.mark.parametrize(
    "text",
    ["[PERSON_1] Bob ", "https://x.example/" + "a/%41?b=", "[PERSON_", "{[", '{"a":', "\\u0041\\", "[["],
)
def test_the_time_grows_with_the_text_and_not_faster(text: str) -> None:
    def seconds(length: int) -> float:
        body = chat(text * (length // len(text)))
        best = 1e9
        for _ in range(3):
            before_s = time.process_time()
            screened(body)
            best = min(best, time.process_time() - before_s)
        return best

    # Four times the text; quadratic would be sixteen times the time.
    assert seconds(200_000) < 12 * max(seconds(50_000), 0.002)


@pytest.mark.parametrize("said", ["a\n", "é\n", "a"])
def test_the_time_grows_with_the_findings_in_a_json_text_and_not_faster(said: str) -> None:
    """A tool that gives a table is asked for thousands of people at once."""

    def seconds(rows: int) -> float:
        table = json.dumps([{"who": "Ana Lima", "ssn": "123-45-6789", "said": said}] * rows)
        body = chat(json.dumps({"table": table}, ensure_ascii=False))
        best = 1e9
        for _ in range(2):
            before_s = time.process_time()
            assert screened(body).redactions >= 2 * rows
            best = min(best, time.process_time() - before_s)
        return best

    assert seconds(1200) < 12 * max(seconds(300), 0.002)


def test_the_time_grows_with_the_calls_of_tools_and_not_faster() -> None:
    def seconds(calls: int) -> float:
        use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"line": 12_345, "q": "x" * 500}}
        body = messages([use] * calls)
        best = 1e9
        for _ in range(3):
            before_s = time.process_time()
            screened(body, "anthropic-messages")
            best = min(best, time.process_time() - before_s)
        return best

    assert seconds(800) < 4 * 2.5 * seconds(200)


def test_a_number_of_a_call_has_its_place_among_the_values_of_the_body() -> None:
    """A turn that comes later gives nothing before it another placeholder: the provider's cache still fits."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"mrn": 10_482_913}}
    first = screened(messages([use]), "anthropic-messages").body
    later = screened(messages([use, {"type": "text", "text": "mrn: 99887766"}]), "anthropic-messages").body
    assert b'"[MRN_1]"' in first and later.startswith(first.partition(b"}]")[0])
    assert b"mrn: [MRN_2]" in later


def test_governance_fields_are_not_read_for_they_never_leave() -> None:
    body = chat("x", metadata={"user_id": "Ana Lima", "metadata": "Ana Lima"})
    assert screened(body).counts == {} and screened(body).body is body


def test_a_key_says_what_its_value_is() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"mrn": "A7", "x": "A8"}'}}
    body = json.dumps({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]}).encode()
    arguments = json.loads(screened(body).body)["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert arguments == '{"mrn": "[MRN_1]", "x": "A8"}'


def test_a_number_is_read_and_leaves_as_a_text() -> None:
    inner = json.dumps({"mrn": 7654321, "said": "a\nb"})
    arguments = json.dumps({"mrn": 1234567, "n": [12345], "inner": inner})
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = json.dumps({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]}).encode()
    told = json.loads(screened(body).body)["messages"][0]["tool_calls"][0]["function"]["arguments"]
    read = json.loads(told)
    assert (read["mrn"], read["n"], json.loads(read["inner"])) == (
        "[MRN_2]",
        [12345],
        {"mrn": "[MRN_1]", "said": "a\nb"},
    )
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"mrn": 1234567, "n": 12345.5}}
    request = {"model": "m", "max_tokens": 99999, "messages": [{"role": "assistant", "content": [use]}]}
    inspected = screened(json.dumps(request).encode(), "anthropic-messages")
    told = json.loads(inspected.body)["messages"][0]["content"][0]["input"]
    assert told == {"mrn": "[MRN_1]", "n": 12345.5} and inspected.values == {"[MRN_1]": "1234567"}


def test_a_number_may_have_any_number_of_digits() -> None:
    digits = "9" * 5_000
    body = f'{{"model":"m","max_tokens":{digits},"messages":[{{"role":"user","content":"Bob"}}]}}'.encode()
    assert screened(body, "anthropic-messages").body == body.replace(b"Bob", b"[PERSON_1]")


def test_a_long_query_counts_like_a_long_body() -> None:
    assert Job(1, "o", Asked("openai-chat", b"{}", b"a=1&" * (16 << 10))).large
    assert not Job(1, "o", Asked("openai-chat", b"{}", b"beta=true")).large


def test_arguments_that_a_model_did_not_finish_are_read_as_text() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"who": "Ana Lima'}}
    body = json.dumps({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]}).encode()
    assert b"[PERSON_1]" in screened(body).body


def test_an_address_is_read_part_by_part() -> None:
    url = "https://ana@example.org/p/Ana%20Lima?mrn=B7&page=2#123-45-6789"
    part = {"type": "text", "text": "x"}
    source = {"type": "search_result", "source": url, "title": "t", "content": [part]}
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [source]}]})
    inspected = screened(body.encode(), "anthropic-messages")
    told = json.loads(inspected.body)["messages"][0]["content"][0]["source"]
    assert told == "https://[EMAIL_ADDRESS_1]/p/[PERSON_1]?mrn=[MRN_1]&page=2#[US_SSN_1]"
    restorer = Restorer(inspected.values)
    assert restorer.restored(told) == url


@pytest.mark.parametrize("source", [
    "Note on Ana Lima", "https://x.example/notes of Ana Lima", "Ana Lima/notes", "mailto:ana@example.org",
])  # fmt: skip
def test_what_is_no_address_is_read_as_a_text_wherever_it_stands(source: str) -> None:
    """The parts of an address are read one by one; a name, and a date with slashes, would be no more."""
    result = {"type": "search_result", "source": source, "title": "t", "content": []}
    told = screened(messages([result]), "anthropic-messages")
    assert sum(told.counts.values()) == 1 and not told.unreadable
    (block,) = json.loads(told.body)["messages"][0]["content"]
    (placeholder,) = told.values
    assert block["source"] == source.replace(told.values[placeholder], placeholder)


@pytest.mark.parametrize(("type_", "sealed"), [("redacted_thinking", True), ("newer_sound", False)])
def test_data_that_cannot_be_read_are_a_vendor_s_own_only_where_vendors_seal_them(
    type_: str, sealed: bool
) -> None:
    told = screened(messages([{"type": type_, "data": "iVBORw0KGgoAAAANSUhEUg=="}]), "anthropic-messages")
    assert told.unreadable == ([] if sealed else ["messages[0].content[0].data"])


@pytest.mark.parametrize("type_", [["tool_use"], {"a": 1}, None, 7, True])
def test_a_part_whose_type_is_no_word_is_read_all_the_same(type_: Any) -> None:
    body = messages([{"type": type_, "input": {"q": "Bob"}, "text": "Ana Lima", "data": "x"}])
    told = screened(body, "anthropic-messages")
    assert b"Bob" not in told.body and b"Lima" not in told.body


@pytest.mark.parametrize("name", ["signature", "encrypted_content"])
def test_a_number_is_no_signature(name: str) -> None:
    told = screened(
        messages([{"type": "thinking", "thinking": "x", name: "123-45-6789"}]), "anthropic-messages"
    )
    assert told.fixed == f"messages[0].content[0].{name}"


def test_a_path_names_nothing_that_a_caller_made_up() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"Bob": {"x": ["Ana Lima"]}}}
    request = {"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": [use]}]}
    inspected = screened(json.dumps(request).encode(), "anthropic-messages")
    assert inspected.first == "messages[0].content[0].input"
    inspected = screened(chat("x", extra={"Bob": {"Ana Lima": [{"type": "image_url"}]}}))
    assert inspected.unreadable == ["extra"] and inspected.first == "extra"
    for value in (
        "Bob",
        {"Bob": [{"type": "image_url"}]},
        {"type": "image_url"},
        {"mrn": 10482913},
        [1, "Bob"],
    ):
        inspected = screened(chat("x", **{"Ana Lima": value}))
        assert inspected.first == "body" and set(inspected.unreadable) <= {"body"}


def test_the_name_of_a_tool_is_told_unless_it_is_what_was_found() -> None:
    def tool(name: str, description: str) -> Inspected:
        function = {"name": name, "description": description, "parameters": {"type": "object"}}
        return screened(chat("x", tools=[{"type": "function", "function": function}]))

    found = tool("look", "ask Bob").tool
    assert found is not None
    assert (found.name, found.path, found.entity_types) == (
        "look",
        "tools[0].function.description",
        ["PERSON"],
    )
    found = tool("Bob", "d").tool
    assert found is not None and found.name is None


@pytest.mark.parametrize("wire", sorted(GUARDED))
@pytest.mark.parametrize("twice", ['{"a":1,"a":2}', '{"x":[{"a":1,"\\u0061":2}]}'])
def test_a_key_that_occurs_twice_is_refused(wire: str, twice: str) -> None:
    with pytest.raises(Failure) as caught:
        screened(f'{{"model":"m","messages":[],"input":"","y":{twice}}}'.encode(), wire)
    assert caught.value.kind is FailureKind.INVALID_BODY


@pytest.mark.parametrize("said", [None, [], [[], []], ["x"], [[("PERSON", 0, 1)]], [None]])
def test_what_is_no_finding_is_not_taken_for_none(said: Any) -> None:
    class Liar:
        def scan(self, texts: Any, filters: Any = None) -> Any:
            return said

    with pytest.raises(Garbage):
        inspect(Liar(), Asked("openai-chat", b'{"messages":[{"role":"user","content":"x"}]}'))


@pytest.mark.parametrize(
    ("policy", "plan", "mode"),
    [
        (Policy(), "evaluation", None),
        (Policy(phi_mode="redact"), "growth", "redact"),
        (Policy(phi_mode="allow"), "growth", "allow"),
        (Policy(phi_mode="allow"), "evaluation", "block"),
        (Policy(compliance="hipaa"), "growth", "redact"),
        (Policy(compliance="hipaa", baa="active", phi_mode="allow"), "growth", "allow"),
        (Policy(compliance="hipaa", baa="expired", phi_mode="allow"), "growth", "block"),
        (Policy(compliance="hipaa"), "evaluation", "block"),
    ],
)
def test_the_mode_follows_from_policy_and_plan(policy: Policy, plan: str, mode: str | None) -> None:
    assert guard_mode(policy, plan) == mode


def test_the_strictest_mode_wins_and_an_unknown_one_is_the_strictest() -> None:
    assert strictest([None, "allow", "redact"]) == "redact"
    assert strictest(["allow", "whatever"]) == "block"
    assert strictest([None, None]) is None


# -- citations in the answer ------------------------------------------------------------------

VALUES = {"[PERSON_1]": "Ana Lima 李", "[PERSON_2]": "B"}
TEXT = "So says [PERSON_1] (see a), and [PERSON_2] too (see b)."


def told(text: str) -> str:
    return Restorer(VALUES).restored(text)


def cited(start: int, end: int) -> tuple[str, str]:
    return TEXT[start:end], told(TEXT[start:end])


SPANS = [
    (TEXT.index(part), TEXT.index(part) + len(part)) for part in ("see a", "see b", "[PERSON_1]", "So says")
]


def test_offsets_of_citations_in_a_whole_chat_answer_are_counted_anew() -> None:
    annotations = [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": a,
                "end_index": b,
                "url": "https://x.example",
                "title": "[PERSON_2]",
            },
        }
        for a, b in SPANS
    ]
    message = {"role": "assistant", "content": TEXT, "annotations": annotations}
    body = json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
    answer = json.loads(restored_answer(body, CHAT, Restorer(VALUES), {}))["choices"][0]["message"]
    for (start, end), annotation in zip(SPANS, answer["annotations"], strict=True):
        place = annotation["url_citation"]
        assert answer["content"][place["start_index"] : place["end_index"]] == told(TEXT[start:end])
        assert place["title"] == "B"


def test_offsets_of_citations_in_a_streamed_response_are_counted_anew() -> None:
    restorer = StreamRestorer(RESPONSES, Restorer(VALUES), {})
    place = {"item_id": "m", "output_index": 0, "content_index": 0}

    def event(type_: str, **fields: Any) -> dict[str, Any]:
        data = json.dumps({"type": type_, **place, **fields}).encode()
        out = restorer.feed(b"event: %b\ndata: %b\n\n" % (type_.encode(), data))
        found: dict[str, Any] = json.loads(out.split(b"data: ")[1])
        return found

    said = "".join(
        event("response.output_text.delta", delta=piece)["delta"] for piece in (TEXT[:12], TEXT[12:])
    )
    assert said == told(TEXT)
    annotations = [{"type": "url_citation", "start_index": a, "end_index": b, "url": "u"} for a, b in SPANS]
    for (start, end), annotation in zip(SPANS, annotations, strict=True):
        one = event("response.output_text.annotation.added", annotation_index=0, annotation=annotation)
        moved = one["annotation"]
        assert said[moved["start_index"] : moved["end_index"]] == told(TEXT[start:end])
    part = {"type": "output_text", "annotations": annotations, "text": TEXT}
    whole = event("response.content_part.done", part=part)["part"]
    for (start, end), moved in zip(SPANS, whole["annotations"], strict=True):
        assert whole["text"][moved["start_index"] : moved["end_index"]] == told(TEXT[start:end])


@pytest.mark.parametrize("index", [[1], {"a": 1}, None, 1.5, "x"])
def test_a_citation_of_no_text_goes_as_it_came(index: Any) -> None:
    place = {"output_index": 0, "content_index": index}
    citation = {"type": "url_citation", "start_index": 2, "end_index": 9, "url": "u"}
    restorer = StreamRestorer(RESPONSES, Restorer(VALUES), {0: Shifts([(0, 10, 1)])})
    data = {"type": "response.output_text.annotation.added", **place, "annotation": citation}
    event = b"data: %b\n\n" % json.dumps(data).encode()
    assert restorer.feed(event) == event
    choice = {"index": index, "delta": {"annotations": [{"type": "url_citation", "url_citation": citation}]}}
    chunk = b"data: %b\n\n" % json.dumps({"choices": [choice], "others": [choice]}).encode()
    assert StreamRestorer(CHAT, Restorer(VALUES), {0: Shifts([(0, 10, 1)])}).feed(chunk) == chunk


def test_a_place_inside_what_was_replaced_is_the_edge_of_it() -> None:
    shifts = Shifts([(4, 10, 3), (20, 5, 50)])
    assert [shifts.start(place) for place in (0, 4, 9, 14, 21, 25)] == [0, 4, 4, 7, 13, 63]
    assert [shifts.end(place) for place in (4, 5, 14, 20, 21, 30)] == [4, 7, 7, 13, 63, 68]
