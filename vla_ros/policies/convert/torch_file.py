"""Read a file of `torch.save` without running anything that it says.

A pickle is a program. This reader lets it build containers, numbers, text and inert descriptions of tensors and numpy
arrays, and refuses every other name in it before it is looked up. Nothing is imported on the file's behalf. The numbers
of a tensor are read when they are asked for, so what nobody asks for (an optimizer's state) costs nothing; a tensor has
no more numbers than its storage, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_ros.core.errors import ModelError
from vla_ros.policies.convert.torch_pickle import Attributes, DictAttributes, PickledArray, StoredTensor, read_pickle

__all__ = ["Attributes", "DictAttributes", "PickledArray", "StoredTensor", "TorchFile"]

MAX_PICKLE = 4 << 20  # bytes; the tensors lie beside it
MAX_READ = 4  # times the file's size; tied weights share storages, but not without end


class TorchFile:
    """An open file of `torch.save`, in its zip form (torch 1.6 or newer). Use it in a `with` statement.

    content: the saved object, tensors as `StoredTensor`.
    Raises ModelError where the file is damaged, or holds anything but tensors, plain containers and `classes`: names
    of classes, and what stands for each: `Attributes` or `DictAttributes`.
    """

    content: Any

    def __init__(self, path: Path, classes: dict[str, type] | None = None) -> None:
        self.path = path
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ModelError(f"{path}: truncated, or not a file of torch.save: {error}") from None
        self._left = MAX_READ * path.stat().st_size
        self._last: tuple[str, bytes] = ("", b"")
        try:
            self.content = self._read(classes or {})
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def tensor(self, stored: StoredTensor) -> Tensor:
        """The numbers of a tensor; ModelError where the file does not hold them."""
        storage = stored.storage
        self._check(stored)
        if 0 in stored.shape:
            return torch.empty(stored.shape, dtype=storage.dtype)
        held = self._numbers(f"data/{storage.key}", storage.count * storage.dtype.itemsize)
        flat = torch.frombuffer(bytearray(held), dtype=storage.dtype)
        return flat.as_strided(stored.shape, stored.stride, stored.offset).clone()

    def _check(self, stored: StoredTensor) -> None:
        """ModelError unless a tensor lies within its storage and has no more numbers than that."""
        shape, stride, count, numbers = stored.shape, stored.stride, stored.storage.count, math.prod(stored.shape)
        if len(shape) != len(stride):
            raise ModelError(f"{self.path}: a tensor of shape {shape} with the stride {stride}")
        if numbers == 0:
            if math.prod(max(1, size) for size in shape) >= 1 << 40:
                raise ModelError(f"{self.path}: an empty tensor of shape {shape}")
            return
        last = stored.offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if stored.offset < 0 or last >= count:
            raise ModelError(f"{self.path}: a tensor of {shape} reaches beyond its {count} numbers")
        repeats = any(size > 1 and step == 0 for size, step in zip(shape, stride, strict=True))
        if repeats or numbers > count:
            raise ModelError(f"{self.path}: a tensor of {shape} repeats the {count} numbers of its storage")

    def _numbers(self, name: str, size: int) -> bytes:
        """A storage's bytes; those of the last one are kept, for several weights may be views of it."""
        if name != self._last[0]:
            self._last = (name, self._record(name, size))
        return self._last[1]

    def _read(self, known: dict[str, type]) -> Any:
        names = [name for name in self._zip.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ModelError(f"{self.path}: must hold one data.pkl, as torch.save writes it, got {len(names)}")
        self._folder = names[0].removesuffix("data.pkl")
        if self._folder + "byteorder" in self._zip.namelist() and self._record("byteorder") != b"little":
            raise ModelError(f"{self.path}: must be little-endian, was written on a big-endian machine")
        if self._zip.getinfo(names[0]).file_size > MAX_PICKLE:
            raise ModelError(f"{self.path}: its data.pkl is longer than {MAX_PICKLE} bytes; tensors belong beside it")
        content = self._bytes(self._zip.getinfo(names[0]))
        return self._refusing(lambda: read_pickle(content, known))

    def _record(self, name: str, size: int | None = None) -> bytes:
        try:
            info = self._zip.getinfo(self._folder + name)
            if info.compress_type != zipfile.ZIP_STORED:
                raise ModelError(f"{self.path}: {name} is compressed; torch.save never does that")
            if size is not None and info.file_size != size:
                raise ModelError(f"{self.path}: {name} must have {size} bytes, got {info.file_size}")
        except KeyError as error:
            raise ModelError(f"{self.path}: {name} is damaged or missing: {error}") from None
        self._left -= info.file_size
        if self._left < 0:
            raise ModelError(f"{self.path}: its tensors share storages more than {MAX_READ} times over")
        return self._bytes(info)

    def _bytes(self, info: zipfile.ZipInfo) -> bytes:
        name = info.filename.removeprefix(self._folder)[:120]
        if info.flag_bits & 1:
            raise ModelError(f"{self.path}: {name} is encrypted; torch.save never does that")
        try:
            return self._zip.read(info)
        except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, zlib.error) as error:
            raise ModelError(f"{self.path}: {name} is damaged or missing: {error}") from None

    def _refusing(self, load: Callable[[], Any]) -> Any:
        """Whatever a hostile pickle makes the machine raise is one kind of error to the caller."""
        try:
            return load()
        except ModelError as error:
            raise ModelError(f"{self.path}: refused: {error}") from None
        except (MemoryError, RecursionError, Exception) as error:
            raise ModelError(f"{self.path}: damaged: {type(error).__name__}: {str(error)[:200]}") from None
