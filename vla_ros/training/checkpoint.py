"""Which weights a run's checkpoint holds: all of them, or, of a large backbone that hardly learns, those that do."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vla_ros.core.errors import ConfigError


def frozen(module: nn.Module) -> set[str]:
    """Names of the weights that do not learn, tied ones under each of theirs."""
    return {name for name, weights in module.named_parameters(remove_duplicate=False) if not weights.requires_grad}


def kept(module: nn.Module, lean: bool) -> dict[str, Tensor]:
    """What a checkpoint holds of a module; `lean`: without what does not learn."""
    left = frozen(module) if lean else set()
    return {name: value for name, value in module.state_dict().items() if name not in left}


def put_back(module: nn.Module, saved: Mapping[str, Tensor], lean: bool) -> None:
    """The inverse of `kept`; ConfigError where the checkpoint is of another network."""
    wanted = kept(module, lean).keys()
    if odd := sorted(wanted ^ saved.keys()):
        raise ConfigError(
            f"the run's checkpoint is of another network: {len(odd)} weights differ, {odd[0]} the first; "
            "resume with the config that it was started with"
        )
    module.load_state_dict(dict(saved), strict=False)
