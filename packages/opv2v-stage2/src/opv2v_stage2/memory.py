"""How much memory a training step will take, said before the first one."""

import torch
from torch import Tensor, nn

from drivelab_shared.errors import UserError

GIB = 2**30
BYTES_PER_WEIGHT = 4
BYTES_PER_LEARNED_WEIGHT = 16
"""With its gradient and Adam's two moments, in fp32."""


class SavedBytes:
    """Counts what autograd keeps for the backward pass while it is entered. A storage counts once, a parameter never.

    Args:
        model: whose parameters are not counted.
    """

    def __init__(self, model: nn.Module) -> None:
        self._seen: dict[int, int] = {}
        self._parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._parameters:
            self._seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self._seen.values())

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.__exit__(*exception)


def step_bytes(model: nn.Module, activations: int, samples: int) -> int:
    """Of a step on so many samples, from what was saved for one of them."""
    weights = sum(
        parameter.numel() * (BYTES_PER_LEARNED_WEIGHT if parameter.requires_grad else BYTES_PER_WEIGHT)
        for parameter in model.parameters()
    )
    return weights + activations * samples


def require_memory(needed: int, device: torch.device) -> str:
    """A line that says what is needed.

    Raises:
        UserError: a GPU has less than that.
    """
    text = f"a step needs about {needed / GIB:.2f} GiB"
    if device.type == "cuda":
        # What this process holds already is mostly the weights, which are part of what is needed.
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
        if needed > free:
            raise UserError(f"batch_size: expected one whose step fits {free / GIB:.1f} GiB of GPU memory, got: {text}")
        text += f" of {free / GIB:.1f} GiB free"
    return text
