"""The network, in torch for training and as an ONNX graph of the same arithmetic for use."""

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.emotion.corpora import NEUTRAL
from triptych.engines.emotion.tokens import MARKS

SCORES = 8  # six emotions, neutral, wonder
_NOT_THERE = -1e9


class Network(nn.Module):
    """Word vectors and marks -> convolution of width 3 -> GRU, forward -> attention, maximum and mean of both -> heads.

    One direction is enough: the convolution sees a word ahead, and the pooling sees the whole text.
    """

    def __init__(
        self, width: int, fine_labels: int, features: int, channels: int = 80, hidden: int = 48
    ) -> None:
        """``features``: how many numbers of the teacher are learnt beside its judgements."""
        super().__init__()
        self.convolution = nn.Conv1d(width + MARKS, channels, 3, padding=1)
        self.gru = nn.GRU(channels, hidden, batch_first=True)
        self.attention = nn.Linear(hidden + channels, 1)
        pooled = 3 * (hidden + channels)
        self.dense = nn.Linear(pooled, 96)
        self.scores = nn.Linear(96, SCORES)
        self.dense_dimensions = nn.Linear(pooled, 96)
        self.dimensions = nn.Linear(96, 2)
        # Only to train: finer labels, and what the teacher makes of a text, shape what the heads see.
        self.fine = nn.Linear(96, fine_labels)
        self.features = nn.Linear(pooled, features)
        self.drop_words, self.drop_channels = nn.Dropout(0.2), nn.Dropout(0.1)
        self.drop_pooled, self.drop_dense = nn.Dropout(0.3), nn.Dropout(0.2)

    def pool(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """[texts, 3 (hidden + channels)]: what the heads see of a text."""
        mask = (torch.arange(x.shape[1])[None, :] < lengths[:, None]).unsqueeze(-1)
        x = self.drop_words(x) * mask  # what pads is nothing, to the convolution too
        c = self.drop_channels(torch.relu(self.convolution(x.transpose(1, 2)))).transpose(1, 2)
        h = torch.cat([self.gru(c)[0], c], 2)
        largest = h.masked_fill(~mask, _NOT_THERE).amax(1)
        mean = (h * mask).sum(1) / lengths[:, None]
        weights = torch.softmax(self.attention(h).masked_fill(~mask, _NOT_THERE), 1)
        return torch.cat([largest, mean, (h * weights).sum(1)], 1)

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        pooled = self.pool(x, lengths)
        d = self.drop_dense(torch.relu(self.dense(self.drop_pooled(pooled))))
        e = self.drop_dense(torch.relu(self.dense_dimensions(self.drop_pooled(pooled))))
        return self.scores(d), self.dimensions(e), self.fine(d), self.features(pooled)


def _gates(weight: np.ndarray) -> np.ndarray:
    """Torch orders the gates r, z, n; ONNX z, r, h."""
    r, z, n = np.split(weight, 3)
    return np.concatenate([z, r, n])


def _heads(
    state: dict[str, np.ndarray], calibration: np.ndarray, gate: tuple[np.ndarray, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [11, 96 + 96] and offsets [11] of both heads, calibrated: zeros between, for neither reads the other's."""
    scores, dimensions = state["scores.weight"], state["dimensions.weight"]
    heads = np.zeros((SCORES + 2, scores.shape[1] + dimensions.shape[1]))
    heads[:SCORES, : scores.shape[1]] = scores
    heads[SCORES:, scores.shape[1] :] = dimensions
    offsets = np.concatenate([state["scores.bias"], state["dimensions.bias"]])
    mix, shift = np.zeros((SCORES + 3, SCORES + 2)), np.zeros(SCORES + 3)
    mix[:SCORES, :SCORES] = np.diag(calibration[:, 0])
    mix[:SCORES, NEUTRAL] += calibration[:, 2]
    shift[:SCORES] = calibration[:, 1]
    mix[SCORES, SCORES] = mix[SCORES + 1, SCORES + 1] = 1.0
    mix[SCORES + 2, :SCORES], shift[SCORES + 2] = gate
    return mix @ heads, mix @ offsets + shift


def to_onnx(network: Network, scale: float, calibration: np.ndarray, gate: tuple[np.ndarray, float]) -> bytes:
    """The graph in use: word vectors come in steps of ``scale``, and what calibrates is part of the last product.

    ``calibration`` float [8, 3]: scale, offset and weight of the neutral logit, per score; ``gate``: weights
    [8] and offset, over the logits, of the logit of being felt.

    Output float32 [batch, 11]: calibrated logits of the eight scores, valence, arousal, logit of being felt. Inputs: ``x``
    float32 [tokens, batch, 3 (width + marks)] (the token before, the token, the one after it; zeros where there is none),
    ``mask`` float32 [tokens, batch, 1] (0, or very low where a text is shorter) and ``shares`` float32 [tokens, batch, 1]
    (1 / length, or 0 where a text is shorter).

    Every operation of a graph costs microseconds however small it is: time comes first, as the GRU wants it; the
    convolution is a product with three tokens side by side; both heads are one product, the second with zeros between.
    """
    state = {k: v.detach().numpy().astype(np.float32) for k, v in network.state_dict().items()}
    constants: list[object] = []

    def constant(name: str, value: object, dtype: object = np.float32) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    kernel = state["convolution.weight"]  # [channels, width, 3]
    channels, width, _ = kernel.shape
    kernel[:, : width - MARKS] *= scale
    hidden = network.gru.hidden_size
    bias = np.concatenate([_gates(state["gru.bias_ih_l0"]), _gates(state["gru.bias_hh_l0"])])
    dense = [
        np.concatenate([state[f"dense.{kind}"], state[f"dense_dimensions.{kind}"]])
        for kind in ("weight", "bias")
    ]
    heads, offsets = _heads(state, calibration, gate)
    n = helper.make_node
    nodes = [
        n("MatMul", ["x", constant("cw", kernel.transpose(2, 1, 0).reshape(3 * width, channels))], ["c0"]),
        n("Add", ["c0", constant("cb", state["convolution.bias"])], ["c1"]),
        n("Relu", ["c1"], ["c"]),
        n("GRU", ["c", constant("w", _gates(state["gru.weight_ih_l0"])[None]),
                  constant("r", _gates(state["gru.weight_hh_l0"])[None]), constant("b", bias[None])], ["g0"],
          hidden_size=hidden, linear_before_reset=1),
        n("Reshape", ["g0", constant("shape", [0, -1, hidden], np.int64)], ["g"]),
        n("Concat", ["g", "c"], ["h"], axis=2),
        n("Add", ["h", "mask"], ["m0"]),
        n("ReduceMax", ["m0"], ["largest"], axes=[0], keepdims=0),
        n("Mul", ["h", "shares"], ["s0"]),
        n("ReduceSum", ["s0", constant("axis", [0], np.int64)], ["mean"], keepdims=0),
        n("MatMul", ["h", constant("aw", state["attention.weight"].T)], ["a0"]),
        n("Add", ["a0", "mask"], ["a1"]),
        n("Softmax", ["a1"], ["a2"], axis=0),
        n("Mul", ["h", "a2"], ["a3"]),
        n("ReduceSum", ["a3", "axis"], ["attended"], keepdims=0),
        n("Concat", ["largest", "mean", "attended"], ["p"], axis=1),
        n("Gemm", ["p", constant("dw", dense[0]), constant("db", dense[1])], ["d0"], transB=1),
        n("Relu", ["d0"], ["d"]),
        n("Gemm", ["d", constant("hw", heads), constant("hb", offsets)], ["y"], transB=1),
    ]  # fmt: skip
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "emotion",
        [
            helper.make_tensor_value_info("x", float32, ["tokens", "batch", 3 * width]),
            helper.make_tensor_value_info("mask", float32, ["tokens", "batch", 1]),
            helper.make_tensor_value_info("shares", float32, ["tokens", "batch", 1]),
        ],
        [helper.make_tensor_value_info("y", float32, ["batch", SCORES + 3])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="triptych")
    model.ir_version = 9
    return model.SerializeToString()
