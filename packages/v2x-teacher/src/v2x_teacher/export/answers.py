"""What a teacher answers, in metres, with what it thinks of its own errors."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from v2x_teacher.models.teacher import Teacher


@dataclass(frozen=True, eq=False)
class Answer:
    """Of one sample, or of several with an axis in front. Ego frame at t0, metres, float32."""

    trajectory: Float[np.ndarray, "*samples steps 2"]
    """Of several modes the most probable one."""
    scale: Float[np.ndarray, "*samples steps 2"] | None = None
    """Laplace scale b, where the teacher was trained with laplace_nll."""
    modes: Float[np.ndarray, "*samples modes steps 2"] | None = None
    """All trajectories, where it was trained with wta."""
    probabilities: Float[np.ndarray, "*samples modes"] | None = None
    """Of the modes."""


@torch.no_grad()
def answer(
    teacher: Teacher, features: object, ego: Float[Tensor, "samples 4"], before: Float[Tensor, "samples steps 2"]
) -> Answer:
    """Of several samples.

    Args:
        teacher: in eval mode.
        features: what it reads; see Teacher.forward.
        ego: motion.
        before: prior, metres.
    """
    said, head = teacher(features, ego), teacher.head
    scale = None if said.raw_scale is None else head.scale_m(said.raw_scale)
    modes = None if said.modes is None else head.metres(said.modes, before[:, None])
    probabilities = None if said.logits is None else said.logits.softmax(dim=1)
    values = (head.metres(said.mean, before), scale, modes, probabilities)
    return Answer(*(None if value is None else value.float().cpu().numpy() for value in values))
