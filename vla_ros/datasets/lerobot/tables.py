"""Tables of a LeRobotDataset, checked since they are untrusted input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vla_ros.core.errors import ConfigError, MessageError, did_you_mean
from vla_ros.core.paths import inside
from vla_ros.core.streams.admission import check_instruction
from vla_ros.datasets.lerobot.info_file import Info

Integers = NDArray[np.int64]
BYTES_A_FRAME = 100  # at least, with its counters, and states and actions of a few joints
INDEX = ("index", "episode_index", "frame_index", "task_index")


def read_tables(folder: Path, below: str, columns: list[str], rows: int, what: str) -> pa.Table:
    """Return these columns of all parquet files `below/chunk-*/file-*`, concatenated.

    rows: the required number, checked before any is read; what: what a row is called.
    """
    files = sorted((folder / below).glob("chunk-*/file-*.parquet"))
    if not files:
        raise ConfigError(f"{folder}: holds no {below}/chunk-*/file-*.parquet")
    names = [str(file.relative_to(folder)) for file in files]
    there = sum(count_rows(folder, name) for name in names)
    if there != rows:
        raise ConfigError(f"{folder}: its tables hold {there} {what}, info.json says {rows}")
    tables = [read_table(folder, name, columns) for name in names]
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise ConfigError(f"{folder / below}: the tables are not alike: {_line(error)}") from None


def count_rows(folder: Path, name: str) -> int:
    """Return how many rows a parquet file claims to have."""
    path = inside(folder, name)
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path}: cannot be read: {_line(error)}") from None


def read_table(folder: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    """Return one parquet file of the dataset; ConfigError if it is none, leads out of it, or lacks a column."""
    path = inside(folder, name)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            for column in columns or []:
                if column not in there:
                    raise ConfigError(f"{path}: no column '{column}'{did_you_mean(column, there)}")
            return file.read(columns)
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {_line(error)}") from None


def data_table(info: Info, columns: list[str]) -> pa.Table:
    """Return the rows of all episodes in their order, with `INDEX`; their counters are checked."""
    folder = info.folder
    if (needed := info.frames * BYTES_A_FRAME) > memory_bytes():
        raise ConfigError(f"{folder}: {info.frames} frames need {needed / 1e9:.0f} GB of memory or more; there is less")
    table = read_tables(folder, "data", [*INDEX, *columns], info.frames, "frames")
    index = integers(folder, table, "index")
    if (np.diff(index) < 0).any():
        order = np.argsort(index, kind="stable")
        table, index = table.take(order), index[order]
    if not np.array_equal(index, np.arange(info.frames)):
        raise ConfigError(f"{folder}: column 'index' must count from 0 to {info.frames - 1}, each once")
    _check_episodes(info, table)
    return table


def _check_episodes(info: Info, table: pa.Table) -> None:
    """Check that episodes follow each other, so that no plan runs into another and frames lie where expected."""
    episode, frame = (integers(info.folder, table, name) for name in ("episode_index", "frame_index"))
    begins = np.flatnonzero(np.diff(episode, prepend=-1))
    if not np.array_equal(episode[begins], np.arange(info.episodes)):
        raise ConfigError(
            f"{info.folder}: column 'episode_index' must count {info.episodes} episodes in order, each in one piece"
        )
    lengths = np.diff(begins, append=info.frames)
    if not np.array_equal(frame, np.arange(info.frames) - np.repeat(begins, lengths)):
        raise ConfigError(f"{info.folder}: column 'frame_index' must count the frames of each episode from 0")


def integers(folder: Path, table: pa.Table, name: str) -> Integers:
    """Return a column of whole numbers (N,)."""
    column = table[name]
    if not pa.types.is_integer(column.type) or column.null_count:
        raise ConfigError(f"{folder}: column '{name}' must hold whole numbers in every row, got {column.type}")
    found: Integers = column.to_numpy().astype(np.int64)
    return found


def vectors(folder: Path, table: pa.Table, name: str) -> NDArray[np.float32]:
    """Return a column of finite numbers (N, D), all rows of one length."""
    column = table[name].combine_chunks()
    width = 1
    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type) or pa.types.is_large_list(column.type):
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) != 1 or not lengths[0]:
            raise ConfigError(f"{folder}: rows of column '{name}' must be of one length, got {lengths[:5]}")
        width, column = lengths[0], column.flatten()
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)) or column.null_count:
        raise ConfigError(f"{folder}: column '{name}' must hold numbers in every row, got {column.type}")
    rows: NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    if not np.isfinite(rows).all():
        raise ConfigError(f"{folder}: column '{name}' holds numbers that are not finite")
    return rows


def read_tasks(folder: Path) -> list[str]:
    """Return the sentences by their number. The table's index is the sentence, under any name pandas gave it."""
    path = folder / "meta/tasks.parquet"
    table = read_table(folder, "meta/tasks.parquet")
    texts = [n for n in table.column_names if n != "task_index" and _is_text(table[n].type)]
    if "task_index" not in table.column_names or len(texts) != 1:
        raise ConfigError(f"{path}: must have the columns task_index and one of text, got {table.column_names[:8]}")
    numbers = integers(path, table, "task_index").tolist()
    if sorted(numbers) != list(range(len(numbers))) or not numbers:
        raise ConfigError(f"{path}: task_index must count from 0, each once")
    pairs = dict(zip(numbers, table[texts[0]].to_pylist(), strict=True))
    return [_sentence(path, number, pairs[number]) for number in range(len(numbers))]


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _sentence(path: Path, number: int, sentence: str | None) -> str:
    try:
        return check_instruction(sentence or "")
    except MessageError as error:
        raise ConfigError(f"{path}: task {number}: {error}") from None


def tasks_of(info: Info, table: pa.Table, tasks: list[str]) -> Integers:
    """Return the number of each frame's task (N,)."""
    task = integers(info.folder, table, "task_index")
    if len(task) and not 0 <= task.min() <= task.max() < len(tasks):
        raise ConfigError(
            f"{info.folder}: column 'task_index' holds {int(task.max() if task.max() >= len(tasks) else task.min())}; "
            f"meta/tasks.parquet has {len(tasks)} tasks"
        )
    return task


def memory_bytes() -> float:
    """Return this machine's memory [bytes]."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
