"""From settings to a backbone, and what of it learns."""

import torch
from torch import nn

from drivelab_shared.errors import UserError
from drivelab_shared.modules import freeze
from v2x_teacher.config import BackboneSettings, Pooling
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.pooling import READS_TEXT

ADAPTED = ("q_proj", "k_proj", "v_proj", "out_proj", "o_proj", "fc1", "fc2", "gate_proj", "up_proj", "down_proj")
"""Linear layers that get adapters: those of attention and MLP, by the names that BART and Llama give them."""


def build_backbone(settings: BackboneSettings) -> Backbone:
    """A frozen backbone: no gradient, and in eval mode for good.

    With `mode: train` dropout stays on instead, as in the request's code, where `teacher.train()` reached the frozen
    backbone too; that is there to be measured.

    Raises:
        UserError: the model is not there, or cannot take such pictures.
    """
    backbone = _build(settings)
    if settings.mode == "eval":
        return freeze(backbone)
    backbone.requires_grad_(False)
    return backbone.train()


def build_trainable_backbone(
    settings: BackboneSettings, pooling: Pooling, *, train_vision: bool, lora_rank: int
) -> Backbone:
    """A backbone of which a half learns, in train mode. What does not learn is frozen, in eval mode.

    The language half learns where the pooling reads it: through any other it would never get a gradient. The vision
    half learns if it is asked to; the request's plan B never did.

    Args:
        settings: what to build; `mode` is not read.
        pooling: of the head.
        train_vision: whether the vision half learns.
        lora_rank: of the adapters that learn in place of the language half's weights; 0 trains these.

    Raises:
        UserError: nothing would learn, or as in `build_backbone`.
    """
    backbone = _build(settings)
    has_language = bool(backbone.language_modules)
    learns_language = has_language and pooling in READS_TEXT
    if not learns_language and not train_vision:
        reason = f"head.pooling {pooling} reads image tokens only" if has_language else "it has no language half"
        raise UserError(
            f"freeze_backbone: expected true for {settings.kind}, because {reason} and train_vision is off, got false"
        )
    if lora_rank and not learns_language:
        raise UserError(f"lora_rank: expected 0, because the language half does not learn here, got {lora_rank}")
    for modules, learns in ((backbone.vision_modules, train_vision), (backbone.language_modules, learns_language)):
        for module in modules:
            if not learns:
                freeze(module)
    if lora_rank:
        add_lora(backbone, lora_rank, settings.seed)
    return backbone.train()


def add_lora(backbone: Backbone, rank: int, seed: int) -> None:
    """Put low-rank adapters into the language half and freeze its own weights. The output does not change yet.

    Raises:
        UserError: the extra `lora` is not installed, or there is no layer to adapt.

    Source: Hu et al. 2021 (LoRA), in the implementation of peft.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as problem:
        raise UserError(
            "lora_rank: expected the extra 'lora' to be installed (pip install 'v2x-teacher[lora]') or 0, "
            f"got {rank} without it"
        ) from problem
    names = {name.rsplit(".", 1)[-1] for module in backbone.language_modules for name in _linear_names(module)}
    targets = sorted(names.intersection(ADAPTED))
    if not targets:
        raise UserError(f"lora_rank: expected 0, because {backbone.kind} has no layers of a known name, got {rank}")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in backbone.language_modules:
            inject_adapter_in_model(config, module)


def _linear_names(module: nn.Module) -> list[str]:
    return [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]


def _build(settings: BackboneSettings) -> Backbone:
    # Imported here: transformers takes seconds, and not every backbone needs it.
    size = {"views": settings.views, "height": settings.height, "picture_width": settings.width}
    if settings.kind == "efficientnet":
        from v2x_teacher.models.efficientnet import EfficientNet

        return EfficientNet(**size)
    if settings.kind == "tiny":
        from v2x_teacher.models.tiny_florence import tiny_florence

        return tiny_florence(settings.seed, **size)
    if settings.kind == "florence":
        from v2x_teacher.models.florence import load_florence

        return load_florence(settings.path, **size)
    from v2x_teacher.models.auto import load_auto

    return load_auto(settings.path, **size)
