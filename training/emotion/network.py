"""The network, in torch for training and as an ONNX graph of the same arithmetic for use."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from triptych.engines.emotion.tokens import MARKS

SCORES = 8  # six emotions, neutral, wonder


class Network(nn.Module):
    """Word vectors and marks -> convolution -> bidirectional GRU -> attention, maximum and mean -> heads."""

    def __init__(self, width: int, fine_labels: int, channels: int = 64, hidden: int = 48) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width + MARKS, channels, 3, padding=1)
        self.gru = nn.GRU(channels, hidden, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(2 * hidden, 1)
        self.dense = nn.Linear(6 * hidden, 96)
        self.scores = nn.Linear(96, SCORES)
        self.dense_dimensions = nn.Linear(6 * hidden + 3 * (width + MARKS) + 1, 48)
        self.dimensions = nn.Linear(48, 2)
        self.fine = nn.Linear(96, fine_labels)  # only to train: finer labels shape the features
        self.drop_words, self.drop_channels = nn.Dropout(0.2), nn.Dropout(0.1)
        self.drop_pooled, self.drop_dense = nn.Dropout(0.3), nn.Dropout(0.2)

    def pool(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """[texts, 6 hidden]: what the heads see of a text."""
        mask = (torch.arange(x.shape[1])[None, :] < lengths[:, None]).unsqueeze(-1)
        x = self.drop_words(x) * mask  # what pads is nothing, to the convolution too
        c = self.drop_channels(torch.relu(self.convolution(x.transpose(1, 2)))).transpose(1, 2)
        packed = pack_padded_sequence(c, lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.shape[1])
        weights = torch.softmax(self.attention(h).masked_fill(~mask, -1e9), 1)
        attended = (h * weights).sum(1)
        largest = h.masked_fill(~mask, -1e9).amax(1)
        mean = h.sum(1) / lengths[:, None]
        return torch.cat([attended, largest, mean], 1)

    @staticmethod
    def surface(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """[texts, 3 (width + marks) + 1]: mean, maximum and minimum of the words themselves, and the length.

        Valence and arousal are learnt from few texts: they profit from the words without the context.
        """
        mask = (torch.arange(x.shape[1])[None, :] < lengths[:, None]).unsqueeze(-1)
        x = x * mask
        low = (~mask).float() * -1e9
        mean = x.sum(1) / lengths[:, None]
        return torch.cat(
            [mean, (x + low).amax(1), (x - low).amin(1), -torch.log(lengths.float())[:, None]], 1
        )

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pooled = self.drop_pooled(self.pool(x, lengths))
        d = self.drop_dense(torch.relu(self.dense(pooled)))
        seen = torch.cat([pooled, self.drop_pooled(self.surface(x, lengths))], 1)
        e = self.drop_dense(torch.relu(self.dense_dimensions(seen)))
        return self.scores(d), self.dimensions(e), self.fine(d)


def _gates(weight: np.ndarray) -> np.ndarray:
    """Torch orders the gates r, z, n; ONNX z, r, h."""
    r, z, n = np.split(weight, 3)
    return np.concatenate([z, r, n])


def to_onnx(network: Network) -> bytes:
    """Output float32 [batch, 10] of inputs ``x`` float32 [batch, tokens, width + marks] (zeros where a text is shorter),
    ``lengths`` int32 [batch], ``mask`` float32 [batch, tokens, 1] (0, or very low where a text is shorter) and ``shares``
    float32 [batch, 1] (1 / length): what numpy makes in no time costs a graph many small operations.
    """
    state = {k: v.detach().numpy().astype(np.float32) for k, v in network.state_dict().items()}
    hidden = network.gru.hidden_size
    constants: list[object] = []

    def constant(name: str, value: object, dtype: object = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    both = ("", "_reverse")
    w = np.stack([_gates(state[f"gru.weight_ih_l0{d}"]) for d in both])
    r = np.stack([_gates(state[f"gru.weight_hh_l0{d}"]) for d in both])
    b = np.stack(
        [
            np.concatenate([_gates(state[f"gru.bias_ih_l0{d}"]), _gates(state[f"gru.bias_hh_l0{d}"])])
            for d in both
        ]
    )
    n = helper.make_node
    nodes = [
        n("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        n("Conv", ["xt", constant("cw", state["convolution.weight"]), constant("cb", state["convolution.bias"])],
          ["c0"], kernel_shape=[3], pads=[1, 1]),
        n("Relu", ["c0"], ["c1"]),
        n("Transpose", ["c1"], ["g1"], perm=[2, 0, 1]),
        n("GRU", ["g1", constant("w", w), constant("r", r), constant("b", b), "lengths"], ["h0"],
          hidden_size=hidden, direction="bidirectional", linear_before_reset=1),
        n("Transpose", ["h0"], ["h1"], perm=[2, 0, 1, 3]),
        n("Reshape", ["h1", constant("shape", [0, 0, 2 * hidden], np.int64)], ["h"]),
        n("MatMul", ["h", constant("aw", state["attention.weight"].T)], ["a0"]),
        n("Add", ["a0", "mask"], ["a1"]),
        n("Softmax", ["a1"], ["a2"], axis=1),
        n("Mul", ["h", "a2"], ["a3"]),
        n("ReduceSum", ["a3", constant("axis1", [1], np.int64)], ["attended"], keepdims=0),
        n("Add", ["h", "mask"], ["m0"]),
        n("ReduceMax", ["m0"], ["largest"], axes=[1], keepdims=0),
        n("ReduceSum", ["h", "axis1"], ["s0"], keepdims=0),
        n("Mul", ["s0", "shares"], ["mean"]),
        n("Concat", ["attended", "largest", "mean"], ["p"], axis=1),
        n("Gemm", ["p", constant("dw", state["dense.weight"]), constant("db", state["dense.bias"])], ["d0"], transB=1),
        n("Relu", ["d0"], ["d1"]),
        n("Gemm", ["d1", constant("hw", state["scores.weight"]), constant("hb", state["scores.bias"])], ["scores"],
          transB=1),
        n("ReduceSum", ["x", "axis1"], ["x0"], keepdims=0),
        n("Mul", ["x0", "shares"], ["x_mean"]),
        n("Add", ["x", "mask"], ["x1"]),
        n("ReduceMax", ["x1"], ["x_largest"], axes=[1], keepdims=0),
        n("Sub", ["x", "mask"], ["x2"]),
        n("ReduceMin", ["x2"], ["x_least"], axes=[1], keepdims=0),
        n("Log", ["shares"], ["x_length"]),
        n("Concat", ["p", "x_mean", "x_largest", "x_least", "x_length"], ["q"], axis=1),
        n("Gemm", ["q", constant("ew", state["dense_dimensions.weight"]), constant("eb", state["dense_dimensions.bias"])],
          ["e0"], transB=1),
        n("Relu", ["e0"], ["e1"]),
        n("Gemm", ["e1", constant("gw", state["dimensions.weight"]), constant("gb", state["dimensions.bias"])],
          ["dimensions"], transB=1),
        n("Concat", ["scores", "dimensions"], ["y"], axis=1),
    ]  # fmt: skip
    width = state["convolution.weight"].shape[1]
    graph = helper.make_graph(
        nodes,
        "emotion",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "tokens", width]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", "tokens", 1]),
            helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["batch", 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", SCORES + 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="triptych")
    model.ir_version = 9
    return model.SerializeToString()


def from_onnx(data: bytes, fine_labels: int) -> Network:
    """The network of a graph that ``to_onnx`` made; the head of finer labels, which no graph has, begins anew."""
    k = {i.name: numpy_helper.to_array(i) for i in onnx.load_from_string(data).graph.initializer}
    hidden = k["r"].shape[2]
    network = Network(k["cw"].shape[1] - MARKS, fine_labels, k["cw"].shape[0], hidden)
    state = {
        "convolution.weight": k["cw"],
        "convolution.bias": k["cb"],
        "attention.weight": k["aw"].T,
        "dense.weight": k["dw"],
        "dense.bias": k["db"],
        "scores.weight": k["hw"],
        "scores.bias": k["hb"],
        "dense_dimensions.weight": k["ew"],
        "dense_dimensions.bias": k["eb"],
        "dimensions.weight": k["gw"],
        "dimensions.bias": k["gb"],
    }
    for at, suffix in enumerate(("", "_reverse")):
        bias_in, bias_hidden = np.split(k["b"][at], 2)
        state |= {
            f"gru.weight_ih_l0{suffix}": _torch_gates(k["w"][at]),
            f"gru.weight_hh_l0{suffix}": _torch_gates(k["r"][at]),
            f"gru.bias_ih_l0{suffix}": _torch_gates(bias_in),
            f"gru.bias_hh_l0{suffix}": _torch_gates(bias_hidden),
        }
    network.load_state_dict(
        {name: torch.tensor(np.array(value)) for name, value in state.items()}, strict=False
    )
    return network


def _torch_gates(weight: np.ndarray) -> np.ndarray:
    z, r, n = np.split(weight, 3)
    return np.concatenate([r, z, n])
