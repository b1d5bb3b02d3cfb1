"""How well the guard finds: recall by what stays readable, precision, intervals."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec

from triptych.core.finding import Finding
from triptych.engines.phi.datasets import Example


class Scanner(Protocol):
    def scan(self, texts: Sequence[str]) -> list[list[Finding]]: ...


class Share(msgspec.Struct, frozen=True):
    """A proportion and its Wilson interval of 95 %."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.total:
            return math.nan, math.nan
        z = 1.959964
        ratio = self.hits / self.total
        centre = ratio + z * z / (2 * self.total)
        spread = z * math.sqrt(ratio * (1 - ratio) / self.total + z * z / (4 * self.total**2))
        scale = 1 + z * z / self.total
        return (centre - spread) / scale, (centre + spread) / scale


class TypeScore(msgspec.Struct, frozen=True):
    recall: Share
    """Gold spans of the type of which no letter or digit stays readable."""
    precision: Share
    """Findings of the type that lie on a gold span of any type."""

    @property
    def f2(self) -> float:
        return f_beta(self.precision.value, self.recall.value)


class Report(msgspec.Struct, frozen=True):
    types: dict[str, TypeScore]
    covered: Share
    """All gold spans of which no letter or digit stays readable."""
    fully: Share
    """Texts with identifiers of which all are covered."""
    untouched: Share
    """Texts without identifiers that have no finding."""
    exact_f2: float
    """Spans and types equal, over the gold types only: the measure of CoNLL with recall weighted."""
    overlap_f2: float
    """Covered recall, and precision of findings of the gold types."""
    words: int
    cpu_s: float

    @property
    def cpu_ms_per_50_words(self) -> float:
        return 1000 * self.cpu_s * 50 / self.words if self.words else math.nan


def f_beta(precision: float, recall: float, beta: float = 2.0) -> float:
    below = beta * beta * precision + recall
    return (1 + beta * beta) * precision * recall / below if below > 0 else 0.0


def evaluate(scanner: Scanner, examples: Sequence[Example]) -> Report:
    """Each text is a call of its own, as a request with one message is."""
    began = time.process_time()
    found = [scanner.scan([example.text])[0] for example in examples]
    cpu_s = time.process_time() - began
    gold, covered, named, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    fully = untouched = with_identifiers = exact = 0
    for example, findings in zip(examples, found, strict=True):
        readable = False
        for start, end, kind in example.spans:
            gold[kind] += 1
            if is_covered(example.text, start, end, findings):
                covered[kind] += 1
            else:
                readable = True
            exact += any(one.start == start and one.end == end and one.type == kind for one in findings)
        for finding in findings:
            named[finding.type] += 1
            right[finding.type] += any(
                start < finding.end and finding.start < end for start, end, _ in example.spans
            )
        if example.spans:
            with_identifiers += 1
            fully += not readable
        else:
            untouched += not findings
    types = {
        kind: TypeScore(Share(covered[kind], gold[kind]), Share(right[kind], named[kind]))
        for kind in sorted(gold | named)
    }
    total, hits = gold.total(), covered.total()
    of_gold_types = sum(named[kind] for kind in gold)
    return Report(
        types=types,
        covered=Share(hits, total),
        fully=Share(fully, with_identifiers),
        untouched=Share(untouched, len(examples) - with_identifiers),
        exact_f2=f_beta(exact / of_gold_types if of_gold_types else 0.0, exact / total if total else 0.0),
        overlap_f2=f_beta(
            sum(right[kind] for kind in gold) / of_gold_types if of_gold_types else 0.0,
            hits / total if total else 0.0,
        ),
        words=sum(len(example.text.split()) for example in examples),
        cpu_s=cpu_s,
    )


def is_covered(text: str, start: int, end: int, findings: Sequence[Finding]) -> bool:
    """Whether no letter or digit of the span stays readable."""
    for finding in findings:
        if finding.start >= end:
            break
        if finding.end > start:
            if any(letter.isalnum() for letter in text[start : finding.start]):
                return False
            start = finding.end
    return start >= end or not any(letter.isalnum() for letter in text[start:end])
