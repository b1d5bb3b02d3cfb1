"""Prints the figures of the model card: ``python -m training.emotion.card DATA [--model FILE]``."""

import argparse
import json
from importlib.resources import files
from pathlib import Path

from training.emotion import corpora
from training.emotion.probes import PROBES
from triptych.engines.emotion.engine import EmotionEngine
from triptych.engines.emotion.evaluation import LabelledText, measure, read_dataset
from triptych.engines.emotion.model import Model

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--model", type=Path, default=Path(str(files("triptych.engines.emotion") / "model.npz"))
    )
    arguments = parser.parse_args()
    engine = EmotionEngine(Model.read(arguments.model.read_bytes()))
    figures = measure(engine, read_dataset(arguments.data / "original.dev.tsv")[2713:])
    figures |= measure(engine, read_dataset(arguments.data / "emobank-train-dev.csv", "dev"))
    held, _ = corpora.held_and_rest(corpora.emobank(arguments.data, "train"), corpora.HELD_SENTENCES)
    apart = measure(engine, [LabelledText(r.text, None, r.valence, r.arousal) for r in held])
    figures |= {f"{name}, held out of train": apart[name] for name in ("valence r", "arousal r")}
    figures |= {name: round(probe(engine), 4) for name, probe in PROBES.items()}
    print(json.dumps(figures))
    for name, figure in figures.items():
        print(
            f"{name:28} {figure['value']:.4f} {figure['interval']}"
            if isinstance(figure, dict)
            else f"{name:28} {figure}"
        )
