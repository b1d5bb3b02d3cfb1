"""The tagger as torch trains it, and as ONNX keeps it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from triptych.engines.phi.tagger import LABELS
from triptych.engines.phi.tokens import AFFIX_BUCKETS, BITS, COLUMNS, PAD, SHAPES

CHANNELS = 64
AFFIX_SIZE = 16
SHAPE_SIZE = 12
DILATIONS = (1, 2, 4, 8)
WEIGHT_LEVELS = 63
"""Of a convolution: seven bits, as processors without VNNI add pairs of products in 16 bits."""
ZERO_OF_TABLES = 128
CUT_OF_TABLES, CUT_OF_STATES = 1e-4, 5e-5
"""The share of the largest values that is cut off, so that the others are told apart better."""
CONTRIBUTED = "com.microsoft"
"""The operators of onnxruntime's own."""


class Block(nn.Module):
    """A convolution of width 3 over (tokens, channels), as one product: much quicker on a CPU than Conv1d."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.mix = nn.Linear(3 * CHANNELS, CHANNELS)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(state, (0, 0, self.dilation, self.dilation))
        return self.mix(torch.cat([padded[: -2 * self.dilation], state, padded[2 * self.dilation :]], -1))

    def as_convolution(self) -> np.ndarray:
        """Weights as (out, in, 3)."""
        return self.mix.weight.detach().numpy().reshape(CHANNELS, 3, CHANNELS).transpose(0, 2, 1)


class Tagger(nn.Module):
    """Embeddings, then residual convolutions over the tokens. The word vectors stay as they came.

    The state of padding is zero after every layer: between two texts of a batch it is what a convolution
    pads a text that stands alone with, so that at run time a text needs no padding.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__()
        self.scale = np.maximum(np.abs(vectors).max(axis=0), 1e-6).astype(np.float32) / 127
        self.quantised = np.clip(np.rint(vectors / self.scale), -127, 127).astype(np.int8)
        self.register_buffer("words", torch.from_numpy(self.quantised.astype(np.float32) * self.scale))
        self.prefix = nn.Embedding(AFFIX_BUCKETS, AFFIX_SIZE, padding_idx=0)
        self.suffix = nn.Embedding(AFFIX_BUCKETS, AFFIX_SIZE, padding_idx=0)
        self.shape = nn.Embedding(SHAPES, SHAPE_SIZE, padding_idx=0)
        for table in (self.prefix, self.suffix, self.shape):
            nn.init.normal_(table.weight, std=0.1)
            with torch.no_grad():
                table.weight[0] = 0
        size = vectors.shape[1] + 2 * AFFIX_SIZE + SHAPE_SIZE + len(BITS)
        self.enter = nn.Linear(size, CHANNELS)
        self.blocks = nn.ModuleList(Block(dilation) for dilation in DILATIONS)
        self.leave = nn.Linear(CHANNELS, LABELS)
        self.dropout = nn.Dropout(0.15)

    def entered(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The state after the first layer, and where there is a token: 1, else 0."""
        lists = ids[:, 4:] >> torch.arange(len(BITS)) & 1
        parts = (
            self.words[ids[:, 0]],
            self.prefix(ids[:, 1]),
            self.suffix(ids[:, 2]),
            self.shape(ids[:, 3]),
            lists.to(self.words.dtype),
        )
        inside = (ids[:, :1] != PAD).to(self.words.dtype)
        return functional.relu(self.enter(self.dropout(torch.cat(parts, -1)))) * inside, inside

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Scores (tokens, labels) of tokens (tokens, columns), numbered from 0 in each column."""
        state, inside = self.entered(ids)
        for block in self.blocks:
            state = state + self.dropout(functional.relu(block(state))) * inside
        return self.leave(state)


def export(model: Tagger, path: Path, sample: torch.Tensor) -> None:
    """The same computation for one text, in whole numbers of 8 bits.

    What is looked up for a token is summed, so each table is kept after the first layer's weights were
    applied to it; the lists that a word stands on are a table of their combinations. ``sample``: a batch of
    texts as the network takes it, from which the ranges of the states are taken.
    """
    constants = []
    nodes = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.array(value), name))
        return name

    def step(name: str, high: float) -> tuple[str, str]:
        """Scale and zero of values of 0 to ``high``. What is less becomes zero, as by the ReLU of the network."""
        return constant(name, np.array(high / 255, dtype=np.float32)), "zero"

    def node(kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    table = np.concatenate(projected(model))
    level = float(np.quantile(np.abs(table), 1 - CUT_OF_TABLES)) / 127
    constant("zero", np.array(0, dtype=np.uint8))
    constant("zeros", np.zeros(CHANNELS, dtype=np.int8))
    constant("table", (np.rint(table / level).clip(-127, 127) + ZERO_OF_TABLES).astype(np.uint8))
    node("Gather", ["table", "ids"], "parts", axis=0)
    first, changes, states = ranges(model, sample)
    scale = step("state_0_step", first)
    # The sum as an average of parts that are counted so many times larger.
    parts = (
        "parts",
        constant("parts_step", np.array(level * COLUMNS, dtype=np.float32)),
        constant("parts_zero", np.array(ZERO_OF_TABLES, dtype=np.uint8)),
    )
    node("QLinearGlobalAveragePool", (*parts, *scale), "entered", CONTRIBUTED, channels_last=1)
    state = node("Reshape", ["entered", constant("one_text", np.array([1, -1, CHANNELS]))], "state_0")
    size = first / 255
    for number, block in enumerate(model.blocks):
        weights = block.as_convolution()
        steps = np.maximum(np.abs(weights).max(axis=(1, 2)), 1e-9) / WEIGHT_LEVELS
        bias = block.mix.bias.detach().numpy() / (size * steps)
        changed = step(f"change_{number}_step", changes[number])
        convolution = (
            constant(f"weights_{number}", np.rint(weights / steps[:, None, None]).astype(np.int8)),
            constant(f"steps_{number}", steps.astype(np.float32)),
            "zeros",
        )
        node(
            "QLinearConv",
            (
                state,
                *scale,
                *convolution,
                *changed,
                constant(f"bias_{number}", np.rint(bias).astype(np.int32)),
            ),
            f"change_{number}",
            CONTRIBUTED,
            channels_last=1,
            kernel_shape=[3],
            dilations=[block.dilation],
            pads=[block.dilation, block.dilation],
        )
        after = step(f"state_{number + 1}_step", states[number])
        state = node(
            "QLinearAdd",
            (state, *scale, f"change_{number}", *changed, *after),
            f"state_{number + 1}",
            CONTRIBUTED,
        )
        scale, size = after, states[number] / 255
    node("DequantizeLinear", (state, *scale), "last")
    node("Reshape", ["last", constant("of_tokens", np.array([-1, CHANNELS]))], "rows")
    leave = [
        constant("leave_w", model.leave.weight.detach().numpy()),
        constant("leave_b", model.leave.bias.detach().numpy()),
    ]
    node("Gemm", ["rows", *leave], "scores", transB=1)
    node("Softmax", ["scores"], "probabilities", axis=1)
    graph = helper.make_graph(
        nodes,
        "phi_tagger",
        [helper.make_tensor_value_info("ids", TensorProto.INT32, ["tokens", COLUMNS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["tokens", LABELS])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIBUTED, 1)]
    made = helper.make_model(graph, opset_imports=opsets, producer_name="triptych")
    made.ir_version = 9
    onnx.save(made, path)


def projected(model: Tagger) -> list[np.ndarray]:
    """What each row of a table adds to the first layer, (rows, channels): in the order that run time expects."""
    weight, bias = model.enter.weight.detach().numpy(), model.enter.bias.detach().numpy()
    combinations = np.arange(1 << len(BITS))[:, None] >> np.arange(len(BITS)) & 1
    embeddings = (
        model.words.numpy(),
        model.prefix.weight.detach().numpy(),
        model.suffix.weight.detach().numpy(),
        model.shape.weight.detach().numpy(),
        combinations.astype(np.float32),
    )
    places = np.cumsum([0, *(table.shape[1] for table in embeddings)])
    tables = [
        table @ weight[:, first:last].T
        for table, first, last in zip(embeddings, places[:-1], places[1:], strict=True)
    ]
    word, prefix, suffix, shape, lists = tables
    # Every token has one row of each table.
    return [lists + bias, shape, prefix, suffix, word]


@torch.no_grad()
def ranges(model: Tagger, ids: torch.Tensor) -> tuple[float, list[float], list[float]]:
    """How large the state gets after the first layer, what each block adds, and the state after it; none is below 0."""
    state, inside = model.entered(ids)
    first = _high(state)
    changes, states = [], []
    for block in model.blocks:
        change = functional.relu(block(state)) * inside
        state = state + change
        changes.append(_high(change))
        states.append(_high(state))
    return first, changes, states


def _high(state: torch.Tensor) -> float:
    return float(np.quantile(state.numpy().ravel(), 1 - CUT_OF_STATES))
