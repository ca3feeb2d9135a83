"""Words of the tiny backbone: one id a word, one for all unknown words, and the end of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_ros.core.errors import MessageError, ModelError
from vla_ros.core.files import write_whole
from vla_ros.core.streams.admission import check_order
from vla_ros.core.strict_json import load_json
from vla_ros.networks.uwm.text import words_of

FILE = "words.json"
PADDING, UNKNOWN, END = 0, 1, 2
FIRST = 3  # id of the first word


@dataclass(frozen=True, slots=True)
class Words:
    """The words that a model knows, in the order of their ids."""

    known: tuple[str, ...]

    @property
    def count(self) -> int:
        """Ids, those without a word included."""
        return FIRST + len(self.known)

    def encode(self, words: Sequence[str]) -> list[int]:
        """Words -> ids; a word never seen is UNKNOWN."""
        ids = {word: FIRST + place for place, word in enumerate(self.known)}
        return [ids.get(word, UNKNOWN) for word in words]

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> the words up to the end of the answer."""
        said = []
        for token in ids:
            if token == END:
                break
            if FIRST <= token < self.count:
                said.append(self.known[token - FIRST])
        return " ".join(said)

    def obey(self, sentence: str) -> list[int]:
        """The ids of a sentence; MessageError where there is nothing in it that this model could obey."""
        words = words_of_order(sentence)
        ids = self.encode(words)
        if 2 * ids.count(UNKNOWN) > len(ids):
            strange = [word for word, token in zip(words, ids, strict=True) if token == UNKNOWN]
            raise MessageError(f"the instruction is not understood: the model never saw {', '.join(strange[:5])}")
        return ids

    def save(self, folder: Path) -> None:
        """Write `words.json` into a model folder."""
        write_whole(folder / FILE, json.dumps(list(self.known)) + "\n")


def collect(sentences: Iterable[str]) -> Words:
    """Every word of the sentences, in alphabetical order."""
    return Words(tuple(sorted({word for sentence in sentences for word in words_of(sentence)})))


def words_of_order(sentence: str) -> list[str]:
    """The words of an instruction; MessageError where there is nothing to obey, or far too much."""
    words = words_of(check_order(sentence))
    if not words:
        said = sentence.strip()[:20]
        raise MessageError(f"the instruction is empty of words: {said!r}; say what to do in a-z and 0-9")
    return words


def load_words(folder: Path, room: int) -> Words:
    """Read a model folder's words; ModelError unless they are words that fit into `room` ids."""
    path = folder / FILE
    if not path.is_file():
        raise ModelError(f"{path}: no such file; a model folder of kind vla with a tiny backbone holds its words")
    try:
        known = load_json(path)
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    if not isinstance(known, list) or not all(isinstance(w, str) and words_of(w) == [w] for w in known):
        raise ModelError(f"{path}: must be a list of lower-case words")
    if len(set(known)) != len(known):
        raise ModelError(f"{path}: holds a word twice")
    words = Words(tuple(known))
    if words.count > room:
        raise ModelError(
            f"{path}: {words.count} ids do not belong to this model, whose vocabulary has room for {room} of words"
        )
    return words
