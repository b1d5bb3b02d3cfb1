"""What an answer is reckoned to have cost where its provider did not count."""

import base64
import json
import math

import pytest

from tests.devices.script import MODEL, ScriptedUpstream
from triptych.core.call import UpstreamCall
from triptych.core.usage import NO_USAGE, Usage, UsageSource
from triptych.stages.departure import Departure
from triptych.stages.route import Leg
from triptych.surfaces.messages import CreateMessage
from triptych.wires.request_size import estimate_request_tokens

IMAGE = {
    "type": "image",
    "source": {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(b"\x89PNG" + bytes(90_000)).decode(),
    },
}
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": [IMAGE]}]}).encode()
BY_ITS_BYTES = len(BODY) // 4
BY_ITS_PARTS = estimate_request_tokens(BODY)


def departure(body: bytes = BODY, *, billed: bool = True) -> Departure:
    call = UpstreamCall("anthropic-messages", "/v1/messages", b"", (), body, "m", False, math.inf)
    leg = Leg(MODEL, MODEL.targets[0], None)
    return Departure(leg, ScriptedUpstream(), call, CreateMessage(1 << 20), billed)


def test_an_estimated_input_counts_a_picture_as_one_and_not_by_its_bytes() -> None:
    estimated = Usage(input_tokens=BY_ITS_BYTES, output_tokens=3, source=UsageSource.ESTIMATE)
    assert BY_ITS_PARTS < 2_000 < BY_ITS_BYTES
    weighed = departure().weighed(estimated)
    assert (weighed.input_tokens, weighed.output_tokens) == (BY_ITS_PARTS, 3)
    assert departure().given_up().input_tokens == BY_ITS_PARTS


@pytest.mark.parametrize(
    "counted",
    [
        Usage(input_tokens=BY_ITS_BYTES, output_tokens=3, source=UsageSource.PROVIDER),
        Usage(input_tokens=17, output_tokens=3, source=UsageSource.ESTIMATE),
    ],
    ids=["the provider's own count", "an estimate of something else"],
)
def test_what_was_not_taken_from_the_length_of_the_body_stays(counted: Usage) -> None:
    assert departure().weighed(counted) == counted


def test_who_leaves_before_the_answer_pays_for_the_input_and_for_a_count_of_tokens_nothing() -> None:
    small = b"x" * 400
    assert departure(small).given_up() == Usage(input_tokens=100, source=UsageSource.ESTIMATE)
    assert departure(billed=False).given_up() == NO_USAGE
