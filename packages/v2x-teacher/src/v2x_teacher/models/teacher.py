"""The network that is trained: a head, and the backbone below it where that is not frozen."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from v2x_teacher.config import Pooling
from v2x_teacher.losses import Prediction
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.head import TrajectoryHead
from v2x_teacher.models.pooling import pool


class Teacher(nn.Module):
    """Reads pooled features that were computed before, or, with a backbone, what the backbone reads.

    Its state dict leaves out what never learns: a frozen vision tower of 360 M parameters belongs to its own folder,
    not to every checkpoint.
    """

    def __init__(
        self, head: TrajectoryHead, backbone: Backbone | None = None, pooling: Pooling = "mean", cameras: int = 2
    ) -> None:
        super().__init__()
        self.head = head
        self.backbone = backbone
        self.pooling: Pooling = pooling
        self.cameras = cameras

    def forward(
        self,
        features: Float[Tensor, "batch vectors width"] | Mapping[str, Tensor] | None,
        ego: Float[Tensor, "batch 4"],
    ) -> Prediction:
        """The trajectory in the head's target units.

        Args:
            features: pooled features; with a backbone, what its `prepare` made, perhaps with the `image_tokens` that
                its frozen vision half made of the pictures; None for a head that reads the motion alone.
            ego: vx, vy, yaw rate, acceleration.
        """
        return self.head(features if self.backbone is None else self.pooled(features), ego)

    def pooled(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch vectors width"]:
        """Features of the backbone, computed now."""
        has_seen = "image_tokens" in inputs
        encoded = self.backbone.language(inputs["image_tokens"], inputs) if has_seen else self.backbone(inputs)
        return pool(encoded, self.pooling, self.backbone.num_groups(self.cameras))

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Head, and the parameters of the backbone that learn."""
        frozen = {f"backbone.{name}" for name in _fixed(self.backbone)} if self.backbone is not None else set()
        state = super().state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in state.items() if name not in frozen}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As `state_dict` wrote it."""
        if strict and (unlike := set(state_dict) ^ set(self.state_dict())):
            raise RuntimeError(f"state_dict: expected the names of this teacher, got another {min(unlike)}")
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def _fixed(backbone: Backbone) -> list[str]:
    """Names of what never changes. Running statistics do where the parameters beside them learn."""
    every = backbone.named_parameters(remove_duplicate=False)  # tied ones under all of their names
    parameters = [name for name, parameter in every if not parameter.requires_grad]
    buffers = [
        f"{prefix}.{name}".lstrip(".")
        for prefix, part in backbone.named_modules()
        if not any(parameter.requires_grad for parameter in part.parameters(recurse=False))
        for name, _ in part.named_buffers(recurse=False)
    ]
    return parameters + buffers
