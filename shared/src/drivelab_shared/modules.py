"""Networks that stay still, groups of parameters for an optimizer, and the size of gradients."""

from collections.abc import Iterable
from types import MethodType

import torch
from torch import Tensor, nn


def freeze(module: nn.Module) -> nn.Module:
    """The module, without gradients for its parameters and in eval mode for good. Gradients still pass *through* it.

    A parent's `.train()` cannot switch dropout and batch norm of a frozen child back on.
    """
    module.requires_grad_(False)
    module.eval()
    module.train = MethodType(lambda self, mode=True: self, module)
    return module


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups for an optimizer: matrices and kernels decay, biases and gains do not. Frozen ones are left out."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def num_parameters(module: nn.Module) -> int:
    """How many numbers the module learns or holds as parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def grad_norm(parameters: Iterable[Tensor]) -> float:
    """Euclidean norm over all gradients; parameters without one count as 0."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
