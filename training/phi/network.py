"""The tagger as torch trains it, and as ONNX keeps it."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from triptych.engines.phi.tagger import LABELS
from triptych.engines.phi.tokens import AFFIX_BUCKETS, BITS, SHAPES

CHANNELS = 64
AFFIX_SIZE = 16
SHAPE_SIZE = 12
DILATIONS = (1, 2, 4, 8)


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
    """Embeddings, then residual convolutions over the tokens. The word vectors stay as they came."""

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

    def forward(self, ids: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        parts = (
            self.words[ids[..., 0]],
            self.prefix(ids[..., 1]),
            self.suffix(ids[..., 2]),
            self.shape(ids[..., 3]),
            bits,
        )
        state = functional.relu(self.enter(self.dropout(torch.cat(parts, -1))))
        for block in self.blocks:
            state = state + self.dropout(functional.relu(block(state)))
        return self.leave(state)


def export(model: Tagger, path: Path) -> None:
    """The same computation for one row of tokens, with the tables as int8 and float16."""
    constants = []
    nodes = []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value.copy(), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weights(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().numpy().astype(np.float32)

    for number, name in enumerate(("word", "prefix", "suffix", "shape")):
        node("Gather", ["ids", constant(f"column_{number}", np.array(number, dtype=np.int64))], name, axis=1)
    node("Gather", [constant("words", model.quantised), "word"], "word_int8", axis=0)
    node("Cast", ["word_int8"], "word_float", to=TensorProto.FLOAT)
    node("Mul", ["word_float", constant("scale", model.scale)], "word_vector")
    parts = ["word_vector"]
    for name, table in (("prefix", model.prefix), ("suffix", model.suffix), ("shape", model.shape)):
        node(
            "Gather",
            [constant(f"{name}_table", weights(table.weight).astype(np.float16)), name],
            f"{name}_half",
            axis=0,
        )
        parts.append(node("Cast", [f"{name}_half"], f"{name}_vector", to=TensorProto.FLOAT))
    node("Concat", [*parts, "bits"], "input", axis=1)
    node(
        "Gemm",
        [
            "input",
            constant("enter_w", weights(model.enter.weight)),
            constant("enter_b", weights(model.enter.bias)),
        ],
        "entered",
        transB=1,
    )
    node("Relu", ["entered"], "rows")
    node("Transpose", ["rows"], "columns", perm=[1, 0])
    state = node("Unsqueeze", ["columns", constant("zero", np.array([0], dtype=np.int64))], "state")
    for number, (block, dilation) in enumerate(zip(model.blocks, DILATIONS, strict=True)):
        inputs = [
            state,
            constant(f"conv_{number}_w", block.as_convolution()),
            constant(f"conv_{number}_b", weights(block.mix.bias)),
        ]
        node(
            "Conv",
            inputs,
            f"conv_{number}",
            kernel_shape=[3],
            dilations=[dilation],
            pads=[dilation, dilation],
        )
        node("Relu", [f"conv_{number}"], f"relu_{number}")
        state = node("Add", [state, f"relu_{number}"], f"state_{number}")
    node("Squeeze", [state, "zero"], "flat")
    node("Transpose", ["flat"], "last", perm=[1, 0])
    node(
        "Gemm",
        [
            "last",
            constant("leave_w", weights(model.leave.weight)),
            constant("leave_b", weights(model.leave.bias)),
        ],
        "scores",
        transB=1,
    )
    node("Softmax", ["scores"], "probabilities", axis=1)
    graph = helper.make_graph(
        nodes,
        "phi_tagger",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT32, ["tokens", 4]),
            helper.make_tensor_value_info("bits", TensorProto.FLOAT, ["tokens", len(BITS)]),
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["tokens", LABELS])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="triptych")
    made.ir_version = 9
    onnx.checker.check_model(made)
    onnx.save(made, path)
