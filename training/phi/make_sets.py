"""A second labelled set from templates and names that training never sees: ``python -m training.phi.make_sets OUT``.

Writes ``heldout.jsonl`` (the set), ``fairness.jsonl`` (the same sentences with names of each origin and case) and
``sample.jsonl`` (a small part for tests).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from training.phi import sources
from training.phi.texts import Labelled, fill, templates
from training.phi.values import Values
from training.phi.vocabulary import ROMANISED

SEED = 77
FAIR_SENTENCES = (
    "Please schedule {} for a follow-up next week.",
    "I spoke with {} about the test results.",
    "The patient's name is {}.",
    "{} has had a cough for two weeks.",
    "thanks {} for the quick reply",
    "Can you draft a letter to {} about the delay?",
    "Our nurse, {}, will call back.",
    "{} asked whether the dose should change.",
)
WESTERN = {
    "english": (
        "Emily Hannah Grace Olivia Jack Harry Thomas William Charlotte Lucy Daniel Megan",
        "Whitaker Thornton Hughes Bennett Parker Collins Reed Fletcher Barnes Harding Walsh Cooper",
    ),
    "hispanic": (
        "Maria Jose Guadalupe Luis Carmen Alejandro Juan Ximena Diego Lucia Rosa Jorge",
        "Garcia Hernandez Martinez Lopez Gonzalez Rodriguez Ramirez Flores Castillo Vargas Mendoza Rojas",
    ),
    "western_european": (
        "Johannes Friederike Matteo Giulia Pierre Camille Lars Ingrid Sven Femke Joao Beatriz",
        "Schneider Hoffmann Rossi Bianchi Dubois Lefebvre Lindqvist Johansen Jansen Bakker Ferreira Carvalho",
    ),
}


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    values = Values(SEED, sources.first_names()[:20_000], sources.surnames(), sources.cities(), held_out=True)
    texts = [fill(template, values) for template in templates("heldout") for _ in range(12)]
    texts += [fill(template, values) for template in templates("heldout_negative") for _ in range(12)]
    for number, text in enumerate(texts):
        if number % 6 == 5:
            text.text = text.text.lower()
    _write(out / "heldout.jsonl", texts)
    _write(out / "sample.jsonl", texts[::6])
    with (out / "fairness.jsonl").open("w") as file:
        for origin, case, text in _fair():
            entity = {"type": "PERSON", "start": text.spans[0][0], "end": text.spans[0][1]}
            file.write(
                json.dumps({"text": text.text, "entities": [entity], "origin": origin, "case": case}) + "\n"
            )


def _fair() -> Iterator[tuple[str, str, Labelled]]:
    for origin, (firsts, lasts) in {**WESTERN, **ROMANISED}.items():
        pairs = list(zip(firsts.split(), reversed(lasts.split()), strict=False))
        for number, (first, last) in enumerate(pairs[:12]):
            for place, sentence in enumerate(FAIR_SENTENCES):
                name = (f"{first} {last}", first)[(number + place) % 2]
                before, after = sentence.split("{}")
                for case in ("as written", "lower"):
                    made = Labelled(before)
                    made.add(name, "PERSON")
                    made.add(after)
                    if case == "lower":
                        made.text = made.text.lower()
                    yield origin, case, made


def _write(path: Path, texts: list[Labelled]) -> None:
    with path.open("w") as file:
        for text in texts:
            entities = [
                {"type": "UNIQUE_ID" if kind == "ID" else kind, "start": start, "end": end}
                for start, end, kind in sorted(text.spans)
            ]
            file.write(json.dumps({"text": text.text, "entities": entities}) + "\n")


if __name__ == "__main__":
    main()
