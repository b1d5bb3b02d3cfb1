"""Train the tagger: ``python -m training.phi DATA``; writes the lexicon and the weights into the package.

DATA holds ``phi/wnut17train.conll`` and ``emotion/original.train.tsv``. Same seed, data and machine kind: same weights.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.phi import sources
from training.phi.network import Tagger, export
from training.phi.texts import Labelled, Writer, conll, masked_chat
from training.phi.values import HERE, Values
from triptych.engines.phi import tagger as runtime
from triptych.engines.phi.normalise import plain
from triptych.engines.phi.tokens import COLUMNS, OFFSETS, PAD, UNKNOWN, Features, Lexicon, tokens

ROOT = HERE.parent.parent
OUT = ROOT / "src" / "triptych" / "engines" / "phi" / "weights"
WNUT_KINDS = {"person": "PERSON", "location": "LOCATION"}
MIX = {"clinical": 0.34, "generic": 0.36, "negative": 0.3}
BATCH_TOKENS = 3072
SAMPLE_TOKENS = 40_000
BORDER = runtime.REACH
Row = tuple[np.ndarray, np.ndarray]
"""Features, (tokens, columns), and labels of a text's tokens."""
BETWEEN: Row = (np.full((BORDER, COLUMNS), PAD, dtype=np.int32), np.full(BORDER, -1, dtype=np.int64))
NO_ROW: Row = (np.zeros((0, COLUMNS), dtype=np.int32), np.zeros(0, dtype=np.int64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # more wait for each other longer than they work
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    started = time.monotonic()

    first, last, places = sources.first_names(), sources.surnames(), sources.cities()
    arrays, vectors = sources.lexicon(first, last, places)
    features = Features(Lexicon(**arrays))
    values = Values(options.seed, first[:20_000], last, places)
    writer = Writer(values, MIX)
    wnut = options.data / "phi" / "wnut17train.conll"
    chat = options.data / "emotion" / "original.train.tsv"
    made = [writer.text() for _ in range(options.texts)]
    made += masked_chat(chat, values, most_unmasked=4_000)
    made += conll(wnut, WNUT_KINDS) * 4
    say(f"{len(made)} texts", started)
    rows = [encoded(text, features) for text in made]
    rows = [row for row in rows if len(row[0])]
    say(f"{sum(len(row[0]) for row in rows)} tokens", started)
    model = Tagger(vectors)
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out / "lexicon.npz", **arrays)
    train(model, rows, options, started)
    facts = {
        "seed": options.seed,
        "texts": len(made),
        "epochs": options.epochs,
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (wnut, chat)},
        "templates_sha256": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((HERE / "templates").iterdir())
        },
    }
    (options.out / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
    say("done", started)


def encoded(made: Labelled, features: Features) -> Row:
    text = plain(made.text)
    if len(text.text) != len(made.text):
        return NO_ROW
    split = tokens(text.text)
    if not split.words:
        return NO_ROW
    ids = features.rows(split.words) - np.array(OFFSETS, dtype=np.int32)
    labels = np.zeros(len(split.words), dtype=np.int64)
    position = 0
    for start, end, kind in sorted(made.spans):
        number = runtime.KINDS.index(kind)
        begun = False
        while position < len(split.ends) and split.ends[position] <= start:
            position += 1
        while position < len(split.ends) and split.ends[position] - len(split.words[position]) < end:
            labels[position] = 1 + 2 * number + begun
            begun = True
            position += 1
    return ids, labels


def train(model: Tagger, rows: list[Row], options: argparse.Namespace, started: float) -> None:
    rng = np.random.default_rng(options.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    tokens_of_epoch = sum(len(row[0]) + BORDER for row in rows)
    steps = options.epochs * (tokens_of_epoch // (BATCH_TOKENS) + 2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
    weights = torch.ones(runtime.LABELS)
    weights[0] = 0.8
    loss_of = nn.CrossEntropyLoss(weight=weights, ignore_index=-1, label_smoothing=0.02)
    for epoch in range(options.epochs):
        model.train()
        total = 0.0
        for count, (ids, labels) in enumerate(batches(rows, rng), 1):
            optimizer.zero_grad()
            scores = model(ids)
            loss = loss_of(scores, labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
            if count % 50 == 0:
                say(
                    f"epoch {epoch}, step {count} of {steps // options.epochs}: loss {total / count:.4f}",
                    started,
                )
    model.eval()
    sample = batch([part for row in rows[: SAMPLE_TOKENS // 25] for part in (BETWEEN, row)])
    export(model, options.out / "tagger.onnx", sample[0])


def batches(rows: list[Row], rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Texts in random order, one behind the other with padding between them."""
    packed: list[Row] = []
    for row in (rows[number] for number in rng.permutation(len(rows))):
        packed += (BETWEEN, (dropped(row, rng), row[1]))
        if sum(len(part[0]) for part in packed) >= BATCH_TOKENS:
            yield batch(packed)
            packed = []
    if packed:
        yield batch(packed)


def batch(packed: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    ids, labels = (np.concatenate([*(part[column] for part in packed), BETWEEN[column]]) for column in (0, 1))
    return torch.from_numpy(ids.astype(np.int64)), torch.from_numpy(labels)


def dropped(row: Row, rng: np.random.Generator) -> np.ndarray:
    """Words and lists are dropped at random: context must do without them."""
    ids, labels = row[0].copy(), row[1]
    inside = labels > 0
    ids[rng.random(len(ids)) < np.where(inside, 0.2, 0.04), 0] = UNKNOWN
    ids[rng.random(len(ids)) < np.where(inside, 0.2, 0.05), 4] = 0
    return ids


def say(text: str, started: float) -> None:
    print(f"{time.monotonic() - started:5.0f} s  {text}", flush=True)


if __name__ == "__main__":
    main()
