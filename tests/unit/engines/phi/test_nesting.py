"""A value that comes back is spelled as the strings demand that it stands in."""

import json
import time
from typing import Any

import pytest

from triptych.engines.phi.nesting import Nesting
from triptych.engines.phi.restore import Restorer

VALUE = 'Jo "Q" O\\Neil\n12 Oak St'
MARK = "[PERSON_1]"
RESTORER = Restorer({MARK: VALUE, "[PERSON_2]": "Bob"})


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_text_in_a_string_of_another_is_one_still(levels: int, indent: int | None) -> None:
    """Such as the body of a request that a tool is to make."""

    def nested(value: str) -> str:
        said: Any = {"name": value, "and": ["x", value], "n": 1}
        for level in range(levels):
            said = {"q": json.dumps(said, indent=indent), "level": level, "name": value}
        return json.dumps(said, indent=indent)

    sent, wanted = nested(f"a {MARK} b"), nested(f"a {VALUE} b")
    for sure in (True, False):
        assert RESTORER.restored(sent, json=sure) == wanted
        for size in (1, 2, 7):
            nesting = Nesting(sure=sure)
            pieces: list[str] = []
            held = ""
            for place in range(0, len(sent), size):
                held += sent[place : place + size]
                kept = RESTORER.held(held)
                ready, held = held[: len(held) - kept], held[len(held) - kept :]
                pieces.append(RESTORER.restored(ready, json=sure, nesting=nesting))
            assert "".join(pieces) + held == wanted


@pytest.mark.parametrize(
    "text",
    [
        f'He said "{MARK}" and \\"{MARK}\\".',
        f"{MARK}, [1], {{x}}: {MARK}",
        f'["a", "b"] are letters, "{MARK}" is none',
        f'{{"a": 1}}\nand "{MARK}"',
        f'a = {{"{MARK}"}}',
    ],
)
def test_what_is_no_json_is_told_as_it_is(text: str) -> None:
    assert RESTORER.restored(text) == text.replace(MARK, VALUE)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "%s"}',
        ' [{"a": 1}, "%s"]',
        '```json\n{"a": "%s"}\n```',
        '{"a": 1}\n{"b": "%s"}',
        '{"a": "[PERSON_2] [x] {y} %s"}',
    ],
)
def test_a_model_that_answers_in_json_unasked_answers_in_json(text: str) -> None:
    told = RESTORER.restored(text % MARK)
    assert told == text.replace("[PERSON_2]", "Bob") % json.dumps(VALUE)[1:-1]


@pytest.mark.parametrize("said", ["say {0}", "[{0}] and {0}", '"{0}"', "{{{0}}}"])
def test_a_string_that_only_looks_like_json_is_a_string(said: str) -> None:
    sent, wanted = (json.dumps({"said": said.format(f'a "{value}"')}) for value in (MARK, VALUE))
    assert RESTORER.restored(sent, json=True) == wanted


@pytest.mark.parametrize("text", ["\\", '\\"', '{"', '"[', "[{ ", "```", '\\n{"'])
def test_the_time_grows_with_the_text_and_not_faster(text: str) -> None:
    def seconds(length: int) -> float:
        told = text * (length // len(text)) + f"x{MARK}"
        best = 1e9
        for _ in range(3):
            before_s = time.process_time()
            RESTORER.restored(told, json=True)
            best = min(best, time.process_time() - before_s)
        return best

    assert seconds(200_000) < 10 * 3 * max(seconds(20_000), 0.001)


def test_a_value_does_not_grow_with_every_level_that_a_model_thinks_of() -> None:
    said = "".join("{" + "\\" * (2**level - 1) + '"' for level in range(12))
    assert len(RESTORER.restored(said + MARK)) < len(said) + 40 * len(VALUE)


def test_values_that_need_no_escapes_are_not_looked_at_that_way() -> None:
    assert not Restorer({MARK: "Ana Lima"}).nests and RESTORER.nests
