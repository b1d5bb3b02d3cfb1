"""What a guarded org says reaches no provider as it was said, and comes back as it was said."""

import base64
import json
import re
import urllib.request
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.acceptance.caller import settled_row
from tests.devices.guarded import PATHS, Guarded, guarded, key_of, request, said
from tests.devices.rules import NAMES, Rules
from tests.devices.speaker import ask
from triptych.engines.phi.answers import restored_answer
from triptych.engines.phi.inspect import Asked, inspect
from triptych.engines.phi.restore import Restorer, Shifts
from triptych.wires.guarded import MESSAGES

WIRES = tuple(PATHS)
SSN = "123-45-6789"
ALL = f"{', '.join(NAMES)} have {SSN} and ana@example.org"
SECRETS = (*NAMES, SSN, "ana@example.org")


@pytest.fixture(scope="module")
def scene() -> Iterator[Guarded]:
    with guarded() as running:
        yield running


@pytest.fixture(autouse=True)
def _forget(scene: Guarded) -> None:
    scene.upstream.forget()


def sent(scene: Guarded) -> str:
    """All that the provider was told, with the escapes of JSON undone as often as one may."""
    text = scene.upstream.received.decode()
    for _ in range(3):
        text += re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text).replace("\\", "")
    return text


@pytest.mark.parametrize(("wire", "to", "stream"), [*product(WIRES, WIRES, (False, True))])
def test_values_stay_here_and_come_back(scene: Guarded, wire: str, to: str, stream: bool) -> None:
    """On the same wire and translated, plain and streamed, in texts and in arguments of tools."""
    for text in (ALL, f"#tool {ALL}"):
        answer = scene.ask(wire, text, model=to, stream=stream)
        assert answer.status == 200, answer.body
        told = said(wire, answer, stream=stream)
        assert (json.loads(told)["q"] if "#tool" in text else told) == text
    assert not any(secret in sent(scene) for secret in SECRETS)
    assert "[PERSON_5] have [US_SSN_1] and [EMAIL_ADDRESS_1]" in sent(scene)


FORMATS: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
    ],
    "chat": [
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}},
            }
        },
    ],
    "responses": [{"text_format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("wire", "asked"), [(wire, asked) for wire in WIRES for asked in FORMATS[wire]])
def test_an_answer_asked_for_as_json_is_json_whatever_its_values_hold(
    scene: Guarded, wire: str, asked: dict[str, Any], stream: bool
) -> None:
    """A name with quotes and a backslash, in a text that is a JSON text: there it is spelled as one."""
    text = json.dumps({"q": ALL, "of": NAMES}, ensure_ascii=False)
    fields = dict(asked)
    if "text_format" in asked:
        fields = {"text": {"format": asked["text_format"]}}
    body = {**request(wire, text), "model": wire, "stream": stream, **fields}
    answer = ask(
        scene.gateway.port, json.dumps(body).encode(), path=PATHS[wire], key=key_of("redact"), timeout_s=20
    )
    assert json.loads(said(wire, answer, stream=stream)) == {"q": ALL, "of": list(NAMES)}
    assert not any(secret in sent(scene) for secret in SECRETS)


@pytest.mark.parametrize("wire", WIRES)
def test_an_open_org_pays_nothing_and_hides_nothing(scene: Guarded, wire: str) -> None:
    assert said(wire, scene.ask(wire, ALL, org="open")) == ALL
    assert SSN in sent(scene)
    assert scene.gateway.rows()[-1]["phi"] is None


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("org", "user", "suffix"), [
    ("block", "ana", ""), ("plan", "ana", ""), ("redact", "bea", ""), ("allow", "bea", ""),
    ("redact", "ana", "-blocked"), ("open", "ana", "-blocked"),
])  # fmt: skip
def test_the_strictest_mode_holds(scene: Guarded, wire: str, org: str, user: str, suffix: str) -> None:
    answer = scene.ask(wire, ALL, org=org, user=user, model=wire + suffix)
    assert answer.status == 400
    assert not any(secret.encode() in answer.body for secret in SECRETS)
    assert b"US_SSN" in answer.body
    if wire != "messages":
        error = answer.json["error"]
        assert (error["code"], error["param"]) == (
            "dlp_blocked",
            "messages[0].content" if wire == "chat" else "input[0].content",
        )
    assert not scene.upstream.received
    row = settled_row(scene.gateway, answer.headers["request-id"])
    assert (row["failure_kind"], row["ending"]) == ("phi_blocked", "refused")
    assert json.loads(row["phi"]) == {
        "mode": "block",
        "counts": {"EMAIL_ADDRESS": 1, "PERSON": 5, "US_SSN": 1},
        "redactions": 0,
    }
    # Without a finding it goes.
    assert scene.ask(wire, "hello", org=org, user=user, model=wire + suffix).status == 200


@pytest.mark.parametrize("wire", WIRES)
def test_allow_counts_and_sends_but_never_the_org_s_own_terms(scene: Guarded, wire: str) -> None:
    answer = scene.ask(wire, f"{ALL} on Project Orion", org="allow", stream=True)
    assert said(wire, answer, stream=True) == f"{ALL} on Project Orion"
    assert SSN in sent(scene) and "Orion" not in sent(scene) and "[CUSTOM_1]" in sent(scene)
    assert (
        json.loads(settled_row(scene.gateway, answer.headers["request-id"])["phi"])["counts"]["US_SSN"] == 1
    )


@pytest.mark.parametrize("org", ["hipaa", "filters"])
def test_hipaa_and_filters_ask_for_redaction(scene: Guarded, org: str) -> None:
    assert said("chat", scene.ask("chat", f"{ALL} on Project Orion", org=org)) == f"{ALL} on Project Orion"
    assert not any(secret in sent(scene) for secret in SECRETS)
    assert ("Orion" in sent(scene)) is (org == "hipaa")


@pytest.mark.parametrize(("wire", "mode"), [*product(WIRES, ("redact", "block", "allow", "files"))])
def test_a_definition_of_a_tool_is_never_sent_with_a_person_in_it(
    scene: Guarded, wire: str, mode: str
) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "enum": ["a", "Ana Lima"]}}}
    tool: dict[str, Any] = {"name": "look", "description": "d", "input_schema": schema}
    if wire == "chat":
        tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
    elif wire == "responses":
        tool = {"type": "function", "name": "look", "parameters": schema}
    answer = scene.ask(wire, "hello", org=mode, tools=[tool])
    assert answer.status == 400 and b"Ana" not in answer.body and b"tools[0]" in answer.body
    assert not scene.upstream.received
    assert settled_row(scene.gateway, answer.headers["request-id"])["failure_kind"] == "phi_in_tool_schema"


UNREADABLE: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        },
        {"type": "document", "source": {"type": "file", "file_id": "file_011CNha8iCJcU1wXNR6q4V8w"}},
        {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": "/////w=="}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {}}]},
        {"type": "container_upload", "file_id": "file_1"},
    ],
    "chat": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    ],
    "responses": [
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
    ],
}


@pytest.mark.parametrize(("wire", "part"), [(wire, part) for wire in WIRES for part in UNREADABLE[wire]])
def test_what_cannot_be_read_stays_here_unless_the_org_allows_it(
    scene: Guarded, wire: str, part: dict[str, Any]
) -> None:
    content = [{"type": "input_text" if wire == "responses" else "text", "text": "see"}, part]
    answer = scene.ask(wire, content)
    assert answer.status == 400 and not scene.upstream.received
    assert b"uninspectable_content" in answer.body
    assert settled_row(scene.gateway, answer.headers["request-id"])["failure_kind"] == "uninspectable_content"
    if "/////w==" not in str(part):
        assert scene.ask(wire, content, org="files").status == 200


@pytest.mark.parametrize("wire", WIRES)
def test_a_text_in_base64_is_read_and_written_again(scene: Guarded, wire: str) -> None:
    text = base64.b64encode(f"née {ALL}".encode()).decode()
    part: dict[str, Any] = {
        "messages": {
            "type": "document",
            "source": {"type": "base64", "media_type": "text/plain", "data": text},
        },
        "chat": {
            "type": "file",
            "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{text}"},
        },
        "responses": {
            "type": "input_file",
            "filename": "a.txt",
            "file_data": f"data:text/plain;base64,{text}",
        },
    }[wire]
    kind = "input_text" if wire == "responses" else "text"
    assert scene.ask(wire, [part, {"type": kind, "text": "see"}]).status == 200
    (encoded,) = re.findall(r"(?:base64,|\"data\": ?\")([A-Za-z0-9+/=]+)", scene.upstream.bodies[-1].decode())
    read = base64.b64decode(encoded).decode()
    assert read.startswith("née [PERSON_1], [PERSON_2]") and not any(secret in read for secret in SECRETS)


def test_citations_of_a_redacted_document_point_into_the_caller_s_own(scene: Guarded) -> None:
    """The provider counts in the text it got; here it is asked to cite by a hand-made answer."""
    document = f"Patient Ana Lima ({SSN}) was seen by Bob on Monday."
    source = {"type": "text", "media_type": "text/plain", "data": document}
    content = [{"type": "document", "source": source, "citations": {"enabled": True}}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    inspected = inspect(Rules(), Asked("anthropic-messages", body))
    redacted = json.loads(inspected.body)["messages"][0]["content"][0]["source"]["data"]
    for cited in ("[PERSON_1]", "was seen by [PERSON_2]", "on Monday.", "Patient"):
        start = redacted.index(cited)
        citation = {
            "type": "char_location",
            "cited_text": cited,
            "document_index": 0,
            "start_char_index": start,
            "end_char_index": start + len(cited),
        }
        answer = json.dumps({"content": [{"type": "text", "text": "x", "citations": [citation]}]}).encode()
        documents = {number: Shifts(spans) for number, spans in inspected.documents.items()}
        told = json.loads(restored_answer(answer, MESSAGES, Restorer(inspected.values), documents))
        (told,) = told["content"][0]["citations"]
        assert document[told["start_char_index"] : told["end_char_index"]] == told["cited_text"]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [False, True])
def test_placeholders_that_a_caller_writes_are_his_own(scene: Guarded, wire: str, stream: bool) -> None:
    text = f"I am [PERSON_2], not [person_1] nor Bob; {SSN} is not [US_SSN_1] nor [PERSON_9] [X_1]"
    answer = scene.ask(wire, text, stream=stream)
    assert said(wire, answer, stream=stream) == text
    assert "Bob" not in sent(scene) and SSN not in sent(scene)


def test_two_orgs_never_see_each_other_s_values(scene: Guarded) -> None:
    assert said("chat", scene.ask("chat", "Bob", org="redact")) == "Bob"
    assert said("chat", scene.ask("chat", "[PERSON_1]", org="hipaa")) == "[PERSON_1]"


def test_signed_reasoning_goes_as_it_came_or_not_at_all(scene: Guarded) -> None:
    def turn(thinking: str, signature: str = "EqQBCgIYAhIM1gbcDa9GJwZA2b3h") -> Any:
        block = {"type": "thinking", "thinking": thinking, "signature": signature}
        return [
            {"role": "user", "content": "Ana Lima"},
            {"role": "assistant", "content": [block, {"type": "text", "text": "ok"}]},
            {"role": "user", "content": "go on"},
        ]

    assert scene.ask("messages", "", messages=turn("think of [PERSON_1]")).status == 200
    assert scene.upstream.asked["messages"][1]["content"][0]["thinking"] == "think of [PERSON_1]"
    scene.upstream.forget()
    hidden = base64.b64encode(b"her number is " + SSN.encode()).decode()
    for turns in (turn("think of Ana Lima"), turn("x", f"plainly {SSN}"), turn("x", hidden)):
        answer = scene.ask("messages", "", messages=turns)
        assert answer.status == 400 and b"messages[1].content[0]" in answer.body
    assert not scene.upstream.received


@pytest.mark.parametrize("wire", WIRES)
def test_probabilities_of_tokens_are_refused_where_tokens_are_replaced(scene: Guarded, wire: str) -> None:
    asked: dict[str, Any] = {"chat": {"logprobs": True}, "responses": {"top_logprobs": 2}}.get(wire, {})
    if not asked:
        return
    assert scene.ask(wire, "hello", **asked).status == 200
    answer = scene.ask(wire, ALL, **asked)
    assert answer.status == 400 and answer.json["error"]["param"] == next(iter(asked))


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_no_conversation_is_kept_by_a_vendor_whose_placeholders_would_be_of_several_requests(
    scene: Guarded, thread: dict[str, str]
) -> None:
    """Said in the vendor's words: its SDK sends everything again without a thread."""
    answer = scene.ask("messages", "hello", thread=thread)
    assert answer.status == 400
    assert answer.json["error"]["details"] == {
        "error_code": "thread_unsupported_request",
        "unsupported": ["redaction"],
    }
    assert scene.ask("messages", "hello", thread=None).status == 200
    assert scene.ask("messages", "hello", org="open", thread=thread).status == 200


def test_a_key_that_occurs_twice_is_refused_at_any_depth(scene: Guarded) -> None:
    body = b'{"model":"chat","messages":[{"role":"user","content":"x"}],"a":[{"b":{"c":1,"\\u0063":2}}]}'
    for org, status in (("redact", 400), ("open", 200)):
        assert ask(scene.gateway.port, body, path=PATHS["chat"], key=key_of(org)).status == status


def test_the_query_string_is_read_too(scene: Guarded) -> None:
    assert scene.ask("messages", "x", path="/v1/messages?beta=true&v=2").status == 200
    answer = scene.ask("messages", "x", path="/v1/messages?beta=true&name=Ana%20Lima")
    assert answer.status == 400 and b"Lima" not in answer.body
    # Where it stays here it is not: what never leaves is no leak.
    scene.upstream.forget()
    chat = clinical(scene, "/v1/ai/chat?name=Ana%20Lima", "hipaa", message="x", stream=False)
    assert chat.status == 200 and "Lima" not in sent(scene)


def test_a_header_that_nobody_reads_is_forwarded_as_what_it_should_be_or_not_at_all(scene: Guarded) -> None:
    said = {
        "traceparent": ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-ana-lima-01"),
        "tracestate": (None, "user=ana.lima,ssn=123-45-6789"),
        "anthropic-version": ("2023-06-01", "Ana Lima"),
        "anthropic-beta": ("context-1m-2025-08-07, files-api-2025-04-14", "123-45-6789"),
        "openai-beta": ("assistants=v2", "Ana Lima"),
        "x-claude-code-session-id": ("9b2c7d1e-0a4f-4b6e-8f13-2d5c7e9a1b3f", "Ana Lima 123-45-6789"),
    }
    for org in ("redact", "open"):
        for name, (good, bad) in said.items():
            for value in filter(None, (good, bad)):
                scene.upstream.forget()
                body = json.dumps({**request("messages", "hi"), "model": "messages"}).encode()
                field = f"{name}: {value}".encode()
                answer = ask(scene.gateway.port, body, key=key_of(org), fields=(field,), timeout_s=20)
                assert answer.status == 200
                forwarded = field in bytes(scene.upstream.received)
                assert forwarded is (org == "open" or value == good), (org, field)


def test_tokens_are_counted_of_the_redacted_text(scene: Guarded) -> None:
    scene.ask("messages", ALL, path="/v1/messages/count_tokens")
    assert scene.upstream.bodies and not any(secret in sent(scene) for secret in SECRETS)


def test_a_stored_conversation_keeps_its_numbers_and_its_values(scene: Guarded) -> None:
    first = scene.ask("responses", "Bob met Ana Lima", store=True).json
    assert first["output"][0]["content"][0]["text"] == "Bob met Ana Lima"
    second = scene.ask("responses", "Ana Lima left", previous_response_id=first["id"], store=True)
    asked = scene.upstream.asked["input"]
    assert asked[0]["content"] == "[PERSON_1] met [PERSON_2]" and asked[-1]["content"] == "[PERSON_2] left"
    assert said("responses", second) == "Ana Lima left"
    # New instructions stand before everything else: the numbers of the conversation still hold.
    for name in ("previous_response_id", "conversation"):
        value = first["id"] if name == "previous_response_id" else {"id": second.json["conversation"]["id"]}
        fields = {"instructions": f"Mind {SSN}, Ana Lima", name: value}
        assert said("responses", scene.ask("responses", "and Bob", **fields)) == "and Bob"
        assert scene.upstream.asked["instructions"] == "Mind [US_SSN_1], [PERSON_2]"
        assert scene.upstream.asked["input"][-1]["content"] == "and [PERSON_1]"
    assert not any(secret in sent(scene) for secret in SECRETS)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stored_response_is_what_its_caller_saw(scene: Guarded, stream: bool) -> None:
    assert said("responses", scene.ask("responses", ALL, store=True, stream=stream), stream=stream) == ALL
    key = key_of("redact")
    read = ask(scene.gateway.port, path="/v1/responses/resp_1", method="GET", key=key)
    assert said("responses", read) == ALL and read.json["store"] is True
    if stream:
        again = ask(scene.gateway.port, path="/v1/responses/resp_1?stream=true", method="GET", key=key)
        assert said("responses", again, stream=True) == ALL


def test_a_model_that_answers_instead_of_another_is_asked_with_the_same_text(scene: Guarded) -> None:
    for stream in (False, True):
        answer = scene.ask("chat", ALL, model="dead-chat", stream=stream)
        assert answer.status == 200 and said("chat", answer, stream=stream) == ALL
    assert not any(secret in sent(scene) for secret in SECRETS)
    # It is held to what the strictest of them is held to.
    assert scene.ask("chat", ALL, model="dead-blocked").status == 400


def clinical(scene: Guarded, path: str, org: str, **fields: Any) -> Any:
    body = json.dumps({"model": "messages", **fields}, ensure_ascii=False).encode()
    return ask(scene.gateway.port, body, path=f"/clinical{path}", key=key_of(org), timeout_s=20)


def test_the_clinical_chat_redacts_and_tells_what_it_did(scene: Guarded) -> None:
    plain = clinical(scene, "/v1/ai/chat", "hipaa", message=ALL, stream=False).json
    (block,) = plain["data"]["message"]["content"]
    assert block["text"] == ALL
    types = ["EMAIL_ADDRESS", "PERSON", "US_SSN"]
    assert plain["meta"]["phi"] == {"mode": "redact", "entity_types": types, "redaction_count": 7}
    asked = {"message": "Ana Lima again", "conversation_id": plain["data"]["conversation_id"]}
    streamed = clinical(scene, "/v1/ai/chat", "hipaa", **asked).body.decode()
    deltas = re.findall(r'"delta":\{"text":"([^"]*)"\}', streamed)
    assert "".join(deltas) == "Ana Lima again"
    assert scene.upstream.asked["messages"][-1]["content"] == "[PERSON_1] again"
    assert not any(secret in sent(scene) for secret in SECRETS)


@pytest.mark.parametrize("path", ["/v1/ai/chat", "/v1/messages"])
def test_the_clinical_surface_blocks_with_its_own_words(scene: Guarded, path: str) -> None:
    chat = {"message": ALL, "stream": False}
    turn = {"messages": [{"role": "user", "content": ALL}], "max_tokens": 9}
    answer = clinical(scene, path, "block", **(chat if "chat" in path else turn))
    assert answer.status == 403
    error = answer.json["error"]
    assert error["code"] == "PHI_BLOCKED"
    assert error["param"] == ("message" if "chat" in path else "messages[0].content")
    assert error["details"] == {"entity_types": ["EMAIL_ADDRESS", "PERSON", "US_SSN"]}
    assert not any(secret.encode() in answer.body for secret in SECRETS)
    assert not scene.upstream.received


def test_findings_are_counted_and_never_quoted(scene: Guarded) -> None:
    asked = scene.ask("chat", ALL, stream=True)
    with urllib.request.urlopen(scene.gateway.url + "/metrics") as answer:
        metrics = answer.read().decode()
    assert re.search(r'triptych_phi_findings_total\{mode="redact",type="US_SSN"\} [1-9]', metrics)
    row = settled_row(scene.gateway, asked.headers["request-id"])
    assert json.loads(row["phi"]) == {
        "mode": "redact",
        "counts": {"EMAIL_ADDRESS": 1, "PERSON": 5, "US_SSN": 1},
        "redactions": 7,
    }
    files = [path for path in scene.gateway.folder.iterdir() if path.is_file()]
    kept = metrics.encode() + b"".join(path.read_bytes() for path in files)
    spelled = (
        form for secret in SECRETS for form in (secret, json.dumps(secret)[1:-1], secret.encode().hex())
    )
    assert not [form for form in spelled if len(form) > 3 and form.encode() in kept]
