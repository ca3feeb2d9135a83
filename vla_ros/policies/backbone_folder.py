"""A folder that `save_pretrained` wrote: config, tokenizer and image processor of a library's model.

Read from this machine only, and never by code that comes with it; what is wrong is refused by name.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from vla_ros.core.errors import ConfigError, ModelError

LOCAL = {"trust_remote_code": False, "local_files_only": True}
CONFIG = "config.json"
IMAGES = ("processor_config.json", "preprocessor_config.json")  # either may describe the image processor
KEPT = ("*.json", "*.model", "*.txt", "*.jinja")
WEIGHTS_INDEX = "*.index.json"  # says in which file each weight lies; ours lie in one


def read_config(path: Path, wanted: type, named: str) -> Any:
    """The library's config of class `wanted`; ConfigError where the folder holds none, or another model's.

    named: what the model is called, to say what would be right.
    """
    file = path / CONFIG
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; right would be {named}'s, of {path}")
    try:
        config = AutoConfig.from_pretrained(path, **LOCAL)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{file}: cannot be read: {_first_line(error)}; right would be {named}'s") from None
    if not isinstance(config, wanted):
        raise ConfigError(f"{file}: describes a {config.model_type}; right would be {named}")
    return config


def read_tokenizer(path: Path, vocabulary: int) -> Any:
    """The tokenizer; ModelError where there is none, or one of more words than the model's vocabulary."""
    tokenizer = _read(AutoTokenizer.from_pretrained, path, "tokenizer")
    if len(tokenizer) > vocabulary:
        raise ModelError(f"{path}: its tokenizer has {len(tokenizer)} words; the model's vocabulary has {vocabulary}")
    return tokenizer


def read_image_processor(path: Path) -> Any:
    """The image processor in its form without torchvision; ModelError where there is none."""
    if not any((path / name).is_file() for name in IMAGES):
        raise ModelError(f"{path}: holds no image processor; right would be a {' or '.join(IMAGES)} in it")
    return _read(AutoImageProcessor.from_pretrained, path, "image processor", backend="pil")


def copy_backbone(source: Path, target: Path, named: str) -> None:
    """Everything but the weights; ConfigError where `source` is no such folder. named: what would be right."""
    if not (source / CONFIG).is_file():
        raise ConfigError(f"{source}: holds no {CONFIG}; right would be {named}")
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
