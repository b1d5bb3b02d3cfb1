"""How a model is asked to think: it depends on its generation.

Since Claude 4.6 thinking is adaptive and its depth is ``output_config.effort``; earlier models take
neither and want a budget of tokens (https://platform.claude.com/docs/en/build-with-claude/thinking,
https://platform.claude.com/docs/en/build-with-claude/effort). A model of unknown name is taken for a
new one.
"""

import re

from triptych.core.conversation import Thinking
from triptych.wires.translation import Feature, Inexpressible

MIN_BUDGET_TOKENS = 1024
"""The vendor's own bound."""

_BUDGETS_TOKENS = {"minimal": 1024, "low": 4096, "medium": 16_384}
_LARGE_BUDGET_TOKENS = 24_576
_DEFAULT_EFFORT = "medium"

_GENERATION = re.compile(r"claude-(?:(?P<third>3)\b|[a-z]+-4(?!\d)(?:[-.](?P<minor>\d{1,2})(?!\d))?)")
_ADAPTIVE_MINOR, _XHIGH_MINOR = 6, 7


def written_thinking(thinking: Thinking, model: str, max_tokens: int) -> tuple[dict[str, object], str | None]:
    """The ``thinking`` object and the word of ``output_config.effort``, if any.

    Raises Inexpressible when thinking has no room in ``max_tokens``.
    """
    effort = thinking.effort
    if effort == "none":
        return {"type": "disabled"}, None
    minor = _minor(model)
    budget_tokens = thinking.budget_tokens
    if budget_tokens is None and minor is not None and minor < _ADAPTIVE_MINOR:
        budget_tokens, effort = _budget_tokens(effort or _DEFAULT_EFFORT, max_tokens), None
    written: dict[str, object] = {"type": "adaptive"}
    if budget_tokens is not None:
        written = {"type": "enabled", "budget_tokens": budget_tokens}
    if thinking.shown is not None:
        written["display"] = "summarized" if thinking.shown else "omitted"
    return written, _word(effort, minor)


def written_effort(thinking: Thinking, model: str) -> str | None:
    """The word of ``output_config.effort`` where there is no ``thinking`` object beside it; None for a model
    that does not know it."""
    minor = _minor(model)
    return None if minor is not None and minor < _ADAPTIVE_MINOR else _word(thinking.effort, minor)


def _minor(model: str) -> int | None:
    """Of the fourth generation; those before it are 0, and None is a later or unknown one."""
    found = _GENERATION.search(model)
    if found is None:
        return None
    return int(found["minor"] or 0)


def _budget_tokens(effort: str, max_tokens: int) -> int:
    """A part of ``max_tokens``, as everywhere else, so that a quarter is left for the answer."""
    room = max_tokens * 3 // 4
    if room < MIN_BUDGET_TOKENS:
        raise Inexpressible(Feature.THINKING_EFFORT, "the bound on output tokens leaves no room to think")
    return min(_BUDGETS_TOKENS.get(effort, _LARGE_BUDGET_TOKENS), room)


def _word(effort: str | None, minor: int | None) -> str | None:
    if effort == "minimal":
        return "low"
    if effort == "xhigh" and minor is not None and minor < _XHIGH_MINOR:
        return "high"
    return effort
