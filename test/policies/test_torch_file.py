"""Files of torch.save, honest and hostile: the honest ones are read exactly, the others leave no trace."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_ros.core.errors import ModelError
from vla_ros.policies.torch_file import PickledArray, StoredTensor, TorchFile


class Calls:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def saved(path: Path, content) -> Path:
    torch.save(content, path)
    return path


def packed(path: Path, program: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> Path:
    """A file of torch.save's layout around a pickle of our own."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", program)
        for key, content in records.items():
            file.writestr(f"archive/data/{key.removeprefix('_')}", content)
    return path


def read(path: Path):
    with TorchFile(path) as file:
        return file.content


def test_tensors_of_every_kind_come_back_exactly(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    content = {
        "plain": base, "transposed": base.transpose(0, 2), "slice": base[1, 1:], "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3), "parameter": torch.nn.Parameter(base * 2), "half": base.half(),
        "bf16": base.bfloat16(), "long": base.long(), "bool": base > 5, "channels_last": base[None].contiguous(
            memory_format=torch.channels_last),
    }  # fmt: skip
    with TorchFile(saved(tmp_path / "a.pt", content)) as file:
        for name, wanted in content.items():
            got = file.tensor(file.content[name])
            assert got.dtype == wanted.dtype
            assert torch.equal(got, wanted.detach()), name


def test_containers_numbers_and_arrays_come_back(tmp_path: Path) -> None:
    arrays = [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array([1, 2], ">i4")]
    content = OrderedDict(step=7, rates=[1e-4, None], flags=(True, {"name": "é"}), arrays=arrays)
    got = read(saved(tmp_path / "a.pt", content))
    assert (got["step"], got["rates"], got["flags"]) == (7, [1e-4, None], (True, {"name": "é"}))
    for held, wanted in zip(got["arrays"], arrays, strict=True):
        assert isinstance(held, PickledArray)
        np.testing.assert_array_equal(held.value, wanted)


HOSTILE = [
    (os.system, "touch {mark}"), (eval, "open('{mark}', 'w')"), (exec, "open('{mark}', 'w')"), (open, "{mark}", "w"),
    (__import__, "antigravity"), (getattr, "x", "upper"), (torch.load, "{mark}"), (os.mkdir, "{mark}"),
    (torch.hub.load, "a/b", "c"), (torch.nn.Linear, 2, 2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "args"),
    [(call[0], call[1:]) for call in HOSTILE],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_call_is_refused_by_name_and_leaves_no_trace(tmp_path: Path, function, args) -> None:
    mark = tmp_path / "mark"
    call = Calls(function, *(arg.format(mark=mark) if isinstance(arg, str) else arg for arg in args))
    path = saved(tmp_path / "a.pt", {"model": {"w": torch.ones(2)}, "optimizer": {"deep": [call]}})
    modules = set(sys.modules)
    with pytest.raises(ModelError, match=rf"a\.pt: refused: it wants '.*{function.__name__}'.*nothing of it was run"):
        read(path)
    assert not mark.exists()
    assert set(sys.modules) == modules
    assert os.listdir(tmp_path) == ["a.pt"]


def test_a_name_with_dots_finds_nothing_behind_a_known_one(tmp_path: Path) -> None:
    program = b"\x80\x04\x8c\x0bcollections\x8c\x1aOrderedDict.__subclasses__\x93."
    with pytest.raises(ModelError, match=r"refused: it wants 'collections\.OrderedDict\.__subclasses__'"):
        read(packed(tmp_path / "a.pt", program))


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a numpy array of 'O8'; right would be plain numbers"):
        read(saved(tmp_path / "a.pt", {"x": np.array([{}, []], dtype=object)}))


def stored(shape: tuple, stride: tuple, offset: int = 0, count: int = 4) -> bytes:
    """A pickle of one tensor that claims what it likes about record 0."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(value, Storage) else None

    from io import BytesIO

    out = BytesIO()
    call = Calls(torch._utils._rebuild_tensor_v2, Storage(), offset, shape, stride, False, OrderedDict())
    Pickler(out, protocol=2).dump({"x": call})
    return out.getvalue()


@pytest.mark.parametrize(
    ("claim", "content", "message"),
    [
        (stored((5,), (1,)), bytes(16), "reaches beyond its 4 numbers"),
        (stored((2, 2), (1, 1000)), bytes(16), "reaches beyond its 4 numbers"),
        (stored((2,), (-1,)), bytes(16), "reaches beyond its 4 numbers"),
        (stored((4,), (1,), offset=1), bytes(16), "reaches beyond its 4 numbers"),
        (stored((4,), (1,)), bytes(8), "data/0 has 8 bytes; right would be 16"),
        (stored((4,), (1,), count=10**15), bytes(16), "has 16 bytes; right would be 4000000000000000"),
    ],
)
def test_a_tensor_beyond_its_numbers_is_refused(tmp_path: Path, claim: bytes, content: bytes, message: str) -> None:
    with TorchFile(packed(tmp_path / "a.pt", claim, _0=content)) as file:
        assert isinstance(file.content["x"], StoredTensor)
        with pytest.raises(ModelError, match=message):
            file.tensor(file.content["x"])


def test_a_compressed_record_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "a.pt", stored((4,), (1,), count=1 << 28), zipfile.ZIP_DEFLATED, _0=bytes(1 << 22))
    with TorchFile(bomb) as file, pytest.raises(ModelError, match="data/0 is compressed"):
        file.tensor(file.content["x"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated, or not a file of torch.save"),
        (b"PK\x03\x04 and no more", "truncated, or not a file of torch.save"),
        (pickle.dumps({"model": 1}), "truncated, or not a file of torch.save"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read(path)


@pytest.mark.parametrize("program", [b"", b"\x80\x02", b"garbage", b"(" * 100_000, b"]" + b"]a" * 10 + b"R."])
def test_a_damaged_pickle_is_one_kind_of_error(tmp_path: Path, program: bytes) -> None:
    with pytest.raises(ModelError, match=r"a\.pt: "):
        read(packed(tmp_path / "a.pt", program))


def test_a_missing_file_and_two_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read(tmp_path / "nothing.pt")
    path = packed(tmp_path / "a.pt", pickle.dumps(1, protocol=2))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other/data.pkl", b"")
    with pytest.raises(ModelError, match=r"holds 2 data\.pkl"):
        read(path)
