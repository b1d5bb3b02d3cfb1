from pathlib import Path

import pytest

from triptych.engines.emotion.engine import EmotionEngine
from triptych.engines.emotion.evaluation import calibration_error, correlation, measure, read_dataset, six_of


def test_the_three_forms_of_a_data_set_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("I'm glad [NAME]\t17\tx1\nok\t27,10\tx2\n")
    (tmp_path / "b.csv").write_text('id,split,V,A,D,text\n1,train,3,3,3,"no"\n2,dev,5,1,3,"yes, really"\n')
    (tmp_path / "c.jsonl").write_text('{"text": "hm", "labels": ["grief", "love"], "valence": -0.5}\n')
    glad, ok = read_dataset(tmp_path / "a.tsv")
    assert "[NAME]" not in glad.text
    assert (glad.labels, ok.labels) == ({"joy"}, {"neutral", "anger"})
    (row,) = read_dataset(tmp_path / "b.csv", "dev")
    assert (row.text, row.valence, row.arousal) == ("yes, really", 1.0, 0.0)
    (line,) = read_dataset(tmp_path / "c.jsonl")
    assert (line.labels, line.valence) == ({"sadness", "love"}, -0.5)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", b"ok\t3\nx\tjoy\n", "line 2: expected text, tab, label ids from 0 to 27"),
        ("a.tsv", b"x\t-1\ty\n", "line 1: expected text, tab, label ids"),
        ("a.tsv", b"\x97\xff", "not UTF-8 at byte 0"),
        ("b.csv", b"id,text,V\n1,hm,3\n", "line 2: expected columns text, V and A, both from 1 to 5"),
        ("b.csv", b"text,V,A\nhm,nan,3\n", "line 2: expected columns"),
        ("b.csv", b"V,A,text\n3,3\n", "line 2: expected columns"),
        (
            "b.csv",
            b'V,A,text\n3,3,"' + b"a " * 100_000 + b'"\n',
            "line 2: not CSV: field larger than field limit",
        ),
        ("c.jsonl", b'{"text": 5}\n', "line 1: expected .*: Expected `str`, got `int`"),
        ("c.jsonl", b'\n{"text": "x", "labels": "joy"}\n', "line 2: expected .*got `str` - at `\\$.labels`"),
        ("c.jsonl", b'{"text": "x", "labels": [["joy"]]}\n', "line 1: expected"),
        ("c.jsonl", b'{"text": "x", "labels": ["hunger"]}\n', "line 1: .*'hunger' is no label"),
        ("c.jsonl", b'{"text": "x", "valence": "high"}\n', "line 1: expected"),
        ("c.jsonl", b'{"text": "x", "arousal": -0.5}\n', "line 1: expected .*>= 0"),
        ("c.jsonl", b"[" * 100_000, "line 1: expected"),
        ("c.jsonl", b"[]\n", "line 1: expected"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_with_file_and_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: {said}"):
        read_dataset(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "no tab\n"),
        ("a.tsv", "x\t99\ty\n"),
        ("b.csv", "text\nx\n"),
        ("c.jsonl", "{}\n"),
        ("c.jsonl", ""),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"line \d|no rows"):
        read_dataset(tmp_path / name)


def test_calibration_error_is_the_distance_of_score_and_frequency() -> None:
    assert calibration_error([(0.25, 0.0)] * 3 + [(0.25, 1.0)]) == pytest.approx(0.0)
    assert calibration_error([(0.9, 0.0)] * 10) == pytest.approx(0.9)


def test_correlation_is_pearsons() -> None:
    assert correlation([(0, 1), (1, 3), (2, 5)]) == pytest.approx(1)
    assert correlation([(0, 1), (1, 1), (2, 1)]) == 0


def test_unknown_labels_are_refused() -> None:
    assert six_of("neutral") == "neutral"
    with pytest.raises(ValueError, match="no label"):
        six_of("hunger")


def test_figures_carry_an_interval_around_the_value(tmp_path: Path, engine: EmotionEngine) -> None:
    lines = ["I love you so much\t18\ta", "I hate you\t2\tb", "The table has four legs.\t27\tc"] * 10
    (tmp_path / "a.tsv").write_text("\n".join(lines) + "\n")
    figures = measure(engine, read_dataset(tmp_path / "a.tsv"))
    assert figures["accuracy"]["value"] == 1.0
    for figure in figures.values():
        if isinstance(figure, dict):
            low, high = figure["interval"]
            assert low <= figure["value"] <= high or abs(figure["value"] - low) < 0.05
