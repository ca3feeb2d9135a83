"""Read a file of `torch.save` without running anything that it says.

A pickle is a program. This reader lets it build containers, numbers, text and inert descriptions of tensors and numpy
arrays, and refuses every other name in it before it is looked up. Nothing is imported on the file's behalf. The numbers
of a tensor are read when they are asked for, so what nobody asks for (an optimizer's state) costs nothing.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_ros.core.errors import ModelError

MAX_PICKLE = 64 << 20  # bytes; the tensors lie beside it
STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip
NUMPY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


@dataclass(frozen=True, slots=True)
class Storage:
    """A record of the file that holds `count` numbers."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A view of a storage; `TorchFile.tensor` reads it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class PickledDtype:
    """Stands for `numpy.dtype`: the kinds of numbers, and nothing that could hold an object."""

    def __init__(self, name: str, *_: object) -> None:
        if name not in NUMPY_DTYPES:
            raise ModelError(f"a numpy array of '{name}'; right would be plain numbers")
        self.name, self.order = name, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "=" if state[1] == "|" else state[1]


class PickledArray:
    """Stands for `numpy.ndarray`; `value` is the array."""

    value: NDArray[Any]

    def __init__(self, *_: object) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, PickledDtype) or not isinstance(content, bytes):
            raise ModelError("a numpy array that does not hold plain numbers")
        flat = np.frombuffer(content, np.dtype(dtype.order + dtype.name))
        self.value = flat.reshape(shape, order="F" if fortran else "C").copy()


class Attributes:
    """Stands for an object of a known class; `__dict__` holds its attributes."""


class DictAttributes(dict[Any, Any]):
    """The same for a class that is a dict."""


def _tensor(storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object) -> StoredTensor:
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes the bytes of a numpy array: as text of one character a byte."""
    if encoding != "latin1":
        raise ModelError(f"text in the encoding '{encoding}'; right would be latin1")
    return text.encode("latin1")


KNOWN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "numpy.core.multiarray._reconstruct": PickledArray,
    "numpy._core.multiarray._reconstruct": PickledArray,
    "numpy.ndarray": PickledArray,
    "numpy.dtype": PickledDtype,
    "_codecs.encode": _latin1,
    **{f"torch.{name}": dtype for name, dtype in STORAGES.items()},
}


class _Reader(pickle.Unpickler):
    """Every name in the pickle goes through `find_class`, and none is looked up outside `known`."""

    def __init__(self, file: Any, known: dict[str, Any]) -> None:
        super().__init__(file)
        self._known = known

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in self._known:
            raise ModelError(f"it wants '{wanted}', which a file of weights has no need of; nothing of it was run")
        return self._known[wanted]

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ModelError("a storage that is not of plain numbers")
        return Storage(str(key), dtype, int(count))


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
        except (zipfile.BadZipFile, OSError) as error:
            raise ModelError(f"{path}: truncated, or not a file of torch.save: {error}") from None
        try:
            self.content = self._read({**KNOWN, **(classes or {})})
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
        held = self._record(f"data/{storage.key}", storage.count * storage.dtype.itemsize)
        last = stored.offset + sum((size - 1) * step for size, step in zip(stored.shape, stored.stride, strict=True))
        empty = 0 in stored.shape
        if min((stored.offset, *stored.shape, *stored.stride)) < 0 or (not empty and last >= storage.count):
            raise ModelError(f"{self.path}: a tensor of {stored.shape} reaches beyond its {storage.count} numbers")
        if empty:
            return torch.empty(stored.shape, dtype=storage.dtype)
        flat = torch.frombuffer(bytearray(held), dtype=storage.dtype)
        return flat.as_strided(stored.shape, stored.stride, stored.offset).clone()

    def _read(self, known: dict[str, Any]) -> Any:
        names = [name for name in self._zip.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ModelError(f"{self.path}: holds {len(names)} data.pkl; right would be one, as torch.save writes it")
        self._folder = names[0].removesuffix("data.pkl")
        if self._folder + "byteorder" in self._zip.namelist() and self._record("byteorder") != b"little":
            raise ModelError(f"{self.path}: was written on a big-endian machine; right would be little")
        if self._zip.getinfo(names[0]).file_size > MAX_PICKLE:
            raise ModelError(f"{self.path}: its data.pkl is longer than {MAX_PICKLE} bytes; tensors belong beside it")
        with self._zip.open(names[0]) as file:
            return self._refusing(lambda: _Reader(file, known).load())

    def _record(self, name: str, size: int | None = None) -> bytes:
        try:
            info = self._zip.getinfo(self._folder + name)
            if info.compress_type != zipfile.ZIP_STORED:
                raise ModelError(f"{self.path}: {name} is compressed; torch.save never does that")
            if size is not None and info.file_size != size:
                raise ModelError(f"{self.path}: {name} has {info.file_size} bytes; right would be {size}")
            return self._zip.read(info)
        except (KeyError, zipfile.BadZipFile, EOFError, OSError) as error:
            raise ModelError(f"{self.path}: {name} is damaged or missing: {error}") from None

    def _refusing(self, load: Callable[[], Any]) -> Any:
        """Whatever a hostile pickle makes the machine raise is one kind of error to the caller."""
        try:
            return load()
        except ModelError as error:
            raise ModelError(f"{self.path}: refused: {error}") from None
        except (MemoryError, RecursionError, Exception) as error:
            raise ModelError(f"{self.path}: damaged: {type(error).__name__}: {error}") from None
