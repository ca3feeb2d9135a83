"""Low-rank adapters by `peft`: put into a language model, and merged into its weights when the training is done."""

from __future__ import annotations

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from vla_ros.core.errors import ConfigError, did_you_mean
from vla_ros.training.pretrained.config import LoRA


def adapt(language_model: nn.Module, config: LoRA) -> None:
    """Adapters beside every layer that a target names, and nothing else learns; ConfigError for a name of none."""
    linear = [name for name, layer in language_model.named_modules() if isinstance(layer, nn.Linear)]
    for target in config.targets:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            known = sorted({name.rpartition(".")[2] for name in linear})
            raise ConfigError(
                f"lora.targets: '{target}' names no linear layer of the language model{did_you_mean(target, known)}"
            )
    inject_adapter_in_model(
        LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=list(config.targets)
        ),
        language_model,
    )


def merge(module: nn.Module) -> None:
    """What the adapters learned becomes part of the weights, under the names that they had before."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)  # refuses what is not finite
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, layer.get_base_layer())
