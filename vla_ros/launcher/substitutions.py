"""`$(var x)`, `$(env NAME default)` and `$(find-pkg-share package)` inside the text of a launch file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.core.paths import share_folder

_OPENING = re.compile(r"\$\(\s*([A-Za-z][\w-]*)")
_USAGE = {"var": "$(var NAME)", "env": "$(env NAME [DEFAULT])", "find-pkg-share": "$(find-pkg-share PACKAGE)"}


@dataclass(slots=True)
class Scope:
    """What substitutions can see: launch arguments and the environment of the processes to start."""

    variables: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def expand(text: str, scope: Scope) -> str:
    """Return `text` with every `$(...)` replaced, inner ones first."""
    parts: list[str] = []
    position = 0
    while (start := text.find("$(", position)) >= 0:
        end = _closing(text, start)
        parts += [text[position:start], _substitute(text[start : end + 1], scope)]
        position = end + 1
    if "\\" in "".join([*parts[::2], text[position:]]):
        raise ConfigError(f"'{text}': backslashes are escapes in launch files and not part of this subset")
    return "".join([*parts, text[position:]])


def find_package_share(package: str, environment: Mapping[str, str]) -> str:
    """Return the share folder of a package: ours from any location, others through AMENT_PREFIX_PATH."""
    if package == "vla_ros":
        return str(share_folder())
    prefixes = environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    for folder in (Path(prefix) / "share" / package for prefix in prefixes if prefix):
        if folder.is_dir():
            return str(folder)
    raise ConfigError(f"package '{package}' is not in AMENT_PREFIX_PATH; source the workspace that holds it")


def _closing(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        if text[index] == ")":
            depth -= 1
            if depth == 0:
                return index
        elif text.startswith("$(", index):
            depth += 1
    raise ConfigError(f"'{text}': '$(' is never closed; write for example $(var name)")


def _substitute(text: str, scope: Scope) -> str:
    match = _OPENING.match(text)
    name = match.group(1) if match else text[2:-1]
    if match is None or name not in _KINDS:
        raise ConfigError(f"'{text}': no substitution '{name}'{did_you_mean(name, _KINDS)}")
    words = [expand(word, scope) for word in _words(text[match.end() : -1])]
    fewest, most, run = _KINDS[name]
    if not fewest <= len(words) <= most:
        raise ConfigError(f"'{text}' must be like {_USAGE[name]}, got {len(words)} words")
    return run(words, scope)


def _words(text: str) -> list[str]:
    """Split at spaces outside quotes and inner substitutions; drop the quotes."""
    words: list[str] = []
    word, depth, quote = "", 0, ""
    for index, letter in enumerate(text):
        if not depth and letter == quote:
            words.append(word)
            word, quote = "", ""
        elif not depth and not quote and not word and letter in "'\"":
            quote = letter
        elif not depth and not quote and letter == " ":
            words += [word] if word else []
            word = ""
        else:
            depth += text.startswith("$(", index) - (letter == ")" and depth > 0)
            word += letter
    if quote:
        raise ConfigError(f"'{text.strip()}': a quote is never closed")
    return [*words, word] if word else words


def _var(words: Sequence[str], scope: Scope) -> str:
    if words[0] not in scope.variables:
        raise ConfigError(f"$(var {words[0]}): no such argument{did_you_mean(words[0], scope.variables)}")
    return scope.variables[words[0]]


def _env(words: Sequence[str], scope: Scope) -> str:
    if words[0] in scope.environment:
        return scope.environment[words[0]]
    if len(words) == 1:
        raise ConfigError(f"$(env {words[0]}): not set; set it, or give a default: $(env {words[0]} DEFAULT)")
    return words[1]


def _share(words: Sequence[str], scope: Scope) -> str:
    return find_package_share(words[0], scope.environment)


_KINDS: dict[str, tuple[int, int, Callable[[Sequence[str], Scope], str]]] = {
    "var": (1, 1, _var),
    "env": (1, 2, _env),
    "find-pkg-share": (1, 1, _share),
}
