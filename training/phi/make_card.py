"""Write the model card from the committed weights: ``python -m training.phi.make_card DATA``.

DATA holds ``phi/clinical-queries-dev.txt`` and ``phi/emerging.dev.conll``, neither of which was trained on.
"""

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from training.phi import make_sets
from training.phi.evasion import cases
from training.phi.values import HERE
from triptych.engines.phi import evaluation
from triptych.engines.phi.datasets import Example, kind, read
from triptych.engines.phi.evaluation import Report, Share
from triptych.engines.phi.recognise import Recogniser

ENGINE = HERE.parent.parent / "src" / "triptych" / "engines" / "phi"
CARD = ENGINE / "MODEL_CARD.md"


def main() -> None:
    data = Path(sys.argv[1])
    recogniser = Recogniser.load()
    made = Path(tempfile.mkdtemp())
    sys.argv = ["make_sets", str(made)]
    make_sets.main()
    (ENGINE / "weights" / "sample.jsonl").write_bytes((made / "sample.jsonl").read_bytes())
    sets = {
        "clinical queries (dev half)": data / "phi" / "clinical-queries-dev.txt",
        "second set: templates and names not used in training": made / "heldout.jsonl",
        "noisy posts (WNUT-17 dev)": data / "phi" / "emerging.dev.conll",
    }
    reports = {name: evaluation.evaluate(recogniser, read(path)) for name, path in sets.items()}
    facts = json.loads((ENGINE / "weights" / "training.json").read_text())
    text = (HERE / "card.md").read_text()
    for slot, value in {
        "summary": _summary(reports),
        "types": "\n\n".join(f"### {name}\n\n{_types(report)}" for name, report in reports.items()),
        "fairness": _fairness(recogniser, made / "fairness.jsonl"),
        "evasion": _evasion(recogniser),
        "facts": json.dumps(facts, indent=2),
    }.items():
        text = text.replace(f"<!-- {slot} -->", value)
    CARD.write_text(text)
    print(text)


def _share(share: Share) -> str:
    if not share.total:
        return "-"
    low, high = share.interval
    return f"{share.value:.3f} ({low:.3f}-{high:.3f})"


def _summary(reports: dict[str, Report]) -> str:
    rows = [
        "| set | covered recall | texts fully redacted | identifier-free untouched | F2 overlap | F2 exact |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {name} | {_share(report.covered)} | {_share(report.fully)} | {_share(report.untouched)} | {report.overlap_f2:.3f} | {report.exact_f2:.3f} |"
        for name, report in reports.items()
    ]
    return "\n".join(rows)


def _types(report: Report) -> str:
    rows = ["| type | gold | covered recall | precision | F2 |", "|---|---|---|---|---|"]
    rows += [
        f"| {name} | {score.recall.total} | {_share(score.recall)} | {_share(score.precision)} | {f'{score.f2:.3f}' if score.recall.total else '-'} |"
        for name, score in report.types.items()
    ]
    return "\n".join(rows)


def _fairness(recogniser: Recogniser, path: Path) -> str:
    groups: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for line in path.read_text().splitlines():
        given = json.loads(line)
        spans = tuple((one["start"], one["end"], kind(one["type"])) for one in given["entities"])
        groups[given["origin"], given["case"]].append(Example(given["text"], spans))
    shares = {key: evaluation.evaluate(recogniser, examples).covered for key, examples in groups.items()}
    rows = ["| origin of the name | as written | lower case |", "|---|---|---|"]
    rows += [
        f"| {origin.replace('_', ' ')} | {_share(shares[origin, 'as written'])} | {_share(shares[origin, 'lower'])} |"
        for origin in dict.fromkeys(origin for origin, _ in groups)
    ]
    return "\n".join(rows)


def _evasion(recogniser: Recogniser) -> str:
    hits: dict[str, list[bool]] = defaultdict(list)
    for case in cases():
        found = recogniser.scan(case.texts)
        hits[case.technique].append(
            all(
                evaluation.is_covered(case.texts[text], start, end, found[text])
                for text, start, end in case.spans
            )
        )
    rows = ["| technique | covered |", "|---|---|"]
    rows += [f"| {technique} | {sum(covered)} of {len(covered)} |" for technique, covered in hits.items()]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
