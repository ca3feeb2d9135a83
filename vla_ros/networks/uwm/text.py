"""A sentence as a bag of words and character n-grams, hashed: small, open to unseen words, trained from scratch.

Bojanowski et al., "Enriching Word Vectors with Subword Information" (arXiv 1607.04606): "leftwards" shares most of
its n-grams with "leftward", so a wording that was never seen still lands near the ones that were.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

PADDING = 0


def words_of(sentence: str) -> list[str]:
    """Lower-case words; punctuation parts them."""
    return re.findall(r"[a-z0-9]+", sentence.lower())


def subwords(word: str) -> list[str]:
    """The word itself with its borders marked, and its n-grams of 3 to 5 characters."""
    marked = f"<{word}>"
    grams = [marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)]
    return [marked, *(gram for gram in grams if gram != marked)]


@lru_cache(maxsize=10_000)
def word_ids(word: str, buckets: int) -> tuple[int, ...]:
    """Hashed subwords of one word; ids in [1, buckets)."""
    return tuple(1 + zlib.crc32(gram.encode()) % (buckets - 1) for gram in subwords(word))


def tokenize(words: Sequence[str], buckets: int, length: int) -> list[int]:
    """Hashed subwords of `words`, cut or padded with PADDING to `length`."""
    ids = [token for word in words for token in word_ids(word, buckets)]
    return (ids + [PADDING] * length)[:length]


class TextEncoder(nn.Module):
    """Token ids -> one vector: the mean of learned embeddings, through a two-layer MLP."""

    def __init__(self, buckets: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(buckets, dim, padding_idx=PADDING)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))
        # Small, so that the n-grams of words never seen in training hardly move the mean.
        nn.init.normal_(self.embedding.weight, std=0.1)
        with torch.no_grad():
            self.embedding.weight[PADDING].zero_()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) int64 -> (B, dim)."""
        count = (tokens != PADDING).sum(dim=1, keepdim=True).clamp(min=1)
        return self.mlp(self.embedding(tokens).sum(dim=1) / count.sqrt())
