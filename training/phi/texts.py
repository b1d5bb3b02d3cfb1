"""Labelled texts for training: templates filled, masked chat filled, tagged posts."""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

from training.phi.values import HERE, Values
from triptych.engines.phi.normalise import plain

_PART = re.compile(r"\{(\w+)\}|\(([^()]*\|[^()]*)\)|\\n|(?<=.)@\{user\}")
_WRAPS = (
    "Q: {}",
    "User: {}",
    "- {}",
    "> {}",
    "* {}",
    "**{}**",
    '"{}"',
    "({})",
    "{} Thanks!",
    "{} Please advise.",
    "Hi, {}",
    "Question: {}",
    "{}\n",
    "Note: {}",
    "hey {}",
    "1) {}",
)
_TYPO_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Labelled:
    """A text and its identifiers as (start, end, kind)."""

    text: str
    spans: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, text: str, kind: str | None = None) -> None:
        if kind is not None and text:
            self.spans.append((len(self.text), len(self.text) + len(text), kind))
        self.text += text

    def append(self, other: "Labelled", between: str) -> None:
        offset = len(self.text) + len(between)
        self.text += between + other.text
        self.spans += [(start + offset, end + offset, kind) for start, end, kind in other.spans]


def templates(name: str) -> list[str]:
    return [line for line in (HERE / "templates" / f"{name}.txt").read_text().splitlines() if line.strip()]


def fill(template: str, values: Values) -> Labelled:
    """Choose among alternatives, fill the slots; ``\\n`` is an end of line."""
    made = Labelled("")
    place = 0
    for match in _PART.finditer(template):
        made.add(template[place : match.start()])
        place = match.end()
        if match.group(1):
            value = values.slots[match.group(1)]()
            made.add(value.text, value.kind)
        elif match.group(2):
            inner = fill(values.random.choice(match.group(2).split("|")), values)
            made.append(inner, "")
        else:
            made.add("\n")
    made.add(template[place:])
    return made


class Writer:
    """Endless labelled texts from template files, with the noise of real ones."""

    def __init__(self, values: Values, mix: dict[str, float]) -> None:
        self.values, self.random = values, values.random
        self.files = {name: templates(name) for name in mix}
        self.mix = mix

    def sentence(self) -> Labelled:
        name = self.random.choices(list(self.mix), list(self.mix.values()))[0]
        return fill(self.random.choice(self.files[name]), self.values)

    def text(self) -> Labelled:
        made = self.sentence()
        for _ in range(self.random.choice((0, 0, 0, 0, 1, 1, 2, 3))):
            made.append(self.sentence(), self.random.choice((" ", " ", "\n", "\n\n", ". ")))
        return noisy(made, self.random)


def noisy(made: Labelled, rng: random.Random) -> Labelled:
    if rng.random() < 0.12:
        before, _, after = rng.choice(_WRAPS).partition("{}")
        wrapped = Labelled(before)
        wrapped.append(made, "")
        wrapped.add(after)
        made = wrapped
    draw = rng.random()
    if draw < 0.17:
        made.text = made.text.lower()
    elif draw < 0.2:
        made.text = made.text.upper()
    elif draw < 0.22:
        made.text = made.text.title()
    elif draw < 0.26:
        made.text = "".join(" " if letter in ",." and rng.random() < 0.7 else letter for letter in made.text)
    elif draw < 0.3:
        # Only the identifiers lose their capitals, as people type.
        letters = list(made.text)
        for start, end, _ in made.spans:
            letters[start:end] = made.text[start:end].lower()
        made.text = "".join(letters)
    if rng.random() < 0.06 and made.text:
        letters = list(made.text)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(letters))
            if letters[place].islower():
                letters[place] = rng.choice(_TYPO_LETTERS)
        made.text = "".join(letters)
    return made


def masked_chat(path: Path, values: Values, most_unmasked: int) -> list[Labelled]:
    """GoEmotions: its [NAME] filled; texts without a mask as they are. Columns: text, labels, id."""
    found: list[Labelled] = []
    unmasked: list[Labelled] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = plain(line.split("\t")[0]).text
        if "[NAME]" not in text:
            if "[RELIGION]" not in text:
                unmasked.append(Labelled(text))
            continue
        text = text.replace(
            "[RELIGION]",
            values.random.choice(("Christian", "Catholic", "Muslim", "Buddhist", "Christianity", "Islam")),
        )
        made = Labelled("")
        for number, part in enumerate(text.split("[NAME]")):
            if number:
                draw = values.random.random()
                name = (
                    values.first()
                    if draw < 0.45
                    else values.last()
                    if draw < 0.65
                    else f"{values.first()} {values.last()}"
                )
                made.add(name, "PERSON")
            made.add(part)
        found.append(noisy(made, values.random))
    values.random.shuffle(unmasked)
    return found + [noisy(made, values.random) for made in unmasked[:most_unmasked]]


def conll(path: Path, kinds: dict[str, str]) -> list[Labelled]:
    """Token, tab, BIO tag; sentences parted by empty lines."""
    found: list[Labelled] = []
    made = Labelled("")
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        token, _, tag = line.strip().partition("\t")
        if not token:
            if made.text:
                found.append(made)
            made = Labelled("")
            continue
        token = plain(token).text or "_"
        kind = kinds.get(tag[2:])
        if made.text:
            made.text += " "
        start = len(made.text)
        made.text += token
        if (
            kind
            and tag[0] == "I"
            and made.spans
            and made.spans[-1][1] == start - 1
            and made.spans[-1][2] == kind
        ):
            made.spans[-1] = (made.spans[-1][0], len(made.text), kind)
        elif kind:
            made.spans.append((start, len(made.text), kind))
    return found
