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
