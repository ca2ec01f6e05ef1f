"""Takes notes of what a training step really does. It works on any modules and optimizers of torch.

    encoder, critic = nn.Linear(4, 8), nn.Linear(8, 1)
    target = copy.deepcopy(critic).requires_grad_(False)
    optimizer = torch.optim.Adam([*encoder.parameters(), *critic.parameters()])

    def train_step(batch, backward):
        loss = critic(encoder(batch.inputs)).sub(batch.values).square().mean()
        optimizer.zero_grad()
        backward("critic", loss)  # in place of loss.backward(): the only line that changes
        optimizer.step()
        for slow, fast in zip(target.parameters(), critic.parameters()):
            slow.data.lerp_(fast.data, 0.005)

    watch = Watch({"encoder": encoder, "critic": critic, "target": target}, {"optimizer": optimizer})
    for batch in three_batches:
        with watch.step() as backward:
            train_step(batch, backward)

    contract = Contract(
        moves={"optimizer": ("encoder", "critic")},
        reaches={"critic": ("encoder", "critic")},
        targets={"target": "critic"},
        tau=0.005,
    )
    for violation in check(watch.record, contract):  # none
        print(violation)

Watch every module that an optimizer holds, in full precision and without a gradient scaler. The notes hold copies of
parameters and gradients: some five times the networks' size per training step.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer

CONSTANT = 1e-5
"""Of the largest output: kernels round equal samples differently by as little as this."""

Backward = Callable[..., None]
"""(name, loss, **options of Tensor.backward): compute the loss's gradients."""
Gradients = Mapping[str, Tensor | None]
"""By the full name of a parameter, `module.path.weight`; None where there is none."""


@dataclass(frozen=True, eq=False)
class BackwardPass:
    """One loss, and what it alone puts on every parameter."""

    loss: str
    gradients: Gradients


@dataclass(frozen=True, eq=False)
class OptimizerStep:
    """One call of an optimizer's `step`."""

    optimizer: str
    gradients: Gradients
    """`.grad` when it was called."""
    moved: Mapping[str, float]
    """Norm of the change of each parameter that is not bit for bit what it was before."""


@dataclass(eq=False)
class TrainingStep:
    """What happened from the first to the last line of a training step."""

    before: Mapping[str, Tensor]
    """Parameters and buffers."""
    after: Mapping[str, Tensor] = field(default_factory=dict)
    passes: list[BackwardPass] = field(default_factory=list)
    optimizer_steps: list[OptimizerStep] = field(default_factory=list)
    moved_outside: set[str] = field(default_factory=set)
    """Parameters that changed outside of all optimizers."""
    differs: dict[str, bool] = field(default_factory=dict)
    """Whether the output of a module ever differed from sample to sample; of the modules that were called."""
    train_mode: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Layers of each module that are in train mode, of those to which the mode makes a difference."""
    failure: str | None = None
    """Of torch, if the step did not get to its end."""


@dataclass(eq=False)
class Record:
    """Everything that was noted."""

    parameters: Mapping[str, tuple[str, ...]]
    """Module -> full names of its parameters."""
    buffers: Mapping[str, tuple[str, ...]]
    trainable: frozenset[str]
    """Parameters that require gradients."""
    held: Mapping[str, frozenset[str]]
    """Optimizer -> parameters in its groups."""
    strangers: Mapping[str, int]
    """Optimizer -> how many tensors in its groups belong to no watched module."""
    storages: Mapping[str, int]
    """Parameter or buffer -> address of its memory."""
    steps: list[TrainingStep] = field(default_factory=list)


class Watch:
    """See the module's text.

    Args:
        modules: by name; a dotted name is a part of the name before the dot. Slow copies, too.
        optimizers: by name; torch's own objects, not an engine's wrappers.
    """

    def __init__(self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> None:
        self._modules, self._optimizers = dict(modules), dict(optimizers)
        self._parameters = {
            f"{module}.{name}": tensor for module, one in modules.items() for name, tensor in one.named_parameters()
        }
        self._buffers = {
            f"{module}.{name}": tensor for module, one in modules.items() for name, tensor in one.named_buffers()
        }
        self.record = self._fresh_record()

    @contextmanager
    def step(self) -> Iterator[Backward]:
        """Watch one training step, which computes the gradients of every loss through what it is given here.

        Raises:
            ValueError: an optimizer stepped, and no loss came through `backward`.
        """
        note = TrainingStep(before=_copies(self._parameters | self._buffers))
        self._seen = {name: note.before[name] for name in self._parameters}
        handles = [*self._listen_to_optimizers(note), *self._listen_to_modules(note)]

        def backward(name: str, loss: Tensor, **options: Any) -> None:
            note.passes.append(BackwardPass(name, self._fresh_gradients(loss)))
            loss.backward(**options)

        try:
            yield backward
        except RuntimeError as problem:  # autograd's opinion of a wrong graph is a finding like any other
            note.failure = " ".join(str(problem).split())
        finally:
            for handle in handles:
                handle.remove()
        note.moved_outside |= self._moved().keys()
        note.after = self._seen | _copies(self._buffers)
        note.train_mode = {name: _in_train_mode(module) for name, module in self._modules.items()}
        if note.optimizer_steps and not note.passes:
            expected = 'backward("critic", loss)'
            raise ValueError(
                f"{note.optimizer_steps[0].optimizer}: expected {expected} before its step, got none; write "
                "it in place of loss.backward()"
            )
        self.record.steps.append(note)

    def _fresh_record(self) -> Record:
        names = {id(tensor): [] for tensor in self._parameters.values()}
        for name, tensor in self._parameters.items():
            names[id(tensor)].append(name)
        groups = {
            optimizer: [tensor for group in one.param_groups for tensor in group["params"]]
            for optimizer, one in self._optimizers.items()
        }
        return Record(
            parameters={module: _named(module, one.named_parameters()) for module, one in self._modules.items()},
            buffers={module: _named(module, one.named_buffers()) for module, one in self._modules.items()},
            trainable=frozenset(name for name, tensor in self._parameters.items() if tensor.requires_grad),
            held={
                optimizer: frozenset(name for tensor in tensors for name in names.get(id(tensor), ()))
                for optimizer, tensors in groups.items()
            },
            strangers={
                optimizer: sum(id(tensor) not in names for tensor in tensors) for optimizer, tensors in groups.items()
            },
            storages={
                name: tensor.untyped_storage().data_ptr()
                for name, tensor in (self._parameters | self._buffers).items()
                if tensor.numel()
            },
        )

    def _listen_to_optimizers(self, note: TrainingStep) -> Iterator[torch.utils.hooks.RemovableHandle]:
        gradients: dict[str, Tensor | None] = {}

        def before(*_: Any) -> None:
            note.moved_outside |= self._moved().keys()
            gradients.update({name: _copy(tensor.grad) for name, tensor in self._parameters.items()})

        for name, optimizer in self._optimizers.items():

            def after(*_: Any, name: str = name) -> None:
                note.optimizer_steps.append(OptimizerStep(name, dict(gradients), self._moved()))

            yield optimizer.register_step_pre_hook(before)
            yield optimizer.register_step_post_hook(after)

    def _listen_to_modules(self, note: TrainingStep) -> Iterator[torch.utils.hooks.RemovableHandle]:
        for name, module in self._modules.items():

            def look(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
                note.differs[name] = note.differs.get(name, False) or _differs(output)

            yield module.register_forward_hook(look)

    def _fresh_gradients(self, loss: Tensor) -> Gradients:
        """Of this loss alone: nothing that was left in `.grad` is part of them, and nothing is left there."""
        trainable = {name: tensor for name, tensor in self._parameters.items() if tensor.requires_grad}
        found = torch.autograd.grad(loss, list(trainable.values()), retain_graph=True, allow_unused=True)
        return dict.fromkeys(self._parameters) | dict(zip(trainable, found, strict=True))

    def _moved(self) -> dict[str, float]:
        """Norm of the change of every parameter that changed since the last call."""
        moved = {}
        for name, tensor in self._parameters.items():
            if not torch.equal(tensor, self._seen[name]):
                moved[name] = float((tensor.detach() - self._seen[name]).norm())
                self._seen[name] = tensor.detach().clone()
        return moved


def _named(module: str, tensors: Iterator[tuple[str, Tensor]]) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for name, _ in tensors)


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone()


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _differs(output: Any) -> bool:
    """Whether any tensor of an output differs along its first axis."""
    outputs = output if isinstance(output, tuple | list) else (output,)
    return any(
        bool((one - one[:1]).abs().max() > CONSTANT * one.abs().max())
        for one in outputs
        if isinstance(one, Tensor) and one.is_floating_point() and one.ndim and one.numel()
    )


def _in_train_mode(module: nn.Module) -> tuple[str, ...]:
    """Layers such as batch norm and dropout that are in train mode."""
    return tuple(
        name or type(layer).__name__
        for name, layer in module.named_modules()
        if layer.training and (isinstance(layer, _DropoutNd) or getattr(layer, "track_running_stats", False))
    )
