"""``triptych emotion``: score texts from a pipe, measure the model on a labelled file."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import help_when_alone
from triptych.cli.terminal import complain, say

LINES_AT_ONCE = 64


def build() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_emotion)
    app.command("score", short_help="Score texts: JSON lines in, emotion objects out.")(score)
    app.command("eval", short_help="Measure the model on a labelled file.")(evaluate)
    return app


def _emotion(context: typer.Context) -> None:
    """The emotion engine, without a gateway. Statistics of text: no clinical reading, no safety device."""
    help_when_alone(context)


def score(
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='Read {"text": ...} a line; without it a line is a text.')
    ] = False,
) -> None:
    """Read texts from stdin and print an emotion object per line, in order. Blank lines are skipped.

    Exits 1 at the first line that cannot be read, after the objects of those before it.
    """
    from triptych.engines.emotion.engine import EmotionEngine
    from triptych.wires.emotion_object import emotion_object

    engine = EmotionEngine.load()
    waiting: list[str] = []

    def flush() -> None:
        for text, emotion in zip(waiting, engine.score(waiting), strict=True):
            say(json.dumps(emotion_object(emotion, text), ensure_ascii=False))
        waiting.clear()
        sys.stdout.flush()

    sys.stdout.reconfigure(encoding="utf-8", errors="surrogatepass")  # type: ignore[union-attr]
    try:
        for text in _texts(jsonl):
            waiting.append(text)
            if len(waiting) == LINES_AT_ONCE or sys.stdin.isatty():
                flush()
    except ValueError as error:
        flush()
        complain(str(error))
        raise typer.Exit(2) from None
    flush()


def _texts(jsonl: bool) -> Iterator[str]:
    """Raises ValueError naming the line that is no text."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            shown = line.decode("utf-8").rstrip("\r\n")
            text = json.loads(shown)["text"] if jsonl else shown
        except (ValueError, TypeError, KeyError, RecursionError):
            text = None
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f'stdin line {number}: expected {{"text": "..."}} with a text that is not blank')
        yield text


def evaluate(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="GoEmotions (.tsv: text, label ids, id), EmoBank (.csv: text, V, A) or JSON lines "
            '({"text", "labels": [...], "valence", "arousal"}).'
        ),
    ],
    split: Annotated[str, typer.Option(help="Of an EmoBank file: only rows of this split.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure accuracy, F1, calibration, the border of neutral, valence and arousal, with 95 % intervals."""
    from triptych.engines.emotion.engine import EmotionEngine
    from triptych.engines.emotion.evaluation import measure, read_dataset

    try:
        rows = read_dataset(dataset, split)
    except (OSError, ValueError) as error:
        complain(f"{dataset}: {error.strerror}" if isinstance(error, OSError) else str(error))
        raise typer.Exit(2) from None
    figures = measure(EmotionEngine.load(), rows)
    if as_json:
        say(json.dumps(figures, indent=2))
        return
    for name, figure in figures.items():
        if isinstance(figure, dict):
            low, high = figure["interval"]
            say(f"{name:28} {figure['value']:.4f}  [{low:.4f}, {high:.4f}]  n={figure['n']}")
        else:
            say(f"{name:28} {figure}")
