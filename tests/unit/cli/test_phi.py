"""``triptych phi``: the guard on texts and on labelled sets."""

import io
import json

import pytest

from tests.unit.cli.conftest import Run


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_scan_answers_each_line_in_order_with_code_points(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["é SSN 123-45-6789", "nothing", "mail a@example.org\nand more"]
    given(monkeypatch, "".join(json.dumps({"text": text}) + "\n" for text in texts))
    code, out, _ = run("phi", "scan", "--jsonl")
    answers = [json.loads(line)["entities"] for line in out.splitlines()]
    assert code == 0 and len(answers) == 3
    ((ssn,), (), (mail,)) = answers
    assert texts[0][ssn["start"] : ssn["end"]] == "123-45-6789" and ssn["type"] == "US_SSN"
    assert 0 < ssn["score"] <= 1
    assert texts[2][mail["start"] : mail["end"]] == "a@example.org"


@pytest.mark.parametrize("line", ["{", '"text"', '{"text": 1}', "{}", "[" * 100_000])
def test_a_line_that_is_no_text_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    given(monkeypatch, '{"text": "a"}\n' + line + "\n")
    code, out, err = run("phi", "scan", "--jsonl")
    assert code == 2 and "line 2" in err and len(out.splitlines()) == 1


def test_redact_numbers_values_alike_over_all_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, '{"text": "ssn 123-45-6789"}\n{"text": "123-45-6789 and 987-65-4321"}\n')
    code, out, _ = run("phi", "redact", "--jsonl")
    assert code == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == [
        "ssn [US_SSN_1]",
        "[US_SSN_1] and [US_SSN_2]",
    ]


def test_eval_tells_recall_precision_and_mistakes(run: Run) -> None:
    with open("set.jsonl", "w") as file:
        file.write('{"text": "ssn 123-45-6789", "entities": [{"type": "US_SSN", "start": 4, "end": 15}]}\n')
        file.write('{"text": "b 123-45-6789", "entities": []}\n')
    code, out, err = run("phi", "eval", "set.jsonl", "--misses", "5")
    assert code == 0 and "covered recall" in out and "1.000 (0.207-1.000) 1/1" in out
    assert "wrong     US_SSN" in err
    code, out, _ = run("phi", "eval", "set.jsonl", "--json")
    assert json.loads(out)["types"]["US_SSN"]["precision"]["value"] == 0.5


def test_eval_refuses_a_broken_set_with_its_line(run: Run) -> None:
    with open("set.jsonl", "w") as file:
        file.write('{"text": 1}\n{"none": 1}\n')
    code, _, err = run("phi", "eval", "set.jsonl")
    assert code == 2 and "set.jsonl: line" in err
