"""How people break an algorithm: what is done to one that is correct and has its optimizers.

Where a person would have edited a line, that line is edited: the method's own source is changed and compiled again, so
that everything else is the real training step. A line that is no longer there is an error, not a fault.
"""

import copy
import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from types import MethodType

import torch
from torch import nn

from lapo_mm.algorithms import Algorithm

Inject = Callable[[Algorithm], None]

CLIP_NORM = 1e-3


def edits(*lines: tuple[str, str, str]) -> Inject:
    """An injection of (method, old, new): a piece of a line that is there once, and what is written in its place."""

    def inject(algorithm: Algorithm) -> None:
        for method in dict.fromkeys(method for method, _, _ in lines):
            _edit(algorithm, method, [(old, new) for name, old, new in lines if name == method])
        algorithm.start_training()  # again: how optimizers are built may be what was edited

    return inject


def _edit(algorithm: Algorithm, method: str, pairs: list[tuple[str, str]]) -> None:
    function = inspect.unwrap(getattr(type(algorithm), method))
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in pairs:
        if source.count(old) != 1:
            raise ValueError(f"{function.__qualname__}: expected {old!r} once, got it {source.count(old)} times")
        source = source.replace(old, new)
    namespace: dict[str, Callable] = {}
    exec(source, function.__globals__, namespace)  # noqa: S102 - our own source and our own lines
    setattr(algorithm, method, MethodType(namespace[method], algorithm))


def request_bug(algorithm: Algorithm) -> None:
    """Wiring `vae`."""
    algorithm.settings = dataclasses.replace(algorithm.settings, wiring="vae")
    algorithm.start_training()


def frozen_encoder(algorithm: Algorithm) -> None:
    """As after loading pretrained weights."""
    algorithm.obs_encoder.requires_grad_(False)


def target_without_copy(algorithm: Algorithm) -> None:
    """`copy_of` forgotten."""
    algorithm.target_q = algorithm.critic.q


def trainable_targets(algorithm: Algorithm) -> None:
    """Deep copies, and nothing more, as in the released code."""
    for name in algorithm.targets:
        getattr(algorithm, name).requires_grad_(True)


def first_layer_left_out(algorithm: Algorithm) -> None:
    """As by a list of layers that has not grown with the network."""
    conv1 = {id(tensor) for tensor in algorithm.obs_encoder.image_encoder.conv1.parameters()}
    for group in algorithm.critic_optimizer.param_groups:
        group["params"] = [tensor for tensor in group["params"] if id(tensor) not in conv1]


def module_replaced(algorithm: Algorithm) -> None:
    """As by a wrapper."""
    algorithm.obs_encoder.image_encoder = copy.deepcopy(algorithm.obs_encoder.image_encoder)


def loaded_by_assignment(algorithm: Algorithm) -> None:
    """The optimizer goes on with the tensors from before."""
    weights = {name: tensor.clone() for name, tensor in algorithm.obs_encoder.state_dict().items()}
    algorithm.obs_encoder.load_state_dict(weights, assign=True)


def no_learning_rate(algorithm: Algorithm) -> None:
    """As by a schedule that has run out."""
    encoder = next(algorithm.obs_encoder.parameters())
    for group in algorithm.critic_optimizer.param_groups:
        if any(encoder is tensor for tensor in group["params"]):
            group["lr"] = 0.0


def batch_norm(algorithm: Algorithm) -> None:
    """Not a fault: a critic with buffers that change."""
    first = algorithm.critic.q.q1[0]
    algorithm.critic.q.q1.insert(0, nn.BatchNorm1d(first.in_features))
    algorithm.target_q = algorithm.copy_of(algorithm.critic.q)
    algorithm.start_training()


def buffers_left_behind(algorithm: Algorithm) -> None:
    """An average of parameters alone."""
    batch_norm(algorithm)
    _edit(algorithm, "follow", [("own.copy_(other)", "pass")])


def target_in_train_mode(algorithm: Algorithm) -> None:
    """A copy that `algorithm.train()` reaches."""
    batch_norm(algorithm)
    algorithm.target_q = copy.deepcopy(algorithm.critic.q).requires_grad_(False)


def state_encoder_under(context: Callable[[], torch.no_grad]) -> Inject:
    """One modality without gradients, as by a decorator that was meant for acting."""

    def inject(algorithm: Algorithm) -> None:
        encoder = algorithm.obs_encoder.state_encoder
        encoder.forward = context()(encoder.forward)

    return inject


def black_pictures(algorithm: Algorithm) -> None:
    """As from a renderer without a window."""
    algorithm.obs_encoder.image_encoder.register_forward_pre_hook(lambda _, inputs: torch.zeros_like(inputs[0]))


def dead_relu(algorithm: Algorithm) -> None:
    """As after a step that was too large."""
    with torch.no_grad():
        algorithm.obs_encoder.image_encoder.conv3.bias.fill_(-100.0)


def infinite_spread(algorithm: Algorithm) -> None:
    """As from statistics of broken data."""
    algorithm.obs_encoder.state_encoder.standardise.std.fill_(torch.inf)


def skipping_scaler(algorithm: Algorithm) -> None:
    """It finds infinite gradients in every step, and leaves the step out."""
    algorithm.scaler = torch.amp.GradScaler("cpu", init_scale=torch.inf)
    scaled = ('backward("critic", critic_loss)', 'backward("critic", self.scaler.scale(critic_loss))')
    stepped = ("self.critic_optimizer.step()", "self.scaler.step(self.critic_optimizer); self.scaler.update()")
    _edit(algorithm, "update", [scaled, stepped])


def clipped(*modules: str) -> Inject:
    """Gradients of these modules clipped, together, before the critic's step."""
    parameters = ", ".join(f"*self.{name}.parameters()" for name in modules)
    backward = 'backward("critic", critic_loss)'
    return edits(("update", backward, f"{backward}; torch.nn.utils.clip_grad_norm_([{parameters}], {CLIP_NORM})"))
