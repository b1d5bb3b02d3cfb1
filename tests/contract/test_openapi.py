"""``/openapi.json`` is true: everything served is in it, everything in it is served, and what is
answered fits what it says."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.inference.world import TwoSides, fault_model, world
from tests.contract.raw_client import LIVE, TEST, Answer
from tests.contract.schema import faults
from tests.devices.gateway import message
from triptych.surfaces.clinical.described_control import CLINICAL_WHOLE
from triptych.surfaces.emotion.described import EMOTION
from triptych.surfaces.openapi import INFERENCE, OPERATIONS, describe

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@pytest.fixture(scope="module")
def sides() -> Iterator[TwoSides]:
    with world() as both:
        yield both


@pytest.fixture(scope="module")
def document(sides: TwoSides) -> dict[str, Any]:
    answer = sides.ask(method="GET", target="/openapi.json")
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    found: dict[str, Any] = json.loads(answer.body)
    return found


def described(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, method) for path, item in document["paths"].items() for method in item}


def test_everything_described_is_served_and_nothing_else(sides: TwoSides, document: dict[str, Any]) -> None:
    operations = described(document)
    clinical = {("/clinical" + path, verb) for path, verb in CLINICAL_WHOLE.operations}
    # Beside inference at the root, its own greeting has no place.
    emotion = set(EMOTION.operations) - {("/", "get")}
    assert operations == set(OPERATIONS) | clinical | emotion
    for path in document["paths"]:
        # A method of no path at all makes the gateway name the ones it serves.
        answer = sides.ask(method="PATCH", target=path)
        assert answer.status == 405, path
        allowed = {name.lower() for name in (answer.header("allow") or "").split(", ")}
        said = {method for where, method in operations if where == path}
        assert allowed == said | ({"head"} if "get" in said else set()), path
    for path, method in operations:
        assert sides.ask(method=method.upper(), target=path).status not in (404, 405), path


def test_a_route_without_a_description_is_an_error_and_not_left_out() -> None:
    with pytest.raises(KeyError):
        describe((("", {b"/v1/nobody-described-this": {b"GET": None}}, INFERENCE),))  # type: ignore[dict-item]


def test_a_prefix_stands_before_its_paths() -> None:
    found = json.loads(describe((("/inner", {b"/v1/messages": {b"POST": None}}, INFERENCE),)))  # type: ignore[dict-item]
    assert list(found["paths"]) == ["/inner/v1/messages"]


def test_the_document_is_whole(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(names) == len(set(names))
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
    for item in document["paths"].values():
        assert set(item) <= set(METHODS)
        for operation in item.values():
            for requirement in operation["security"]:
                assert set(requirement) <= set(document["components"]["securitySchemes"])


REQUESTS: dict[str, tuple[tuple[str, ...], bytes]] = {
    "plain": ((LIVE,), message("mapped-model")),
    "blocks": (
        (LIVE,),
        message("mapped-model", messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}]),
    ),
    "streamed": ((LIVE,), message("mapped-model", stream=True)),
    "sandbox": ((TEST,), message("sandbox-tool")),
    "400": ((LIVE,), b"{}"),
    "401": ((), b"{}"),
    "402": ((TEST,), message("sandbox-error-credits_exhausted")),
    "403": ((LIVE,), message("premium-model")),
    "415": ((LIVE, "content-encoding: br"), b"{}"),
    "429": ((TEST,), message("sandbox-error-rate_limited")),
    "431": ((LIVE, "x-long: " + "x" * 70_000), b"{}"),
    "500": ((TEST,), message("sandbox-error-internal_error")),
    "502": ((LIVE,), message(fault_model("empty"))),
    "503": ((LIVE,), message("unbuilt-model")),
    "504": ((LIVE,), message(fault_model("hang_before_head"))),
    "413": ((LIVE, "content-length: 52428801"), b""),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_answered_fits_what_is_described(
    sides: TwoSides, document: dict[str, Any], name: str
) -> None:
    fields, body = REQUESTS[name]
    for target in ("/v1/messages", "/v1/messages/count_tokens"):
        if target.endswith("count_tokens") and name == "streamed":
            continue
        operation = document["paths"][target]["post"]
        answer = sides.ask(*fields, body=body or None, target=target) if body else oversized(sides, target)
        assert str(answer.status) in operation["responses"], answer.status
        if name.isdigit():
            assert answer.status == int(name)
        check(answer, operation["responses"][str(answer.status)], document)
        fits = not faults(
            json.loads(body or b"{}"),
            operation["requestBody"]["content"]["application/json"]["schema"],
            document,
        )
        assert fits or answer.status in (400, 401, 413, 415, 431)


def oversized(sides: TwoSides, target: str) -> Answer:
    from tests.contract.raw_client import RawClient, request

    with RawClient(sides.port) as client:
        client.send(request("POST", target, LIVE, "content-length: 52428801"))
        return client.answer()


def check(answer: Answer, response: dict[str, Any], document: dict[str, Any]) -> None:
    content_type = (answer.header("content-type") or "").partition(";")[0]
    schema = response["content"][content_type].get("schema", {})
    value = json.loads(answer.body) if content_type == "application/json" else answer.body.decode()
    assert faults(value, schema, document) == []


READS = {
    "/v1/models": (LIVE, 200),
    "/v1/models?limit=x": (LIVE + "\r\nanthropic-version: 2023-06-01", 400),
    "/v1/models/mapped-model": (LIVE, 200),
    "/v1/models/nobody": (LIVE, 400),
    "/v1/models/premium-model": (LIVE, 403),
    "/v1/responses/resp_none": (LIVE, 404),
    "/v1/conversations/conv_none/items": (LIVE, 404),
    "/v1/conversations/conv_none/items/msg_none": ("x-api-key: nobody", 401),
}


@pytest.mark.parametrize(("target", "asked"), READS.items())
def test_what_is_looked_up_fits_what_is_described(
    sides: TwoSides, document: dict[str, Any], target: str, asked: tuple[str, int]
) -> None:
    fields, status = asked
    answer = sides.ask(*fields.split("\r\n"), method="GET", target=target)
    assert answer.status == status
    path = target.partition("?")[0].replace("conv_none", "{conversation_id}").replace("msg_none", "{item_id}")
    path = path.replace("resp_none", "{response_id}")
    if path.startswith("/v1/models/"):
        path = "/v1/models/{model_id}"
    check(answer, document["paths"][path]["get"]["responses"][str(status)], document)


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_the_open_operations_answer_as_described(
    sides: TwoSides, document: dict[str, Any], path: str
) -> None:
    operation = document["paths"][path]["get"]
    assert operation["security"] == []
    assert str(sides.ask(method="GET", target=path).status) in operation["responses"]
