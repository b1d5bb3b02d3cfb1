"""``triptych phi``: the guard at the command line, on texts and on labelled sets."""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.options import help_when_alone
from triptych.cli.terminal import complain, note, say, table

if TYPE_CHECKING:
    from triptych.engines.phi.evaluation import Report, Share

_BATCH_LINES = 64


def build() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_phi)
    app.command("scan", short_help="Find identifiers: JSON lines in, JSON lines out.")(scan)
    app.command("redact", short_help="Replace identifiers by placeholders.")(redact)
    app.command("eval", short_help="Measure recall and precision on a labelled set.")(evaluate)
    return app


def _phi(context: typer.Context) -> None:
    """Find, replace and measure identifiers, with the guard that requests go through."""
    help_when_alone(context)


def scan(
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='Each line of stdin is {"text": ...}; else each is a text.')
    ] = False,
) -> None:
    """For each line of stdin one line {"entities": [{"type", "start", "end", "score"}]}, in order.

    Offsets count Unicode code points. Every line is looked at alone.
    """
    from triptych.engines.phi.recognise import Recogniser

    recogniser = Recogniser.load()
    for text in _texts(jsonl):
        (findings,) = recogniser.scan([text])
        entities = [
            {"type": found.type, "start": found.start, "end": found.end, "score": found.score}
            for found in findings
        ]
        sys.stdout.write(json.dumps({"entities": entities}) + "\n")
        sys.stdout.flush()


def redact(
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help='Each line of stdin is {"text": ...}, and so is each line out.')
    ] = False,
) -> None:
    """Stdin with placeholders such as [PERSON_1] for identifiers; the same value has the same number.

    Without --jsonl all of stdin is one text.
    """
    from triptych.engines.phi.placeholder import Placeholders
    from triptych.engines.phi.recognise import Recogniser

    recogniser = Recogniser.load()
    texts = list(_texts(True)) if jsonl else [sys.stdin.read()]
    placeholders = Placeholders()
    for text, findings in zip(texts, recogniser.scan(texts), strict=True):
        pieces: list[str] = []
        done = 0
        for found in findings:
            placeholder = placeholders.of(text[found.start : found.end], found.type)
            pieces += (text[done : found.start], placeholder)
            done = found.end
        redacted = "".join((*pieces, text[done:]))
        sys.stdout.write(json.dumps({"text": redacted}, ensure_ascii=False) + "\n" if jsonl else redacted)


def evaluate(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="Clinical queries (===QUERY===), CoNLL with BIO tags, or JSON lines {text, entities}.",
            exists=True,
            dir_okay=False,
        ),
    ],
    json_out: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    misses: Annotated[
        int,
        typer.Option(
            "--misses",
            min=0,
            help="Also print so many readable values and wrong findings (they are in the set).",
        ),
    ] = 0,
) -> None:
    """Measure the guard on a labelled set: recall by what stays readable, precision, intervals, speed."""
    from triptych.engines.phi import evaluation
    from triptych.engines.phi.datasets import read
    from triptych.engines.phi.recognise import Recogniser

    try:
        examples = read(dataset)
    except ValueError as error:
        complain(f"{dataset}: {error}")
        raise typer.Exit(2) from None
    recogniser = Recogniser.load()
    recogniser.scan([example.text for example in examples[:20]])
    report = evaluation.evaluate(recogniser, examples)
    if json_out:
        say(json.dumps(_as_json(report), indent=2))
    else:
        _print(report)
    for line in islice(_misses(recogniser, examples), misses):
        note(line)


def _misses(recogniser: object, examples: Sequence[object]) -> Iterator[str]:
    from triptych.engines.phi.datasets import Example
    from triptych.engines.phi.evaluation import is_covered
    from triptych.engines.phi.recognise import Recogniser

    assert isinstance(recogniser, Recogniser)
    for example in examples:
        assert isinstance(example, Example)
        (found,) = recogniser.scan([example.text])
        for start, end, kind in example.spans:
            if not is_covered(example.text, start, end, found):
                yield f"readable  {kind}: {example.text[start:end]!r} in {example.text[:160]!r}"
        for finding in found:
            if not any(start < finding.end and finding.start < end for start, end, _ in example.spans):
                what = f"{finding.type} ({finding.recogniser}, {finding.score})"
                value = example.text[finding.start : finding.end]
                yield f"wrong     {what}: {value!r} in {example.text[:160]!r}"


def _texts(jsonl: bool) -> Iterator[str]:
    for number, line in enumerate(sys.stdin, 1):
        if not jsonl:
            yield line.rstrip("\n")
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            complain(f'line {number} is not {{"text": "..."}}')
            raise typer.Exit(2)
        yield text


def _share(share: "Share") -> str:
    if not share.total:
        return "-"
    low, high = share.interval
    return f"{share.value:.3f} ({low:.3f}-{high:.3f}) {share.hits}/{share.total}"


def _print(report: "Report") -> None:
    rows = [
        (
            kind,
            _share(score.recall),
            _share(score.precision),
            f"{score.f2:.3f}" if score.recall.total else "-",
        )
        for kind, score in report.types.items()
    ]
    say(table(("TYPE", "COVERED RECALL", "PRECISION", "F2"), rows))
    say()
    say(
        table(
            ("MEASURE", "VALUE (95 % INTERVAL)"),
            (
                ("covered recall, all types", _share(report.covered)),
                ("texts fully redacted", _share(report.fully)),
                ("texts without identifiers untouched", _share(report.untouched)),
                ("F2, overlap", f"{report.overlap_f2:.3f}"),
                ("F2, exact spans and types", f"{report.exact_f2:.3f}"),
                ("CPU ms per 50 words", f"{report.cpu_ms_per_50_words:.2f}"),
            ),
        )
    )


def _as_json(report: "Report") -> dict[str, object]:
    def share(value: "Share") -> dict[str, object]:
        low, high = value.interval
        if not value.total:
            return {"hits": 0, "total": 0}
        return {
            "value": round(value.value, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "hits": value.hits,
            "total": value.total,
        }

    return {
        "types": {
            kind: {
                "recall": share(score.recall),
                "precision": share(score.precision),
                "f2": round(score.f2, 4) if score.recall.total else None,
            }
            for kind, score in report.types.items()
        },
        "covered_recall": share(report.covered),
        "fully_redacted": share(report.fully),
        "untouched": share(report.untouched),
        "f2_overlap": round(report.overlap_f2, 4),
        "f2_exact": round(report.exact_f2, 4),
        "cpu_ms_per_50_words": round(report.cpu_ms_per_50_words, 3),
    }
