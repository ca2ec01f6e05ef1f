"""The watch and its checks on small modules of anybody's own: what is noted, and what each sentence says."""

import copy
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lapo_mm.diagnose import watch as watch_module
from lapo_mm.diagnose.checks import check
from lapo_mm.diagnose.checks.reach import reach_of
from lapo_mm.diagnose.contract import Contract
from lapo_mm.diagnose.watch import Watch

torch.set_num_threads(1)

CONTRACT = Contract(
    moves={"optimizer": ("encoder", "critic")},
    reaches={"critic": ("encoder", "critic")},
    targets={"target": "critic"},
    tau=0.25,
    senses=("encoder",),
)


def batches(count=3):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        inputs = torch.randn(32, 4, generator=generator)
        yield SimpleNamespace(inputs=inputs, values=inputs.sum(1, keepdim=True))


@dataclass
class Agent:
    """Somebody's own code: an encoder, a critic, a slow copy of it, one optimizer."""

    encoder: nn.Module = field(default_factory=lambda: nn.Linear(4, 8))
    critic: nn.Module = field(default_factory=lambda: nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)))
    make_optimizer: Callable = lambda parameters: torch.optim.Adam(parameters, lr=1e-2)
    tau: float = 0.25

    def __post_init__(self):
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.optimizer = self.make_optimizer([*self.encoder.parameters(), *self.critic.parameters()])

    def loss(self, batch):
        return (self.critic(self.encoder(batch.inputs)) - batch.values).square().mean()

    def step(self, batch, backward):
        loss = self.loss(batch)
        self.optimizer.zero_grad()
        backward("critic", loss)
        self.optimizer.step()
        self.follow()

    @torch.no_grad()
    def follow(self):
        for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
            slow.lerp_(fast, self.tau)

    def modules(self):
        return {"encoder": self.encoder, "critic": self.critic, "target": self.target}


def agent(kind=Agent, **changes):
    torch.manual_seed(0)
    return kind(**changes)


def watched(agent, num_steps=3):
    watch = Watch(agent.modules(), {"optimizer": agent.optimizer})
    for batch in batches(num_steps):
        with watch.step() as backward:
            agent.step(batch, backward)
    return watch.record


def sentences(agent, contract=CONTRACT):
    return [str(violation) for violation in check(watched(agent), contract)]


def parameters(agent):
    return [tensor.detach().clone() for module in agent.modules().values() for tensor in module.parameters()]


# --- what is noted


def test_the_example_in_the_text_of_the_watch_runs_as_it_stands_there_and_is_clean():
    text = watch_module.__doc__
    start, end = text.index("    encoder, critic ="), text.index("Watch every module")
    assert start < end
    printed = []
    names = {
        "copy": copy, "torch": torch, "nn": nn, "Watch": Watch, "Contract": Contract, "check": check,
        "three_batches": list(batches()), "print": printed.append,
    }  # fmt: skip
    torch.manual_seed(0)
    exec(textwrap.dedent(text[start:end]), names)
    assert printed == []
    assert len(names["watch"].record.steps) == 3


def test_a_watched_training_is_bit_for_bit_the_unwatched_one():
    one, other = agent(), agent()
    watched(one, 4)
    for batch in batches(4):
        other.step(batch, lambda _, loss: loss.backward())
    assert all(map(torch.equal, parameters(one), parameters(other)))


def test_nothing_listens_any_more_after_a_step():
    one = agent()
    watched(one)
    hooks = [one.optimizer._optimizer_step_pre_hooks, one.optimizer._optimizer_step_post_hooks]
    hooks += [module._forward_hooks for module in one.modules().values()]
    assert not any(hooks)


def test_fresh_gradients_are_those_of_one_loss_whatever_lies_in_grad():
    one, batch = agent(), next(batches())
    one.encoder.weight.grad = torch.full_like(one.encoder.weight, 7.0)
    watch = Watch(one.modules(), {"optimizer": one.optimizer})
    with watch.step() as backward:
        backward("critic", one.loss(batch))
        backward("twice", 2 * one.loss(batch))
    expected = torch.autograd.grad(one.loss(batch), one.encoder.weight)[0]
    first, second = (one.gradients["encoder.weight"] for one in watch.record.steps[0].passes)
    assert torch.equal(first, expected)
    assert torch.allclose(second, 2 * expected)
    assert torch.allclose(one.encoder.weight.grad, 7 + 3 * expected)


def test_none_and_zero_are_told_apart():
    one, batch = agent(), next(batches())
    watch = Watch(one.modules(), {"optimizer": one.optimizer})
    with watch.step() as backward:
        backward("cut", one.critic(one.encoder(batch.inputs).detach()).mean())
        backward("flat", 0 * one.critic(one.encoder(batch.inputs)).mean())
    cut, flat = (reach_of(watch.record, loss, "encoder") for loss in ("cut", "flat"))
    assert (cut.reached, cut.dead) == ((), ())
    assert set(cut.missed) == set(flat.reached) == set(flat.dead) == {"encoder.weight", "encoder.bias"}
    assert flat.missed == ()


def test_a_movement_is_noted_bit_by_bit_with_its_size():
    one = agent()
    before = one.encoder.bias.detach().clone()
    (note,) = watched(one, 1).steps
    (taken,) = note.optimizer_steps
    change = float((one.encoder.bias.detach() - before).norm())
    assert taken.moved["encoder.bias"] == pytest.approx(change)
    assert not any(name.startswith("target") for name in taken.moved)
    assert note.moved_outside == {f"target.{name}" for name, _ in one.target.named_parameters()}


# --- a correct training


def test_a_correct_training_is_clean():
    assert sentences(agent()) == []


def test_a_loss_in_pieces_is_clean():
    class Pieces(Agent):
        def step(self, batch, backward):
            self.optimizer.zero_grad()
            for half in (slice(16), slice(16, None)):
                part = SimpleNamespace(inputs=batch.inputs[half], values=batch.values[half])
                backward("critic", self.loss(part) / 2)
            self.optimizer.step()
            self.follow()

    assert sentences(agent(Pieces)) == []


def test_weight_decay_and_momentum_are_clean_where_they_belong():
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)  # noqa: E731
    assert sentences(agent(make_optimizer=sgd)) == []


class Clipped(Agent):
    clips_encoder = True

    def step(self, batch, backward):
        self.optimizer.zero_grad()
        backward("critic", self.loss(batch))
        modules = [self.critic, self.encoder] if self.clips_encoder else [self.critic]
        nn.utils.clip_grad_norm_([tensor for module in modules for tensor in module.parameters()], 0.1)
        self.optimizer.step()
        self.follow()


def test_clipping_is_clean_if_it_is_declared_and_clips_all_together():
    declared = replace(CONTRACT, clip_norms={"optimizer": 0.1})
    assert sentences(agent(Clipped), declared) == []
    assert "off by" in sentences(agent(Clipped))[0]

    class Partly(Clipped):
        clips_encoder = False

    assert any(".grad of encoder" in line for line in sentences(agent(Partly), declared))


# --- what the sentences say


def test_a_step_that_calls_loss_backward_itself_is_told_which_line_to_change():
    one = agent()
    watch = Watch(one.modules(), {"optimizer": one.optimizer})
    expected = r'optimizer: expected backward\("critic", loss\) before its step, got none'
    with pytest.raises(ValueError, match=expected), watch.step():
        one.step(next(batches()), lambda _, loss: loss.backward())


def test_three_steps_are_the_least_and_names_must_be_those_that_were_watched():
    record = watched(agent(), 2)
    with pytest.raises(ValueError, match="expected at least 3 training steps, got 2"):
        check(record, CONTRACT)
    record = watched(agent())
    with pytest.raises(ValueError, match="expected some of encoder, critic, target, got 'encodr'"):
        check(record, replace(CONTRACT, senses=("encodr",)))
    misnamed = replace(CONTRACT, moves={"adam": ("encoder", "critic")})
    assert "movement: adam: expected steps, got none" in map(str, check(record, misnamed))


def test_a_graph_that_is_used_after_the_step_ends_the_watch_with_torch_s_own_words():
    class Late(Agent):
        def step(self, batch, backward):
            loss = self.loss(batch)
            self.optimizer.zero_grad()
            backward("critic", loss, retain_graph=True)
            self.optimizer.step()
            backward("critic", loss)

    record = watched(agent(Late))
    assert len(record.steps) == 3
    found = [str(one) for one in check(record, CONTRACT) if one.check == "movement"]
    assert (
        "an end without error, got one of the variables needed for gradient computation has been modified" in found[0]
    )


def test_a_forgotten_part_of_a_module_is_named():
    class Forgetful(Agent):
        def __post_init__(self):
            super().__post_init__()
            self.optimizer = torch.optim.Adam([self.encoder.weight, *self.critic.parameters()])

    assert sentences(agent(Forgetful))[0] == (
        "ownership: encoder in optimizer: expected all 2 tensors, got 1 of 2 tensors (weight)"
    )


def test_a_parameter_that_is_moved_by_hand_is_found():
    class Meddling(Agent):
        def step(self, batch, backward):
            super().step(batch, backward)
            self.encoder.bias.data.mul_(0.99)

    assert sentences(agent(Meddling)) == [
        "movement: encoder moved outside of all optimizers: expected none, got 1 of 2 tensors (bias)"
    ]


def test_a_gradient_that_is_erased_is_found_in_the_smallest_tensor():
    class Erasing(Agent):
        def loss(self, batch):
            return super().loss(batch) + 1e4 * self.encoder.weight.square().sum()  # beside which the bias is nothing

        def step(self, batch, backward):
            def and_erase(name, loss):
                backward(name, loss)
                self.encoder.bias.grad = None

            super().step(batch, and_erase)

    expected = (
        "hygiene: .grad of encoder when optimizer steps: expected the gradient of critic, got nothing (bias, step "
    )
    assert any(line.startswith(expected) for line in sentences(agent(Erasing)))


def test_an_optimizer_that_the_contract_does_not_know_must_move_nothing():
    class Second(Agent):
        def __post_init__(self):
            super().__post_init__()
            self.second = torch.optim.SGD(self.encoder.parameters(), lr=0.1)

        def step(self, batch, backward):
            super().step(batch, backward)
            self.second.step()

    one = agent(Second)
    watch = Watch(one.modules(), {"optimizer": one.optimizer, "second": one.second})
    for batch in batches():
        with watch.step() as backward:
            one.step(batch, backward)
    found = [str(violation) for violation in check(watch.record, CONTRACT)]
    assert found == [
        "ownership: encoder in second: expected none, got all 2 tensors",
        "movement: encoder moved by second: expected none, got all 2 tensors",
    ]


def test_slow_copies_that_are_not_numbers_are_found():
    class Poisoned(Agent):
        def follow(self):
            super().follow()
            self.target[0].weight[0, 0] = torch.nan

    assert any(line.startswith("targets: target:") for line in sentences(agent(Poisoned)))


def test_an_undeclared_loss_and_one_that_never_came_are_named():
    class Renamed(Agent):
        def step(self, batch, backward):
            super().step(batch, lambda _, loss: backward("value", loss))

    found = sentences(agent(Renamed))
    assert "reach: losses: expected some of critic, got 'value'" in found
    assert "reach: critic loss: expected one in every step, got none" in found


def test_gradients_that_are_not_finite_are_found():
    class Broken(Agent):
        def loss(self, batch):
            return super().loss(batch) * torch.inf

    assert any("expected finite gradients, got others on all 2 tensors" in line for line in sentences(agent(Broken)))


def test_a_frozen_module_has_to_be_frozen_and_an_orphan_is_one_that_is_not():
    class Orphan(Agent):
        def __post_init__(self):
            super().__post_init__()
            self.optimizer = torch.optim.Adam(self.critic.parameters())

    frozen = replace(CONTRACT, moves={"optimizer": ("critic",)}, reaches={"critic": ("critic",)})
    assert "ownership: requires_grad of encoder: expected False, got True for all 2 tensors" in sentences(
        agent(Orphan), frozen
    )

    class Frozen(Orphan):
        def __post_init__(self):
            super().__post_init__()
            self.encoder.requires_grad_(False)

    assert sentences(agent(Frozen), frozen) == []


def test_an_output_that_is_the_same_for_all_samples_is_found_though_gradients_flow():
    class Blind(Agent):
        def loss(self, batch):
            return super().loss(SimpleNamespace(inputs=torch.ones_like(batch.inputs), values=batch.values))

    assert sentences(agent(Blind)) == [
        "signal: output of encoder: expected differences between samples, got the same for all of them"
    ]


# --- slow copies


def test_the_average_of_a_slow_copy_is_worked_out_by_hand():
    class ByHand(Agent):
        def step(self, batch, backward):
            old = [tensor.clone() for tensor in self.target.parameters()]
            super().step(batch, backward)
            for slow, new, fast in zip(old, self.target.parameters(), self.critic.parameters(), strict=True):
                assert torch.allclose(new, 0.75 * slow + 0.25 * fast.detach())

    assert sentences(agent(ByHand)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tau": 0.75}, "got the two shares swapped, in step 3"),
        ({"tau": 0.0}, "got no change at all, in step 3"),
        ({"tau": 0.2501}, "got a difference of"),
    ],
)
def test_a_wrong_average_is_named(change, words):
    (found,) = sentences(agent(**change))
    assert found.startswith("targets: target: expected 0.25 * critic + 0.75 * target, and the buffers of critic, got ")
    assert words in found


def test_a_slow_copy_that_is_a_step_late_is_named():
    class Late(Agent):
        def step(self, batch, backward):
            self.follow()
            self.optimizer.zero_grad()
            backward("critic", self.loss(batch))
            self.optimizer.step()

    (found,) = sentences(agent(Late))
    assert "got an average with critic from before the step" in found


def normalised():
    return nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 1))


class WithBuffers(Agent):
    follows_buffers, target_mode = True, False

    def __post_init__(self):
        self.critic = normalised()
        super().__post_init__()
        self.target.train(self.target_mode)

    def loss(self, batch: SimpleNamespace) -> Tensor:
        self.target(self.encoder(batch.inputs).detach())
        return super().loss(batch)

    def follow(self):
        super().follow()
        if self.follows_buffers:
            for slow, fast in zip(self.target.buffers(), self.critic.buffers(), strict=True):
                slow.copy_(fast)


def test_buffers_and_mode_of_a_slow_copy_count():
    class LeftBehind(WithBuffers):
        follows_buffers = False

    class InTrainMode(WithBuffers):
        target_mode = True

    assert sentences(agent(WithBuffers)) == []
    assert "got other buffers (0.running_mean), in step 3" in sentences(agent(LeftBehind))[0]
    assert sentences(agent(InTrainMode)) == ["ownership: target: expected eval mode, got train mode in 0"]


def test_a_slow_copy_that_is_the_network_itself_is_found():
    class Shared(Agent):
        def __post_init__(self):
            super().__post_init__()
            self.target = self.critic

    assert "ownership: target: expected memory of its own, got memory shared with critic" in sentences(agent(Shared))
