"""The text encoder's tokens: equal for equal words, overlapping for related ones."""

from __future__ import annotations

import torch

from vla_ros.networks.uwm.text import PADDING, TextEncoder, tokenize, word_ids, words_of


def test_case_and_punctuation_do_not_matter():
    assert words_of("Push the RED block, left!") == ["push", "the", "red", "block", "left"]


def test_related_words_share_subwords_and_others_do_not():
    left, leftwards, drawer = (set(word_ids(word, 1 << 20)) for word in ("left", "leftwards", "drawer"))
    assert len(left & leftwards) >= 4
    assert not left & drawer


def test_tokens_are_cut_and_padded_to_length():
    assert len(tokenize(["push"] * 100, 64, 32)) == 32
    assert tokenize(["a"], 64, 32)[-1] == PADDING


def test_padding_does_not_change_the_vector():
    encoder = TextEncoder(64, 8).eval()
    short, long = (torch.tensor([tokenize(["push", "red"], 64, n)]) for n in (64, 128))
    assert torch.allclose(encoder(short), encoder(long), atol=1e-6)
