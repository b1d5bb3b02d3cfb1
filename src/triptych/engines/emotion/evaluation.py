"""Measures the engine on labelled texts: the figures of the model card, and of ``triptych emotion eval``."""

import csv
import io
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from triptych.core.emotion import LABELS, Emotion

SUBTLE_FROM = 0.35
_RESAMPLES = 200
_BINS = 10

_SIX_OF_FINE = {
    fine: six
    for six, fines in {
        "joy": "admiration amusement approval excitement gratitude joy optimism pride relief",
        "love": "caring desire love",
        "anger": "anger annoyance disapproval disgust",
        "sadness": "disappointment embarrassment grief remorse sadness",
        "fear": "fear nervousness",
        "surprise": "confusion curiosity realization surprise",
    }.items()
    for fine in fines.split()
}
GO_EMOTIONS = (
    "admiration amusement anger annoyance approval caring confusion curiosity desire disappointment "
    "disapproval disgust embarrassment excitement fear gratitude grief joy love nervousness optimism "
    "pride realization relief remorse sadness surprise neutral"
).split()
"""The 28 labels in the order of their ids."""


class Scorer(Protocol):
    def score(self, texts: Sequence[str]) -> list[Emotion]: ...


class LabelledText(msgspec.Struct, frozen=True):
    text: str
    labels: frozenset[str] | None = None
    """Of ``LABELS`` and ``neutral``; None where the set has none."""
    valence: float | None = None
    """-1..1."""
    arousal: float | None = None
    """0..1."""


def six_of(fine: str) -> str:
    """The emotion a GoEmotions label belongs to; ``neutral`` stays. Raises ValueError for an unknown label."""
    if fine == "neutral" or fine in LABELS:
        return _SIX_OF_FINE.get(fine, fine)
    try:
        return _SIX_OF_FINE[fine]
    except KeyError:
        raise ValueError(
            f"{fine!r} is no label of GoEmotions and none of {', '.join(LABELS)}, neutral"
        ) from None


def read_dataset(path: Path, split: str = "") -> list[LabelledText]:
    """By the file's ending. Raises OSError, and ValueError saying which file and line is wrong."""
    read = {".tsv": _go_emotions, ".csv": _emobank}.get(path.suffix, _json_lines)
    try:
        rows = read(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), split)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: no rows" + (f" of split {split!r}" if split else ""))
    return rows


def _go_emotions(file: io.StringIO, split: str) -> list[LabelledText]:
    rows = []
    for number, line in enumerate(file, 1):
        text, _, rest = line.rstrip("\r\n").partition("\t")
        ids = rest.partition("\t")[0].split(",")
        if not all(id.isascii() and id.isdecimal() and int(id) < len(GO_EMOTIONS) for id in ids):
            raise ValueError(
                f"line {number}: expected text, tab, label ids from 0 to {len(GO_EMOTIONS) - 1} with commas"
            )
        labels = frozenset(six_of(GO_EMOTIONS[int(id)]) for id in ids)
        rows.append(LabelledText(text.replace("[NAME]", "Sam").replace("[RELIGION]", "religion"), labels))
    return rows


def _emobank(file: io.StringIO, split: str) -> list[LabelledText]:
    """Valence and arousal are rated on 1..5."""
    rows = []
    reader = csv.DictReader(file)
    try:
        for row in reader:
            if split and row.get("split") != split:
                continue
            text, valence, arousal = row.get("text"), _rating(row.get("V")), _rating(row.get("A"))
            if text is None or valence is None or arousal is None:
                raise ValueError(f"line {reader.line_num}: expected columns text, V and A, both from 1 to 5")
            rows.append(LabelledText(text, None, (valence - 3) / 2, (arousal - 1) / 4))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num + 1}: not CSV: {error}") from None
    return rows


def _rating(cell: str | None) -> float | None:
    try:
        rating = float(cell or "")
    except ValueError:
        return None
    return rating if 1 <= rating <= 5 else None


class _Line(msgspec.Struct):
    text: str
    labels: list[str] | None = None
    valence: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None
    arousal: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


def _json_lines(file: io.StringIO, split: str) -> list[LabelledText]:
    rows = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=_Line)
            labels = None if row.labels is None else frozenset(map(six_of, row.labels))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f'line {number}: expected {{"text", "labels": [...], "valence", "arousal"}}: {error}'
            ) from None
        rows.append(LabelledText(row.text, labels, row.valence, row.arousal))
    return rows


def measure(engine: Scorer, rows: Sequence[LabelledText]) -> dict[str, Any]:
    """Figures by name: ``{"value", "interval": [low, high], "n"}``, the interval from resampling rows (95 %)."""
    emotions: list[Emotion] = []
    for at in range(0, len(rows), 256):
        emotions += engine.score([row.text for row in rows[at : at + 256]])
    pairs = list(zip(rows, emotions, strict=True))
    found: dict[str, Any] = {"texts": len(rows)}
    labelled = [(row.labels, e) for row, e in pairs if row.labels is not None]
    six = [
        (next(iter(labels)), e.category)
        for labels, e in labelled
        if len(labels) == 1 and "neutral" not in labels
    ]
    if six:
        found["accuracy"] = _figure(six, lambda s: sum(t == g for t, g in s) / len(s))
        found["macro-F1"] = _figure(six, _macro_f1)
        for label in LABELS:
            found[f"F1 {label}"] = _figure(six, partial(_f1, label=label))
    neutral = [e.intensity < SUBTLE_FROM for labels, e in labelled if labels == {"neutral"}]
    felt = [
        e.intensity >= SUBTLE_FROM for labels, e in labelled if len(labels) == 1 and "neutral" not in labels
    ]
    if neutral:
        found["neutral below .35"] = _figure(neutral, _mean)
    if felt:
        found["emotional from .35"] = _figure(felt, _mean)
    if labelled:
        for index, label in enumerate(LABELS):
            scored = [(e.raw[index], float(label in labels)) for labels, e in labelled]
            found[f"ECE {label}"] = _figure(scored, calibration_error)
    for name in ("valence", "arousal"):
        rated = [(getattr(row, name), getattr(e, name)) for row, e in pairs if getattr(row, name) is not None]
        if len(rated) > 2:
            found[f"{name} r"] = _figure(rated, correlation)
    return found


def _figure(sample: list[Any], statistic: Callable[[list[Any]], float]) -> dict[str, Any]:
    generator = random.Random(0)  # noqa: S311 - resampling
    again = sorted(statistic(generator.choices(sample, k=len(sample))) for _ in range(_RESAMPLES))
    low, high = again[int(0.025 * _RESAMPLES)], again[int(0.975 * _RESAMPLES) - 1]
    return {
        "value": round(statistic(sample), 4),
        "interval": [round(low, 4), round(high, 4)],
        "n": len(sample),
    }


def _mean(sample: list[bool]) -> float:
    return sum(sample) / len(sample)


def _f1(pairs: list[tuple[str, str]], label: str) -> float:
    both = sum(truth == label == guess for truth, guess in pairs)
    either = sum((truth == label) + (guess == label) for truth, guess in pairs)
    return 2 * both / either if either else 1.0


def _macro_f1(pairs: list[tuple[str, str]]) -> float:
    return sum(_f1(pairs, label) for label in LABELS) / len(LABELS)


def calibration_error(scored: Sequence[tuple[float, float]]) -> float:
    """Expected calibration error, ten bins of equal width: mean distance of score and frequency, weighted by size."""
    bins: list[list[float]] = [[0.0, 0.0] for _ in range(_BINS)]
    for score, truth in scored:
        at = bins[min(_BINS - 1, int(score * _BINS))]
        at[0] += score
        at[1] += truth
    return sum(abs(score - truth) for score, truth in bins) / len(scored)


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's r; 0 where one side is constant."""
    n = len(pairs)
    mean_x, mean_y = sum(x for x, _ in pairs) / n, sum(y for _, y in pairs) / n
    xx = sum((x - mean_x) ** 2 for x, _ in pairs)
    yy = sum((y - mean_y) ** 2 for _, y in pairs)
    xy = sum((x - mean_x) * (y - mean_y) for x, y in pairs)
    return float(xy / (xx * yy) ** 0.5) if xx and yy else 0.0
