"""The data sets as training rows: GoEmotions (six labels, neutral, wonder) and EmoBank (valence, arousal)."""

import csv
import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from triptych.core.emotion import LABELS
from triptych.engines.emotion.evaluation import six_of

WONDER = frozenset(("curiosity", "realization", "surprise", "excitement"))
HELD_COMMENTS, HELD_SENTENCES = 4000, 600
"""Rows of the splits ``train`` that calibrate or measure, and that nothing is trained on."""
NEUTRAL = 6
WONDER_AT = 7


@dataclass
class Row:
    text: str
    scores: list[float] | None = None
    """Six labels, neutral, wonder; None where unknown (EmoBank)."""
    fine: list[int] = field(default_factory=list)
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None
    weight: float = 1.0
    """Of the scores."""
    dimension_weight: float = 1.0
    """Of valence and arousal, where they are known."""
    features: list[float] | None = None
    """What the teacher makes of the text; None where it was not asked."""


def fine_labels(folder: Path) -> list[str]:
    return (folder / "original.labels.txt").read_text().split()


def go_emotions(folder: Path, split: str) -> list[Row]:
    labels = fine_labels(folder)
    rows = []
    for line in (folder / f"original.{split}.tsv").read_text("utf-8").splitlines():
        text, ids, _ = line.split("\t")
        fine = [int(i) for i in ids.split(",")]
        scores = [0.0] * 8
        for i in fine:
            name = labels[i]
            if name == "neutral":
                scores[NEUTRAL] = 1.0
            else:
                scores[LABELS.index(six_of(name))] = 1.0
            if name in WONDER:
                scores[WONDER_AT] = 1.0
        rows.append(Row(text, scores, fine))
    return rows


def emobank(folder: Path, split: str) -> list[Row]:
    """Valence on 1..5 becomes -1..1, arousal and dominance become 0..1."""
    with (folder / "emobank-train-dev.csv").open(encoding="utf-8", newline="") as file:
        return [
            Row(
                r["text"],
                valence=(float(r["V"]) - 3) / 2,
                arousal=(float(r["A"]) - 1) / 4,
                dominance=(float(r["D"]) - 1) / 4,
            )
            for r in csv.DictReader(file)
            if r["split"] == split
        ]


def held_and_rest(rows: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    """The same for every seed: what measures or calibrates is never trained on, whoever trains."""
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    return shuffled[:count], shuffled[count:]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def given_and_family_names() -> list[str]:
    """US Census names, most frequent first: given names, then family names."""
    import names

    folder = Path(names.__file__).parent
    found: list[str] = []
    for file, limit in (("dist.female.first", 4000), ("dist.male.first", 1200), ("dist.all.last", 8000)):
        lines = (folder / file).read_text().splitlines()[:limit]
        found += [line.split()[0].lower() for line in lines]
    return list(dict.fromkeys(found))


def world_names(known: dict[str, int], people: int = 2000) -> list[str]:
    """Forms of given names from many countries that the word vectors know and that many people carry."""
    import json

    import nomquamgender

    data = json.loads((Path(nomquamgender.__file__).parent / "name_data.json").read_text("utf-8"))
    return [name for name, counts in data.items() if name in known and counts[1] >= people]


def fill_names(text: str, generator: random.Random, pool: list[str]) -> str:
    while "[NAME]" in text:
        text = text.replace("[NAME]", generator.choice(pool).capitalize(), 1)
    return text.replace("[RELIGION]", generator.choice(("religion", "faith", "church")))


def lower_case_share(texts: list[str]) -> dict[str, tuple[int, float]]:
    """How often each word occurs, and which part of that in lower case."""
    import re

    total: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    for text in texts:
        for word in re.findall(r"[^\W\d_]+", text):
            total[word.lower()] += 1
            lower[word.lower()] += word.islower()
    return {w: (n, lower[w] / n) for w, n in total.items()}
