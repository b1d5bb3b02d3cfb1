import io
import json
from types import SimpleNamespace

import pytest

from triptych.cli import main


def feed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))


def test_each_line_is_answered_in_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"I am happy {i}" for i in range(150)]
    feed(monkeypatch, "\n".join(json.dumps({"text": text}) for text in texts).encode() + b"\n\n")
    assert main(["emotion", "score", "--jsonl"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["text"] for e in found] == texts
    assert set(found[0]["raw"]) == {"joy", "love", "sadness", "anger", "fear", "surprise"}
    assert found[0]["category"] == "joy"
    assert found[0]["language"] == "en"


@pytest.mark.parametrize(
    "line", [b"nonsense", b'{"text": 1}', b'{"txt": "x"}', b"[]", b'{"text": " "}', b"\xff", b"[" * 100_000]
)
def test_a_line_that_is_no_text_is_named_after_those_before_it(
    line: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b'{"text": "fine"}\n' + line + b'\n{"text": "never read"}\n')
    assert main(["emotion", "score", "--jsonl"]) == 2
    captured = capsys.readouterr()
    assert [json.loads(x)["text"] for x in captured.out.splitlines()] == ["fine"]
    assert "stdin line 2" in captured.err


def test_plain_lines_are_texts_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, b"what a day\n")
    assert main(["emotion", "score"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "what a day"


def test_a_missing_data_set_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emotion", "eval", "/nowhere.tsv"]) == 2
    assert capsys.readouterr().err == "triptych: error: /nowhere.tsv: No such file or directory\n"
