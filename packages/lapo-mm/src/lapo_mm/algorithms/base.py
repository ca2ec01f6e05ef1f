"""What all algorithms share: encoder and units, targets, how they act, and how they are trained for one step."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from drivelab_shared.modules import freeze
from lapo_mm.config import TrainSettings
from lapo_mm.data.batches import Batch
from lapo_mm.data.statistics import Statistics
from lapo_mm.models.encoder import ObsEncoder, Observation, random_shift
from lapo_mm.models.heads import Bounds
from lapo_mm.models.shapes import Shapes
from lapo_mm.models.units import Units

Backward = Callable[[str, Tensor], None]
"""(name, loss): compute its gradients. Training passes the engine's, the diagnosis one that takes notes."""


class Algorithm(nn.Module, ABC):
    """Networks, optimizers and one training step. Subclasses build heads, name what they train, and write `update`."""

    targets: Mapping[str, str] = {}
    """Slow copies: attribute of the copy -> dotted path of what it follows."""

    def __init__(self, shapes: Shapes, settings: TrainSettings) -> None:
        super().__init__()
        self.shapes, self.settings = shapes, settings
        self.obs_encoder = ObsEncoder(shapes, settings.encoder)
        self.units = Units(shapes.action)

    # --- to be written by every algorithm

    @abstractmethod
    def build_optimizers(self) -> dict[str, Optimizer]:
        """Who moves what: made once, after the networks are on their device."""

    @abstractmethod
    def update(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """One training step; returns figures to be logged, losses first."""

    @abstractmethod
    def policy(self, observation: Observation) -> Float[Tensor, "batch actions"]:
        """Standardised actions, without noise."""

    def twin_values(
        self, observation: Observation, actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]] | None:
        """Both Q values of standardised actions, in scaled rewards; None for an algorithm without."""
        return None

    # --- the same for all

    def forward(self, observation: Observation) -> Float[Tensor, "batch actions"]:
        """Actions for the environment, inside its box."""
        return self.units.raw(self.policy(observation))

    def q_values(
        self, observation: Observation, actions: Float[Tensor, "batch actions"]
    ) -> Float[Tensor, " batch"] | None:
        """The smaller Q of actions of the environment, in its rewards; None for an algorithm without values."""
        twins = self.twin_values(observation, self.units.standardise(actions))
        return None if twins is None else torch.minimum(*twins) * self.units.reward_unit

    def start_training(self, accelerator: Accelerator | None = None) -> None:
        """Make the optimizers, and let the engine wrap them and what they move."""
        self.optimizers = self.build_optimizers()
        for name, module in self.trained().items():
            if self.settings.compile:
                module.compile()
            if accelerator is not None:
                setattr(self, name, accelerator.prepare(module))
        if accelerator is not None:
            self.optimizers = {name: accelerator.prepare(one) for name, one in self.optimizers.items()}
        for name, optimizer in self.optimizers.items():
            setattr(self, name, optimizer)

    def release(self, accelerator: Accelerator) -> None:
        """Take the engine's wrappers off and let it forget the networks; nothing can be trained after it."""
        for name, module in self.trained().items():
            setattr(self, name, accelerator.unwrap_model(module, keep_fp32_wrapper=False))
        for name in self.optimizers:
            delattr(self, name)
        self.optimizers = {}
        accelerator.free_memory()
        self.eval()

    def trained(self) -> dict[str, nn.Module]:
        """Networks that some loss trains, by name."""
        return {
            name: module
            for name, module in self.named_children()
            if any(parameter.requires_grad for parameter in module.parameters())
        }

    def networks(self) -> dict[str, nn.Module]:
        """Everything that a checkpoint needs: networks, targets and units, by name."""
        return dict(self.named_children())

    def scaled(self, batch: Batch) -> tuple[Observation, Observation, Tensor, Tensor]:
        """Observation and next observation, augmented; actions and rewards in the units of the networks."""
        return (
            self._augmented(batch.observation),
            self._augmented(batch.next_observation),
            self.units.standardise(batch.actions),
            batch.rewards / self.units.reward_unit,
        )

    def _augmented(self, observation: Observation) -> Observation:
        pixels = self.settings.encoder.shift_px
        if not pixels or not self.training or "image" not in observation:
            return observation
        return {**observation, "image": random_shift(observation["image"], pixels)}

    def copy_of(self, module: nn.Module) -> nn.Module:
        """A slow copy of a network: its own storage, no gradients, eval mode for good."""
        return freeze(copy.deepcopy(module))

    @torch.no_grad()
    def follow(self) -> None:
        """Move every slow copy by the share tau towards what it follows. Buffers are copied."""
        average = get_ema_multi_avg_fn(decay=1.0 - self.settings.tau)
        for name, path in self.targets.items():
            slow, fast = getattr(self, name), self.resolve(path)
            average(list(slow.parameters()), list(fast.parameters()), 1)
            for own, other in zip(slow.buffers(), fast.buffers(), strict=True):
                own.copy_(other)

    def resolve(self, path: str) -> nn.Module:
        """The network at a dotted path, without the engine's wrapper."""
        first, *rest = path.split(".")
        module = bare(getattr(self, first))
        return module.get_submodule(".".join(rest)) if rest else module

    def fit_units(self, statistics: Statistics, *, has_terminals: bool) -> None:
        """Take means, standard deviations and ranges from the training data; they become part of the weights."""
        facts = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in vars(statistics).items()}
        units = self.units
        units.fit_actions(facts["action_mean"], facts["action_std"], facts["action_low"], facts["action_high"])
        units.fit_rewards(
            statistics.reward_min,
            statistics.reward_max,
            self.settings.reward_scale,
            self.settings.gamma,
            has_terminals=has_terminals,
        )
        box = (units.standardise(edge[None])[0] for edge in (units.action_low, units.action_high))
        low, high = box
        for module in self.modules():
            if isinstance(module, Bounds) and module.is_bounded:
                module.fit(low, high)
            elif isinstance(module, ObsEncoder):
                for name in ("state", "lidar"):
                    if name in module.modalities:
                        encoder = getattr(module, f"{name}_encoder")
                        encoder.standardise.fit(facts[f"{name}_mean"], facts[f"{name}_std"])

    def adam(self, modules: Iterable[nn.Module], lr: float) -> Adam:
        """Adam with one group of parameters per module."""
        groups = [{"params": list(module.parameters())} for module in modules]
        return Adam(groups, lr=lr, fused=True)


def bare(module: nn.Module) -> nn.Module:
    """The network inside the engine's wrapper, if it has one."""
    return getattr(module, "module", module)


def figures(**values: Tensor) -> dict[str, Tensor]:
    """Detached, for the log."""
    return {name: value.detach() for name, value in values.items()}
