"""The checks of the request's own script, `test_gradient_flow.py`, as it prints them.

It does one critic update by itself: the loss of the real step, then `zero_grad`, `backward` and `step` of its own. So
it sees nothing of what the training loop does between these three, nothing of any other optimizer, and no momentum.
"""

from contextlib import suppress
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from drivelab_shared.seeding import seed_step
from lapo_mm.algorithms import Algorithm
from lapo_mm.data.batches import Batch


@dataclass(frozen=True)
class Answers:
    """What the script says of an algorithm; True is its tick."""

    is_configured: bool
    """Optimizer configuration: the encoder is in `critic_optimizer` and not in `actorvae_optimizer`."""
    grad_norm: float
    """Of `conv1.weight` after the critic's backward pass; 0 where there is none."""
    change: float
    """Largest change of `conv1.weight` by the critic's step."""

    @property
    def gets_gradient(self) -> bool:
        """Method 2."""
        return self.grad_norm > 0

    @property
    def is_updated(self) -> bool:
        """Method 1."""
        return self.change > 0


def ask(algo: Algorithm, batch: Batch, seed: int) -> Answers | None:
    """Let the script look at an algorithm, whose critic is trained by one step.

    None where it does not apply: without a critic, or without an image.
    """
    if "critic_optimizer" not in algo.optimizers or algo.shapes.image is None:
        return None
    algo.train()
    seed_step(seed, 0)
    weight = algo.obs_encoder.image_encoder.conv1.weight
    before = weight.detach().clone()
    critic_loss = _critic_loss(algo, batch)
    algo.critic_optimizer.zero_grad()
    critic_loss.backward()
    grad_norm = 0.0 if weight.grad is None else float(weight.grad.norm())
    algo.critic_optimizer.step()
    elsewhere = algo.optimizers.get("actorvae_optimizer")
    return Answers(
        is_configured=_holds(algo.critic_optimizer, weight) and not (elsewhere and _holds(elsewhere, weight)),
        grad_norm=grad_norm,
        change=float((weight.detach() - before).abs().max()),
    )


class _Enough(Exception):  # noqa: N818 - not an error
    """The loss is there; the rest of the training step is not wanted."""


def _critic_loss(algo: Algorithm, batch: Batch) -> Tensor:
    found: list[Tensor] = []

    def stop(name: str, loss: Tensor, **_: object) -> None:
        if name == "critic":
            found.append(loss)
            raise _Enough

    with suppress(_Enough):
        algo.update(batch, stop)
    return found[0]


def _holds(optimizer: Optimizer, weight: Tensor) -> bool:
    return any(weight is parameter for group in optimizer.param_groups for parameter in group["params"])
