"""Labelled sets in three formats."""

from pathlib import Path

import pytest

from triptych.engines.phi.datasets import Example, read


def test_clinical_queries_are_read_with_the_places_of_their_values(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text(
        "===QUERY===\nAnn saw Ann.\n===PHI_TAGS===\n"
        '{"identifier_type": "NAME", "value": "Ann"}\n{"identifier_type": "NAME", "value": "Ann"}\n\n'
        "===QUERY===\nNothing here\n===PHI_TAGS===\n"
    )
    assert read(path) == [
        Example("Ann saw Ann.", ((0, 3, "PERSON"), (8, 11, "PERSON"))),
        Example("Nothing here", ()),
    ]


def test_conll_is_read_as_sentences_with_names_and_places_only(tmp_path: Path) -> None:
    path = tmp_path / "posts.conll"
    path.write_text("Ann\tB-person\nLee\tI-person\nat\tO\nAcme\tB-corporation\n\nin\tO\nRome\tB-location\n")
    assert read(path) == [
        Example("Ann Lee at Acme", ((0, 7, "PERSON"),)),
        Example("in Rome", ((3, 7, "LOCATION"),)),
    ]


def test_json_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"text": "in Rome", "entities": [{"label": "GPE", "start": 3, "end": 7}]}\n')
    assert read(path) == [Example("in Rome", ((3, 7, "LOCATION"),))]


@pytest.mark.parametrize(
    ("content", "line"), [('{"text": "a"}\n{"no": 1}\n', "line 2"), ("Ann\tB-person\nLee\n", "line 2")]
)
def test_a_broken_line_is_named(tmp_path: Path, content: str, line: str) -> None:
    path = tmp_path / "broken"
    path.write_text(content)
    with pytest.raises(ValueError, match=line):
        read(path)


def test_a_text_may_hold_what_unicode_calls_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"text": "a\u2028b"}\n', encoding="utf-8")
    assert read(path) == [Example("a\u2028b", ())]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no texts in it"),
        (b"\n \n", "no texts in it"),
        (b"a\xff", "not UTF-8 at byte 1"),
        (b'{"text": 5}\n', "line 1: expected .*Expected `str`, got `int`"),
        (b'{"text": "x", "entities": [{"type": "A", "start": "0", "end": 1}]}', "line 1: expected .*`int`"),
        (
            b'{"text": "x", "entities": [{"type": "A", "start": 0, "end": 9}]}',
            "0 to 9 is no part of the text",
        ),
        (b'{"text": "x", "entities": [{"type": "A", "start": -5, "end": 1}]}', "-5 to 1 is no part"),
        (b'{"text": "x", "entities": [{"start": 0, "end": 1}]}', "line 1: expected .*has no type"),
        (b'{"text": "x", "entities": ' + b"[" * 100_000, "line 1: expected"),
        (
            b'===QUERY===\nAnn\n===PHI_TAGS===\n{"value": "Ann"}\n',
            "line 4: expected {identifier_type, value}",
        ),
        (b"===QUERY===\na\n===PHI_TAGS===\n\n===QUERY===\nb\n===PHI_TAGS===\nAnn\n", "line 8: expected"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read(path)
