"""A folder that `save_pretrained` wrote: config, tokenizer and image processor of a library's model.

Read from this machine only, and never by code that comes with it; what is wrong is refused by name.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from vla_ros.core.errors import ConfigError, ModelError
from vla_ros.core.strict_json import load_json

LOCAL = {"trust_remote_code": False, "local_files_only": True}
CONFIG = "config.json"
IMAGES = ("processor_config.json", "preprocessor_config.json")  # either may describe the image processor
KEPT = ("*.json", "*.model", "*.txt", "*.jinja")
MAX_JSON = 64_000_000  # bytes; the tokenizers of large vocabularies have 35 million
MOST_LAYERS = 512  # or heads; the library builds as many as it is told
CODE = ("auto_map", "custom_pipelines", "custom_generate")
COUNTED = re.compile(r"(layers|depth|heads|blocks)$")
WEIGHTS_INDEX = "*.index.json"  # says in which file each weight lies; ours lie in one


def read_config(path: Path, wanted: type, named: str) -> Any:
    """The library's config of class `wanted`; ConfigError where the folder holds none, or another model's.

    named: what the model is called, to say what would be right.
    """
    file = path / CONFIG
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; it must be {named}'s, of {path}")
    check_files(path)
    try:
        config = AutoConfig.from_pretrained(path, **LOCAL)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{file}: cannot be read: {_first_line(error)}; it must be {named}'s") from None
    if not isinstance(config, wanted):
        raise ConfigError(f"{file}: must describe {named}, got a {config.model_type}")
    return config


def check_files(path: Path) -> None:
    """ModelError unless every file of the folder is a plain one, and its JSON is strict, bounded and names no code.

    The library would wait for a pipe, and where `auto_map` names Python files it asks whether to run them; here nothing
    is asked and nothing is run.
    """
    for file in sorted(path.iterdir()):
        if file.name.startswith("."):
            continue
        if not file.is_file() and not file.is_dir():
            raise ModelError(f"{file}: is no regular file; a backbone is a folder of plain files")
        if file.suffix == ".json" and file.is_file() and not file.match(WEIGHTS_INDEX):
            _check_json(file)


def _check_json(file: Path) -> None:
    try:
        content = load_json(file, MAX_JSON)
    except (ValueError, OSError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from None
    if file.name == "tokenizer.json":  # words, of any names and numbers
        return
    for key, value in _entries(content):
        if key in CODE and value:
            raise ModelError(f"{file}: {key} names code that comes with the model, which is never run; remove {key}")
        if file.name == CONFIG and type(value) is int and not -(1 << 63) <= value < 1 << 63:
            raise ModelError(f"{file}: {key} is a number of more than 64 bits")
        if COUNTED.search(key) and type(value) is int and not 0 <= value <= MOST_LAYERS:
            raise ModelError(f"{file}: {key} must be 0 to {MOST_LAYERS}, got {value}")


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of a JSON file, at any depth."""
    if isinstance(content, dict):
        yield from content.items()
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _entries(value)


def read_tokenizer(path: Path, vocabulary: int) -> Any:
    """The tokenizer; ModelError where there is none, or one of more words than the model's vocabulary."""
    check_files(path)
    tokenizer = _read(AutoTokenizer.from_pretrained, path, "tokenizer")
    if len(tokenizer) > vocabulary:
        raise ModelError(f"{path}: its tokenizer has {len(tokenizer)} words; the model's vocabulary has {vocabulary}")
    return tokenizer


def read_image_processor(path: Path) -> Any:
    """The image processor in its form without torchvision; ModelError where there is none."""
    if not any((path / name).is_file() for name in IMAGES):
        raise ModelError(f"{path}: holds no image processor; add a {' or '.join(IMAGES)}")
    check_files(path)
    return _read(AutoImageProcessor.from_pretrained, path, "image processor", backend="pil")


def copy_backbone(source: Path, target: Path, named: str) -> None:
    """Everything but the weights; ConfigError where `source` is no such folder. named: what would be right."""
    if not (source / CONFIG).is_file():
        raise ConfigError(f"{source}: holds no {CONFIG}; it must be {named}")
    check_files(source)
    target.mkdir(parents=True, exist_ok=True)
    for pattern in KEPT:
        for file in source.glob(pattern):
            if not file.match(WEIGHTS_INDEX):
                shutil.copyfile(file, target / file.name)


def _read(reader: Callable[..., Any], path: Path, what: str, **choices: Any) -> Any:
    try:
        return reader(path, **LOCAL, **choices)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # as the library's parts fail
        raise ModelError(f"{path}: holds no {what}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
