"""The pickle in a file of `torch.save`, read by a machine that runs nothing and that no small program keeps busy.

It is Python's own machine but for what a file of weights has no need of. Every name is looked up in a table of inert
stand-ins. Keys of dicts are text or numbers (the hash of a tuple of tuples never ends), and what is copied is counted.
"""

from __future__ import annotations

import gc
import io
import pickle
import reprlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from vla_ros.core.errors import ModelError

MAX_COPIED = 64 << 20  # bytes that a pickle may have copied in all, beyond its own
MAX_DIMENSIONS = 16
KEYS = (str, int, float, bool, type(None))
MACHINE: Any = pickle._Unpickler  # the one written in Python: its steps can be replaced
UNUSED = (
    pickle.EMPTY_SET,
    pickle.ADDITEMS,
    pickle.FROZENSET,
    pickle.INST,
    pickle.OBJ,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
    pickle.BYTEARRAY8,
    pickle.NEWOBJ_EX,
    pickle.PERSID,
)
STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
NUMPY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


@dataclass(frozen=True, slots=True)
class Storage:
    """A record of the file that holds `count` numbers. A pickle may claim anything; `TorchFile.tensor` checks it."""

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

    def __init__(self, name: object, *_: object) -> None:
        if not isinstance(name, str) or name not in NUMPY_DTYPES:
            raise ModelError(f"a numpy array of {_shown(name)}; it must hold plain numbers")
        self.name, self.order = name, "="

    def build(self, state: Any) -> None:
        """Take the byte order."""
        order = state[1]
        if not isinstance(order, str) or order not in "<>=|":
            raise ModelError(f"a numpy array of byte order {_shown(order)}")
        self.order = "=" if order == "|" else order


class PickledArray:
    """Stands for `numpy.ndarray`; `value` is the array."""

    value: NDArray[Any]

    def __init__(self, *_: object) -> None:
        self.value = np.empty(0)

    def build(self, state: Any) -> None:
        """Take the numbers: a view of them, for the same bytes may be named again and again."""
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, PickledDtype) or not isinstance(content, bytes):
            raise ModelError("a numpy array that does not hold plain numbers")
        flat = np.frombuffer(content, np.dtype(dtype.order + dtype.name))
        self.value = flat.reshape(_whole(shape), order="F" if fortran else "C")


class Attributes:
    """Stands for an object of a known class; `__dict__` holds its attributes."""

    def __init__(self, *_: object) -> None:
        pass


class DictAttributes(dict[Any, Any]):
    """The same for a class that is a dict."""

    def __init__(self, *_: object) -> None:
        super().__init__()


def _shown(value: object) -> str:
    """A value in an error: never all of it, for a small pickle can hold one that fills the memory when printed."""
    return repr(value)[:120] if isinstance(value, str) and len(value) < 1000 else reprlib.repr(value)[:120]


def _whole(values: Any) -> tuple[int, ...]:
    """A shape or stride: a few whole numbers, none below zero, or a refusal."""
    if not isinstance(values, tuple | list) or len(values) > MAX_DIMENSIONS:
        raise ModelError(f"a shape or stride of {_shown(values)}")
    if not all(type(value) is int and 0 <= value < 1 << 62 for value in values):
        raise ModelError(f"a shape or stride of {_shown(values)}; it must be whole numbers of at least 0")
    return tuple(values)


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: object) -> StoredTensor:
    if not isinstance(storage, Storage) or type(offset) is not int:
        raise ModelError("a tensor that is no view of a storage")
    return StoredTensor(storage, offset, _whole(shape), _whole(stride))


def _parameter(tensor: Any, *_: object) -> Any:
    return tensor


KNOWN: dict[str, Any] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "numpy.core.multiarray._reconstruct": PickledArray,
    "numpy._core.multiarray._reconstruct": PickledArray,
    "numpy.ndarray": PickledArray,
    "numpy.dtype": PickledDtype,
    **{f"torch.{name}": dtype for name, dtype in STORAGES.items()},
}


def read_pickle(content: bytes, classes: dict[str, type]) -> Any:
    """Return what a pickle holds, tensors as `StoredTensor`; see `TorchFile` for `classes`. Raises anything."""
    collects = gc.isenabled()
    gc.disable()  # it would look at millions of new lists again and again
    try:
        return _Reader(content, classes).load()
    finally:
        if collects:
            gc.enable()


class _Reader(MACHINE):
    """Every name in the pickle goes through `find_class`, and none is looked up outside `known`.

    What puts something into a dict looks at the keys first, and nothing here makes a set.
    """

    dispatch: ClassVar[dict[int, Any]] = {op: do for op, do in MACHINE.dispatch.items() if bytes([op]) not in UNUSED}

    def __init__(self, content: bytes, known: dict[str, Any]) -> None:
        super().__init__(io.BytesIO(content))
        self._copied = 0
        ours = {"collections.OrderedDict": self._ordered, "_codecs.encode": self._latin1}
        self._known = {**KNOWN, **ours, **known}
        self._callable = {id(value) for value in self._known.values()}

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in self._known:
            raise ModelError(
                f"it wants {_shown(wanted)}, which a file of weights has no need of; nothing of it was run"
            )
        return self._known[wanted]

    def persistent_load(self, pid: Any) -> Storage:
        if not isinstance(pid, tuple) or len(pid) != 5:
            raise ModelError(f"a storage that is described by {_shown(pid)}")
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ModelError("a storage that is not of plain numbers")
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise ModelError(f"a storage of {_shown(count)} numbers under the name {_shown(key)}")
        return Storage(key, dtype, count)

    def load_reduce(self) -> None:
        """Call what `known` holds, and nothing that the pickle has made itself."""
        args = self.stack.pop()
        if id(self.stack[-1]) not in self._callable or not isinstance(args, tuple):
            raise ModelError(f"it calls {_shown(type(self.stack[-1]).__name__)}; nothing of it was run")
        self.stack[-1] = self.stack[-1](*args)

    def load_newobj(self) -> None:
        """The same for what is made without being called."""
        self.load_reduce()

    def load_build(self) -> None:
        """Give one of our stand-ins its content; attributes of a dict or an object stay in its `__dict__`."""
        state = self.stack.pop()
        made = self.stack[-1]
        if isinstance(made, PickledArray | PickledDtype):
            made.build(state)
        elif isinstance(made, Attributes | DictAttributes | OrderedDict) and isinstance(state, dict):
            self._count(100 * len(state))
            vars(made).update({name: value for name, value in state.items() if isinstance(name, str)})
        else:
            raise ModelError(f"it fills a {type(made).__name__} with a {type(state).__name__}")

    def load_setitem(self) -> None:
        """One key and value into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def load_setitems(self) -> None:
        """Many of them."""
        self._put(self.pop_mark())

    def load_dict(self) -> None:
        """A dict of all since the mark."""
        items = self.pop_mark()
        self.append({})
        self._put(items)

    def load_append(self) -> None:
        """A value to a list; to nothing else that can append."""
        value = self.stack.pop()
        self._list().append(value)

    def load_appends(self) -> None:
        """Many of them."""
        items = self.pop_mark()
        self._list().extend(items)

    dispatch.update(
        {
            pickle.REDUCE[0]: load_reduce,
            pickle.NEWOBJ[0]: load_newobj,
            pickle.BUILD[0]: load_build,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
            pickle.DICT[0]: load_dict,
            pickle.APPEND[0]: load_append,
            pickle.APPENDS[0]: load_appends,
        }
    )

    def _list(self) -> list[Any]:
        if type(self.stack[-1]) is not list:
            raise ModelError(f"it appends to a {type(self.stack[-1]).__name__}")
        found: list[Any] = self.stack[-1]
        return found

    def _put(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ModelError(f"it puts keys into a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in KEYS:
                raise ModelError(f"a {type(key).__name__} as the key of a dict; keys must be text or numbers")
            target[key] = value

    def _ordered(self, *pairs: Any) -> OrderedDict[Any, Any]:
        """An OrderedDict: empty, or of pairs, as old versions wrote it."""
        made: OrderedDict[Any, Any] = OrderedDict()
        for key, value in pairs[0] if pairs else ():
            self._count(100)
            if type(key) not in KEYS:
                raise ModelError(f"a {type(key).__name__} as the key of a dict; keys must be text or numbers")
            made[key] = value
        return made

    def _latin1(self, text: Any, encoding: Any) -> bytes:
        """How protocol 2 writes the bytes of a numpy array: as text of one character a byte."""
        if not isinstance(text, str) or encoding != "latin1":
            raise ModelError(f"text in the encoding {_shown(encoding)}; it must be latin1")
        self._count(len(text))
        return text.encode("latin1")

    def _count(self, size: int) -> None:
        self._copied += size
        if self._copied > MAX_COPIED:
            raise ModelError(f"it has more than {MAX_COPIED} bytes copied")
