"""The sandbox's model ids, and the failures they stand for."""

from enum import StrEnum

from triptych.core.failure import FailureKind
from triptych.upstreams.sandbox.examples import example
from triptych.upstreams.sandbox.replies import Speaker, call_tool, echo, lorem

PREFIX = "sandbox-"
ERROR_PREFIX = "sandbox-error-"

SPEAKERS: dict[str, Speaker] = {
    "sandbox-echo": echo,
    "sandbox-lorem": lorem,
    "sandbox-tool": call_tool,
}


class Scenario(StrEnum):
    """Failures as a provider shows them on the wire. The value follows ``sandbox-error-``."""

    UPSTREAM_OVERLOADED = "upstream_overloaded"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_BAD_REQUEST = "upstream_bad_request"
    UPSTREAM_HTML = "upstream_html"
    """502 with a page of HTML."""
    EMPTY_BODY = "empty_body"
    """500 without a body."""
    EMPTY_ANSWER = "empty_answer"
    """200 without a body."""
    INVALID_JSON = "invalid_json"
    """200 with JSON cut in half."""
    MIDSTREAM_OVERLOADED = "midstream_overloaded"
    """Some deltas, then the provider's own error event; 529 when not streamed."""
    MIDSTREAM_CUT = "midstream_cut"
    """Some deltas, or half a body, then the connection breaks."""
    MIDSTREAM_STALL = "midstream_stall"
    """Some deltas, or half a body, then nothing more."""
    SLOW_FIRST_BYTE = "slow_first_byte"
    """A good answer, after three seconds."""
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"


# Endings nobody is left to be told about: there is no row a client could see.
_UNSEEN = frozenset({FailureKind.CLIENT_DISCONNECTED, FailureKind.INTERRUPTED})
_SCENARIOS = frozenset(Scenario)
_RAISED = {
    **{kind.value: kind for kind in FailureKind if kind not in _UNSEEN},
    Scenario.UNREACHABLE.value: FailureKind.UPSTREAM_UNREACHABLE,
    Scenario.TIMEOUT.value: FailureKind.UPSTREAM_TIMEOUT,
}


def sandbox_model_ids() -> tuple[str, ...]:
    """Every model id of the sandbox: the three that speak, then one for each failure."""
    names = dict.fromkeys([*Scenario, *_RAISED])
    return (*SPEAKERS, *(ERROR_PREFIX + name for name in names))


def scenario_of(model: str, wire: str) -> Scenario | None:
    """The failure to be shown on the wire, or None when the model is to answer.

    Raises Failure: the one the model id names; MODEL_NOT_FOUND for a ``sandbox-`` id that is none.
    """
    if not model.startswith(PREFIX) or model in SPEAKERS:
        return None
    name = model.removeprefix(ERROR_PREFIX)
    if name != model:
        kind = _RAISED.get(name)
        if name in _SCENARIOS and name not in (Scenario.UNREACHABLE, Scenario.TIMEOUT):
            return Scenario(name)
        if kind is not None:
            raise example(kind, model, wire)
    raise example(FailureKind.MODEL_NOT_FOUND, model, wire)
