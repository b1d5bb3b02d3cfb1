"""The whole recogniser and its rules alone, loaded once."""

from collections.abc import Callable

import pytest

from triptych.engines.phi.normalise import plain
from triptych.engines.phi.recognise import Recogniser
from triptych.engines.phi.rules import Rules, resolve

Found = Callable[[str], list[tuple[str, str]]]


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    return Recogniser.load()


@pytest.fixture(scope="session")
def rules() -> Rules:
    return Rules()


@pytest.fixture(scope="session")
def by_rules(rules: Rules) -> Found:
    """Types and values that rules find in a text."""

    def found(text: str) -> list[tuple[str, str]]:
        spelled = plain(text)
        spans = [
            (one.type, *spelled.span(one.start, one.end))
            for one in resolve(rules.find(spelled.text), spelled.text)
        ]
        return [(type, text[start:end]) for type, start, end in spans]

    return found
