"""Every kind of failure, as every route answers it, fits what ``/openapi.json`` says of that status."""

import json
from collections.abc import Callable

import pytest

from tests.contract.schema import faults
from triptych.core.failure import Failure, FailureKind
from triptych.core.response import Response
from triptych.surfaces.clinical import failures as clinical
from triptych.surfaces.clinical.described_control import CLINICAL_WHOLE
from triptych.surfaces.emotion.described import EMOTION
from triptych.surfaces.emotion.failures import emotion_error
from triptych.surfaces.inference import failures as inference
from triptych.surfaces.openapi import INFERENCE, Described

ULID = "01J9Z8Q5R7T3V1X0Y2W4A6B8C0"
Render = Callable[[Failure], Response]


def rendered_by(render: Callable[[Failure, str], Response], request_id: str = "req_" + ULID) -> Render:
    return lambda failure: render(failure, request_id)


def renderings(described: Described, path: str) -> list[Render]:
    if described is EMOTION:
        return [rendered_by(emotion_error, ULID)]
    if described is CLINICAL_WHOLE:
        messages = path.startswith("/v1/messages")
        return [rendered_by(clinical.messages_error if messages else clinical.native_error)]
    if path.startswith("/v1/messages"):
        return [rendered_by(inference.messages_error)]
    if path.startswith("/v1/conversations"):
        return [rendered_by(inference.conversations_error)]
    own = [rendered_by(inference.openai_error)]
    return [*own, rendered_by(inference.messages_error)] if path.startswith("/v1/models") else own


ROUTES = [
    (described, path, verb)
    for described in (INFERENCE, CLINICAL_WHOLE, EMOTION)
    for (path, verb), operation in described.operations.items()
    if operation["security"]
]


@pytest.mark.parametrize(
    ("described", "path", "verb"), ROUTES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_error_fits_its_description(described: Described, path: str, verb: str) -> None:
    responses = described.operations[path, verb]["responses"]
    root = {"components": {"schemas": described.schemas}}
    seen = set()
    for kind in FailureKind:
        for failure in (Failure(kind), Failure(kind, param="a[0].b", details={"x": 1}, retry_after_s=7)):
            for render in renderings(described, path):
                answer = render(failure)
                # Not every kind comes about on every route.
                if (said := responses.get(str(answer.status))) is None:
                    continue
                seen.add(str(answer.status))
                schema = said["content"]["application/json"]["schema"]
                assert faults(json.loads(answer.body), schema, root) == [], kind
    assert {status for status in responses if status >= "4" and status != "default"} <= seen
