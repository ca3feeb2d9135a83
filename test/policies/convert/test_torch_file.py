"""Files of torch.save, honest and hostile: the honest ones are read exactly, the others leave no trace."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_ros.core.errors import ModelError
from vla_ros.policies.convert.torch_file import PickledArray, StoredTensor, TorchFile


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
        "plain": base,
        "transposed": base.transpose(0, 2),
        "slice": base[1, 1:],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base * 2),
        "half": base.half(),
        "bf16": base.bfloat16(),
        "long": base.long(),
        "bool": base > 5,
        "channels_last": base[None].contiguous(memory_format=torch.channels_last),
    }
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
    (os.system, "touch {mark}"),
    (eval, "open('{mark}', 'w')"),
    (exec, "open('{mark}', 'w')"),
    (open, "{mark}", "w"),
    (__import__, "antigravity"),
    (getattr, "x", "upper"),
    (torch.load, "{mark}"),
    (os.mkdir, "{mark}"),
    (torch.hub.load, "a/b", "c"),
    (torch.nn.Linear, 2, 2),
]


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
    with pytest.raises(ModelError, match="a numpy array of 'O8'; it must hold plain numbers"):
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
        (stored((2,), (-1,)), bytes(16), r"a shape or stride of \(-1,\); it must be whole numbers"),
        (stored((4,), (0,)), bytes(16), r"a tensor of \(4,\) repeats the 4 numbers of its storage"),
        (stored((1 << 31,), (0,), count=1), bytes(4), "repeats the 1 numbers"),
        (stored((1 << 34,), (0,), count=1), bytes(4), "repeats the 1 numbers"),
        (stored((3, 3), (1, 1), count=5), bytes(20), "repeats the 5 numbers"),
        (stored((1 << 40, 1 << 40), (0, 0)), bytes(16), "repeats the 4 numbers"),
        (stored((1 << 61, 1 << 61), (1 << 61, 1)), bytes(16), "reaches beyond its 4 numbers"),
        (stored((0, 1 << 61), (1, 1)), bytes(16), "an empty tensor of shape"),
        (stored((2, 2), (1,)), bytes(16), r"a tensor of shape \(2, 2\) with the stride \(1,\)"),
        (stored("12", (1,)), bytes(16), "a shape or stride of '12'"),
        (stored(("4",), (1,)), bytes(16), r"a shape or stride of \('4',\)"),
        (stored((4.0,), (1,)), bytes(16), "a shape or stride of"),
        (stored((True,), (1,)), bytes(16), "a shape or stride of"),
        (stored((1,) * 17, (1,) * 17), bytes(16), "a shape or stride of"),
        (stored((4,), (1,), offset="0"), bytes(16), "a tensor that is no view of a storage"),
        (stored((4,), (1,), offset=-1), bytes(16), "reaches beyond its 4 numbers"),
        (stored((4,), (1,), count="4"), bytes(16), "a storage of '4' numbers"),
        (stored((4,), (1,), count=-4), bytes(16), "a storage of -4 numbers"),
        (stored((4,), (1,), offset=1), bytes(16), "reaches beyond its 4 numbers"),
        (stored((4,), (1,)), bytes(8), "data/0 must have 16 bytes, got 8"),
        (stored((4,), (1,), count=10**15), bytes(16), "must have 4000000000000000 bytes, got 16"),
    ],
)
def test_a_tensor_beyond_its_numbers_is_refused(tmp_path: Path, claim: bytes, content: bytes, message: str) -> None:
    path = packed(tmp_path / "a.pt", claim, _0=content)
    with pytest.raises(ModelError, match=message) as said, TorchFile(path) as file:
        assert isinstance(file.content["x"], StoredTensor)
        file.tensor(file.content["x"])
    assert "\n" not in str(said.value) and len(str(said.value)) < 500


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
    with pytest.raises(ModelError, match=r"must hold one data\.pkl.*got 2"):
        read(path)


def bomb(depth: int = 60):
    """A small pickle that stands for 2 to the power of `depth` values."""
    value: tuple = ()
    for _ in range(depth):
        value = (value, value)
    return value


def dictionary(key: bytes) -> bytes:
    """A pickle of {key: None}, with whatever `key` makes on the stack, hashable in no time or not."""
    return b"\x80\x02}" + key + b"Ns."


NEST = b")" + b"2\x86" * 60  # a tuple of the same tuple twice, 60 times


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (dictionary(NEST), "a tuple as the key of a dict"),
        (b"\x80\x02}(" + NEST + b"Nu.", "a tuple as the key of a dict"),
        (b"(" + NEST + b"Nd.", "a tuple as the key of a dict"),
        (b"\x80\x02ccollections\nOrderedDict\n](" + NEST + b"N\x86e\x85R.", "a tuple as the key of a dict"),
        (b"\x80\x02ccollections\nOrderedDict\n(" + NEST + b"N\x86t\x85R.", "a tuple as the key of a dict"),
        (b"\x80\x04\x8f(" + NEST + b"\x90.", "damaged: KeyError"),
        (b"\x80\x04(" + NEST + b"\x91.", "damaged: KeyError"),
        (b"\x80\x02" + NEST + b"Q.", "a storage that is described by"),
        (b"\x80\x02X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + NEST + b"NK\x01t\x85Q.", "damaged|storage"),
        (b"\x80\x02cnumpy\ndtype\n" + NEST + b"\x85R.", "a numpy array of"),
        (b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00a" + NEST + b"tR.", "text in the encoding"),
        (b"\x80\x02" + NEST + b")R.", "it calls "),
        (b"\x80\x02]" + b"}" + b"b.", "it fills a list with a dict"),
        (b"\x80\x02ccollections\nOrderedDict\n}b.", "it fills a "),
        (b"\x80\x02X\x01\x00\x00\x00a" + b"]a.", "it appends to a str"),
        (b"\x80\x02]Na}" + b"K\x01s.", "it puts keys into a list"),
        (b"I" + b"1" * 100_000 + b"\n.", "damaged: ValueError"),
    ],
)
def test_a_small_pickle_that_stands_for_endless_work_is_refused_at_once(
    tmp_path: Path, program: bytes, message: str
) -> None:
    began = time.monotonic()
    with pytest.raises(ModelError, match=message) as said:
        read(packed(tmp_path / "a.pt", program))
    assert time.monotonic() - began < 5
    assert "\n" not in str(said.value) and len(str(said.value)) < 500


def test_a_bomb_as_a_plain_value_is_only_a_value(tmp_path: Path) -> None:
    assert len(read(packed(tmp_path / "a.pt", pickle.dumps([bomb()], 2)))) == 1


def test_what_is_copied_again_and_again_is_counted(tmp_path: Path) -> None:
    """A million bytes of text, encoded a thousand times by five bytes of pickle each."""
    text = b"X" + (1 << 20).to_bytes(4, "little") + b"a" * (1 << 20)
    program = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"X\x06\x00\x00\x00latin1\x86q\x01" + b"h\x00h\x01R" * 1000
    with pytest.raises(ModelError, match="it has more than 67108864 bytes copied"):
        read(packed(tmp_path / "a.pt", program + b"."))


def test_a_storage_that_many_tensors_share_is_not_copied_without_end(tmp_path: Path) -> None:
    base, other = torch.arange(1 << 16), torch.arange(1 << 16)
    with TorchFile(saved(tmp_path / "a.pt", {"a": base, "b": other})) as file:
        for _ in range(100):  # one storage after itself is read once
            file.tensor(file.content["a"])
        with pytest.raises(ModelError, match="share storages more than 4 times over"):
            for _ in range(10):
                file.tensor(file.content["a"])
                file.tensor(file.content["b"])


@pytest.mark.parametrize("step", [b"]", b"}", b"(", b"N", b"0"])
def test_the_longest_pickle_costs_seconds_and_no_gigabyte(tmp_path: Path, step: bytes) -> None:
    path = packed(tmp_path / "a.pt", step * ((4 << 20) - 2) + b"N.")
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with contextlib.suppress(ModelError):  # most are honest, if odd: the last value is what they hold
        assert read(path) is None
    assert time.monotonic() - began < 30  # 2 s on a quiet machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB


def test_a_longer_pickle_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"data\.pkl is longer than 4194304 bytes"):
        read(packed(tmp_path / "a.pt", b"N" * (4 << 20) + b"."))


def test_an_encrypted_record_is_one_line(tmp_path: Path) -> None:
    for place, name in enumerate(("data.pkl", "data/0")):
        path = packed(tmp_path / f"{place}.pt", stored((4,), (1,)), _0=bytes(16))
        content = bytearray(path.read_bytes())
        start = content.index(f"archive/{name}".encode(), content.index(b"PK\x01\x02"))
        content[start - 46 + 8] |= 1  # the flag in the central directory
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"{name} is encrypted"), TorchFile(path) as file:
            file.tensor(file.content["x"])


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pt")
    with pytest.raises(ModelError, match="no such file"):
        TorchFile(tmp_path / "a.pt")
