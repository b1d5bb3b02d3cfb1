"""Trains the emotion model: ``python -m training.emotion.train DATA`` (a folder with GoEmotions and EmoBank files).

Reproducible: one seed decides names, order, dropout and initial weights; the hashes of the data go into the model card.
"""

import argparse
import math
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.emotion import augment, corpora
from training.emotion.lexicon import build_lexicon
from training.emotion.network import Network, to_onnx
from training.emotion.teacher import Judgement, judgements
from training.emotion.words import WordTable, first_vectors, glove
from triptych.engines.emotion.tokens import MARKS, Lexicon, tokenise

TOKENS = 64
STEEPNESS = 1.0  # of the intensity over the neutral logit: the least calibration error on held-out texts
RATE, WORD_RATE = 2.5e-3, 0.6  # the second: of word vectors, as a part of the first
BLEND = 0.8  # of the teacher's judgement, where raters have spoken too: they disagree, the teacher smooths
COMMENT_WEIGHT, FURTHER_WEIGHT = 0.5, 0.6  # of judged texts, beside 1 for those that raters saw
FEATURE_WEIGHT = 5.0  # of what the teacher makes of a text; more of it costs the six labels
LOGIT_OF_SUBTLE = math.log(0.35 / 0.65)
SCORE_WEIGHTS = torch.tensor([1.0] * 6 + [2.0, 1.0])  # neutral decides the intensity
DIMENSION_WEIGHTS = torch.tensor([120.0, 450.0])  # valence varies by .17 among texts, arousal by .07


class Encoded:
    def __init__(
        self, rows: list[corpora.Row], lexicon: Lexicon, table: WordTable, fine: int, features: int
    ) -> None:
        self.ids, self.marks = [], []
        self.counts: Counter[str] = Counter()
        for row in rows:
            keys, marks = tokenise(row.text, lexicon)
            self.counts.update(keys)
            self.ids.append(torch.tensor([table.row(k) for k in keys[:TOKENS]] or [0]))
            self.marks.append(torch.tensor(marks[:TOKENS] or [0]))
        self.lengths = torch.tensor([len(i) for i in self.ids])
        self.scores = torch.tensor([r.scores or [0.0] * 8 for r in rows])
        self.scored = torch.tensor([float(r.scores is not None) * r.weight for r in rows])
        self.fine = torch.zeros(len(rows), fine)
        for i, row in enumerate(rows):
            self.fine[i, row.fine] = 1.0
        self.fined = torch.tensor([float(bool(r.fine)) for r in rows])
        self.dimensions = torch.tensor([[r.valence or 0.0, r.arousal or 0.0] for r in rows])
        self.dimensioned = torch.tensor([r.dimension_weight * float(r.valence is not None) for r in rows])
        self.features = torch.tensor([r.features or [0.0] * features for r in rows])
        self.featured = torch.tensor([r.dimension_weight * float(r.features is not None) for r in rows])

    def batch(self, chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ids = nn.utils.rnn.pad_sequence([self.ids[i] for i in chosen], batch_first=True)
        marks = nn.utils.rnn.pad_sequence([self.marks[i] for i in chosen], batch_first=True)
        return ids, marks, self.lengths[chosen]


class Average:
    """Exponential average of the weights, the last hundred updates or so: what is measured and saved."""

    def __init__(self, model: nn.Module, decay: float = 0.98, every: int = 4) -> None:
        self._weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._decay, self._every, self._step = decay, every, 0

    def update(self, model: nn.Module) -> None:
        self._step += 1
        if self._step % self._every == 0:
            decay = min(self._decay, self._step / (self._step + 40))
            for name, value in model.state_dict().items():
                self._weights[name].lerp_(value, 1 - decay)

    def swap(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Puts the average into the model; returns what was there."""
        live = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self._weights)
        return live


BITS = torch.tensor([1 << b for b in range(MARKS)])


class Model(nn.Module):
    def __init__(self, table: WordTable, fine: int, features: int) -> None:
        super().__init__()
        self.words = nn.Embedding.from_pretrained(torch.tensor(table.vectors), freeze=False, padding_idx=0)
        self.grams = nn.EmbeddingBag.from_pretrained(torch.tensor(table.grams), freeze=False, mode="mean")
        self.known = len(table.words)
        self.table = table
        self.network = Network(self.words.embedding_dim, fine, features)

    def forward(
        self, ids: torch.Tensor, marks: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.network(*self.read(ids, marks, lengths))

    def read(
        self, ids: torch.Tensor, marks: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        unseen = ids >= self.known
        if self.training:  # rare words are sometimes read by their letters
            unseen = unseen | (torch.rand(ids.shape) < self.table.drop[ids])
        x = self.words(torch.where(unseen, 0, ids))
        if unseen.any():
            keys, inverse = torch.unique(ids[unseen], return_inverse=True)
            bags = [self.table.buckets(int(k)) for k in keys]
            offsets = torch.tensor(np.cumsum([0] + [len(b) for b in bags[:-1]]))
            vectors = self.grams(torch.tensor([g for b in bags for g in b]), offsets)
            x = x.masked_scatter(unseen.unsqueeze(-1), vectors[inverse])
        bits = (marks.unsqueeze(-1) & BITS).ne(0).float()
        return torch.cat([x, bits], 2), lengths


def batches(lengths: torch.Tensor, size: int, generator: random.Random) -> list[list[int]]:
    """Batches of like lengths in a random order."""
    order = sorted(range(len(lengths)), key=lambda i: int(lengths[i]) + generator.random() * 4)
    found = [order[i : i + size] for i in range(0, len(order), size)]
    generator.shuffle(found)
    return found


def loss_of(out: tuple[torch.Tensor, ...], data: Encoded, chosen: list[int]) -> torch.Tensor:
    scores, dimensions, fine, features = out
    wanted, weight = data.scores[chosen], data.scored[chosen]
    each = nn.functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
    total = ((each @ SCORE_WEIGHTS) * weight).mean()
    six = wanted[:, :6]
    emotional = (six.sum(1) > 0) * weight
    share = six / six.sum(1, keepdim=True).clamp(min=1)
    cross = -(share * torch.log_softmax(scores[:, :6], 1)).sum(1)
    total = total + 0.5 * (cross * emotional).mean()
    fined = data.fined[chosen]
    finer = nn.functional.binary_cross_entropy_with_logits(fine, data.fine[chosen], reduction="none").sum(1)
    total = total + 0.3 * (finer * fined).mean()
    known = data.dimensioned[chosen].unsqueeze(1)
    difference = torch.nn.functional.mse_loss(dimensions, data.dimensions[chosen], reduction="none")
    total = total + (difference * known * DIMENSION_WEIGHTS).mean()
    apart = torch.nn.functional.mse_loss(features, data.features[chosen], reduction="none").mean(1)
    return total + FEATURE_WEIGHT * (apart * data.featured[chosen]).mean()


def fit_dimensions(model: Model, data: Encoded, epochs: int = 6) -> None:
    """The heads of valence and arousal once more, on features that stay as they are."""
    rated = [i for i in range(len(data.ids)) if data.dimensioned[i] > 0]
    rated.sort(key=lambda i: len(data.ids[i]))
    network = model.network
    model.eval()
    with torch.no_grad():
        parts = [
            network.pool(*model.read(*data.batch(rated[at : at + 256]))) for at in range(0, len(rated), 256)
        ]
        seen = torch.cat(parts)
    wanted, weights = data.dimensions[rated], data.dimensioned[rated][:, None]
    spread, centre = seen.std(0) + 1e-6, seen.mean(0)
    scale, middle = wanted.std(0), wanted.mean(0)
    hidden = nn.Linear(seen.shape[1], network.dense_dimensions.out_features)
    head = nn.Linear(hidden.out_features, 2)
    drop_in, drop_hidden = nn.Dropout(0.3), nn.Dropout(0.3)
    optimiser = torch.optim.AdamW([*hidden.parameters(), *head.parameters()], 2e-3, weight_decay=0.05)
    steps = epochs * -(-len(rated) // 256)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    x, y = (seen - centre) / spread, (wanted - middle) / scale
    for _ in range(epochs):
        for chosen in torch.randperm(len(rated)).split(256):
            out = head(drop_hidden(torch.relu(hidden(drop_in(x[chosen])))))
            loss = ((out - y[chosen]) ** 2 * weights[chosen]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():  # the scales go into the weights
        weight = hidden.weight / spread
        network.dense_dimensions.weight.copy_(weight)
        network.dense_dimensions.bias.copy_(hidden.bias - weight @ centre)
        network.dimensions.weight.copy_(head.weight * scale[:, None])
        network.dimensions.bias.copy_(head.bias * scale + middle)


def infer(model: Model, data: Encoded) -> np.ndarray:
    model.eval()
    out = np.zeros((len(data.ids), 10), np.float32)
    with torch.no_grad():
        for chosen in batches(data.lengths, 256, random.Random(0)):
            scores, dimensions, *_ = model(*data.batch(chosen))
            out[chosen] = torch.cat([scores, dimensions], 1).numpy()
    model.train()
    return out


def report(
    name: str, out: np.ndarray, rows: list[corpora.Row], bank: np.ndarray, bank_rows: list[corpora.Row]
) -> str:
    wanted = np.array([r.scores for r in rows])[:, :7]
    single = (wanted.sum(1) == 1) & (wanted[:, 6] == 0)
    truth, guess = wanted[single, :6].argmax(1), out[single, :6].argmax(1)
    f1 = [
        2 * ((truth == k) & (guess == k)).sum() / max(1, (truth == k).sum() + (guess == k).sum())
        for k in range(6)
    ]
    v = np.corrcoef(bank[:, 8], [r.valence for r in bank_rows])[0, 1]
    a = np.corrcoef(bank[:, 9], [r.arousal for r in bank_rows])[0, 1]
    return f"{name}: accuracy {np.mean(truth == guess):.4f} macro-F1 {np.mean(f1):.4f} valence {v:.4f} arousal {a:.4f}"


def with_judgements(
    rows: list[corpora.Row], bank: list[corpora.Row], found: dict[str, Judgement]
) -> list[corpora.Row]:
    """Gives the comments the teacher's valence and arousal, blends them into those of EmoBank, returns further rows."""
    known = set()
    for row in rows:
        if (judged := found.get(row.text)) is not None:
            row.valence, row.arousal, row.features = judged
            row.dimension_weight = COMMENT_WEIGHT
            known.add(row.text)
    for row in bank:
        judged = found[row.text]
        row.valence = BLEND * judged.valence + (1 - BLEND) * (row.valence or 0.0)
        row.arousal = BLEND * judged.arousal + (1 - BLEND) * (row.arousal or 0.0)
        row.features = judged.features
        known.add(row.text)
    return [
        corpora.Row(text, None, [], v, a, dimension_weight=FURTHER_WEIGHT, features=features)
        for text, (v, a, features) in found.items()
        if text not in known
    ]


def train(folder: Path, judged: Path, seed: int, epochs: int, out: Path) -> None:
    random.seed(seed)
    torch.manual_seed(seed)
    generator = random.Random(seed)
    labels = corpora.fine_labels(folder)
    held, rows = corpora.held_and_rest(corpora.go_emotions(folder, "train"), corpora.HELD_COMMENTS)
    bank_held, bank = corpora.held_and_rest(corpora.emobank(folder, "train"), corpora.HELD_SENTENCES)
    dev, bank_dev = corpora.go_emotions(folder, "dev"), corpora.emobank(folder, "dev")
    held, dev = held + dev[: len(dev) // 2], dev[len(dev) // 2 :]  # calibrated on more, measured on the rest
    for row in bank:
        if abs(row.valence or 0) < 0.06 and (row.arousal or 0) < 0.5:  # plain prose: neutral, weakly
            row.scores, row.weight = [0.05] * 6 + [0.85, 0.05], 0.25
    found, of_words = judgements(judged)
    features = of_words.shape[1]
    further = with_judgements(rows, bank, found)
    vectors, index = glove()
    lexicon, words = build_lexicon([r.text for r in rows + bank], index)
    table = WordTable(words, first_vectors(words, vectors, index, of_words, seed), seed=seed)
    pool = augment.name_pool(lexicon)
    made = augment.rows(generator) + augment.emphasised(rows, generator)
    filled = [
        replace(r, text=corpora.fill_names(r.text, generator, pool)) for r in rows + bank + made + further
    ]
    data = Encoded(filled, lexicon, table, len(labels), features)
    tests = {n: Encoded(r, lexicon, table, len(labels), features) for n, r in
             (("held", held), ("bank_held", bank_held), ("dev", dev), ("bank_dev", bank_dev))}  # fmt: skip
    table.drop_rare(data.counts)
    model = Model(table, len(labels), features)
    print(f"{len(table.words)} words, {len(filled)} rows", flush=True)
    slow = [p for n, p in model.named_parameters() if n.startswith(("words", "grams"))]
    fast = [p for n, p in model.named_parameters() if not n.startswith(("words", "grams"))]
    optimiser = torch.optim.AdamW([{"params": slow, "lr": 1e-3, "weight_decay": 0.0}, {"params": fast, "lr": 2e-3}],
                                  weight_decay=0.01, fused=True)  # fmt: skip
    steps = epochs * (len(filled) // 128 + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [WORD_RATE * RATE, RATE], total_steps=steps + epochs, pct_start=0.2
    )
    average = Average(model)
    for epoch in range(epochs):
        started, total = time.time(), 0.0
        for chosen in batches(data.lengths, 128, generator):
            loss = loss_of(model(*data.batch(chosen)), data, chosen)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            average.update(model)
            total += loss.item()
        live = average.swap(model)
        print(
            f"epoch {epoch}: {total / (len(filled) / 128):.4f} in {time.time() - started:.0f} s", flush=True
        )
        print(
            report("held", infer(model, tests["held"]), held, infer(model, tests["bank_held"]), bank_held),
            flush=True,
        )
        if epoch + 1 < epochs:
            model.load_state_dict(live)
    fit_dimensions(model, data)
    on_held, on_dev, on_bank = (infer(model, tests[name]) for name in ("held", "dev", "bank_dev"))
    print(report("held", on_held, held, infer(model, tests["bank_held"]), bank_held), flush=True)
    print(report("dev", on_dev, dev, on_bank, bank_dev), flush=True)
    calibration = calibrate(on_held, np.array([r.scores for r in held]))
    gate = fit_gate(len(held), np.concatenate([on_held, on_dev]), np.array([r.scores for r in held + dev]))
    save(model, table, lexicon, calibration, gate, out)


def calibrate(logits: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Per score (scale, offset, weight of the neutral logit): logistic regression on held-out rows.

    The neutral logit may only damp the six emotions; it says nothing to neutral itself and to wonder.
    """
    z, y = torch.tensor(logits), torch.tensor(wanted, dtype=torch.float32)
    fitted = [_fit(z[:, label], z[:, 6] * float(label < 6), y[:, label]) for label in range(8)]
    return np.array(
        [[scale, offset, damping * (label < 6)] for label, (scale, offset, damping) in enumerate(fitted)]
    )


def fit_gate(fitted: int, logits: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights [8] and offset, over the logits, of the logit of being felt: at its bound a text has the intensity .35.

    The weights: logistic regression of felt against neutral on the first ``fitted`` rows, scaled to ``STEEPNESS`` over
    the neutral logit. The bound, one number, on all rows: as many neutral texts below as felt ones above.
    """
    neutral = (wanted[:, 6] == 1) & (wanted[:, :6].sum(1) == 0)
    felt = (wanted[:, 6] == 0) & (wanted[:, :6].sum(1) == 1)
    chosen = (neutral | felt) & (np.arange(len(logits)) < fitted)
    z, y = torch.tensor(logits[chosen, :8]), torch.tensor(felt[chosen], dtype=torch.float32)
    weights = torch.zeros(9, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(z @ weights[:8] + weights[8], y)
        loss.backward()
        return loss

    optimiser.step(closure)
    found = weights.detach().numpy()[:8]
    found *= -STEEPNESS / found[6]
    signal = logits[:, :8] @ found
    bounds = np.quantile(signal, np.linspace(0.05, 0.95, 400))
    bound = max(bounds, key=lambda t: min((signal[neutral] < t).mean(), (signal[felt] >= t).mean()))
    return found, float(LOGIT_OF_SUBTLE - bound)


def _fit(own: torch.Tensor, neutral: torch.Tensor, wanted: torch.Tensor) -> list[float]:
    fitted = torch.tensor([1.0, 0.0, 0.5], requires_grad=True)
    optimiser = torch.optim.LBFGS([fitted], max_iter=100)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        z = fitted[0] * own + fitted[1] - torch.relu(fitted[2]) * neutral
        loss = nn.functional.binary_cross_entropy_with_logits(z, wanted)
        loss.backward()
        return loss

    optimiser.step(closure)
    scale, offset, damping = fitted.tolist()
    return [scale, offset, -max(0.0, damping)]


def save(
    model: Model,
    table: WordTable,
    lexicon: Lexicon,
    calibration: np.ndarray,
    gate: tuple[np.ndarray, float],
    path: Path,
) -> None:
    vectors, grams = (m.weight.detach().numpy() for m in (model.words, model.grams))
    scale, grams_scale = (float(np.abs(x).max()) / 127 for x in (vectors, grams))
    np.savez_compressed(
        path,
        words=np.frombuffer("\n".join(table.words).encode(), np.uint8),
        names=np.frombuffer("\n".join(sorted(lexicon.names)).encode(), np.uint8),
        maybe=np.frombuffer("\n".join(sorted(lexicon.maybe_names)).encode(), np.uint8),
        table=np.pad(np.round(vectors / scale).astype(np.int8), ((0, 0), (0, MARKS))),
        grams=np.round(grams / grams_scale).astype(np.int8),
        grams_scale=np.float32(grams_scale / scale),
        network=np.frombuffer(to_onnx(model.network, scale, calibration, gate), np.uint8),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("src/triptych/engines/emotion/model.npz"))
    parser.add_argument("--judgements", type=Path, default=Path("build/emotion-judgements.npz"),
                        help="what training.emotion.teacher wrote")  # fmt: skip
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train(arguments.data, arguments.judgements, arguments.seed, arguments.epochs, arguments.out)
