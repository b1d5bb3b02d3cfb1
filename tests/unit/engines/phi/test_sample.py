"""Recall and precision on a small set that the project generates: floors under what the committed weights reach."""

from importlib import resources
from pathlib import Path

import pytest

from triptych.engines.phi import evaluation
from triptych.engines.phi.datasets import read
from triptych.engines.phi.evaluation import Report, Share, f_beta
from triptych.engines.phi.recognise import Recogniser

SAMPLE = Path(str(resources.files("triptych.engines.phi"))) / "weights" / "sample.jsonl"


@pytest.fixture(scope="module")
def report(recogniser: Recogniser) -> Report:
    return evaluation.evaluate(recogniser, read(SAMPLE))


def test_recall_holds(report: Report) -> None:
    assert report.covered.value >= 0.93
    assert report.fully.value >= 0.88
    for kind in ("PERSON", "LOCATION", "DATE_TIME", "UNIQUE_ID", "PHONE_NUMBER"):
        assert report.types[kind].recall.value >= 0.85, kind


def test_texts_without_identifiers_are_left(report: Report) -> None:
    assert report.untouched.value >= 0.85


def test_the_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.parent.iterdir()) <= 6_000_000


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    low, high = Share(9, 10).interval
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)


def test_f2_weighs_recall_more() -> None:
    assert f_beta(0.5, 1.0) > f_beta(1.0, 0.5)
    assert f_beta(0.0, 0.0) == 0.0


def test_a_value_is_covered_only_when_no_letter_of_it_stays() -> None:
    from triptych.core.finding import Finding

    text = "Ann Lee, Rome"
    one, two = Finding("PERSON", 0, 3, 1.0, "t"), Finding("PERSON", 4, 7, 1.0, "t")
    assert evaluation.is_covered(text, 0, 7, [one, two])
    assert not evaluation.is_covered(text, 0, 7, [one])
    assert not evaluation.is_covered(text, 0, 13, [one, two])
