"""Head and backbone as one network: what is saved of it, what learns, how fast, and its folder."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from drivelab_shared.errors import UserError
from drivelab_shared.modules import freeze
from drivelab_shared.networks import save_network
from v2x_teacher.config import BackboneSettings, HeadSettings, TrainSettings
from v2x_teacher.fit import Schedule, _groups
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.build import build_backbone, build_trainable_backbone
from v2x_teacher.models.teacher import Teacher
from v2x_teacher.storage import build_teacher, load_teacher

torch.set_num_threads(1)

TINY = BackboneSettings(kind="tiny", height=32, width=64)
HEAD = HeadSettings(pooling="fixed", hidden_size=8, init="fixed", feature_dropout=0.0)
EGO = torch.tensor([[8.0, 0.0, 0.1, -1.0], [0.0, 0.0, 0.0, 0.0]])


def trainable(lora_rank=0, *, train_vision=False):
    return build_trainable_backbone(TINY, "fixed", train_vision=train_vision, lora_rank=lora_rank)


def teacher_with(backbone, seed=0):
    torch.manual_seed(seed)
    return build_teacher(HEAD, 1, 128, 45, 2, backbone)


def inputs_for(backbone):
    views = torch.randint(0, 256, (2, 2, 32, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return backbone.prepare(views, ["Turn left.", "Stop."])


def moved_by_a_step(teacher):
    """Names of the backbone's parameters that get a gradient in training mode."""
    teacher.train()
    teacher(inputs_for(teacher.backbone), EGO).mean.square().mean().backward()
    return {name for name, parameter in teacher.backbone.named_parameters() if parameter.grad is not None}


# --- what is saved


def test_without_a_backbone_the_head_is_all_there_is():
    teacher = teacher_with(None).module
    assert set(teacher.state_dict()) == {f"head.{name}" for name in teacher.head.state_dict()}


def test_what_never_learns_is_left_out_of_the_state():
    backbone = trainable()
    state = teacher_with(backbone).module.state_dict()
    saved = {tensor.data_ptr() for name, tensor in state.items() if name.startswith("backbone.")}
    # By place in memory: tied weights have several names.
    assert saved == {backbone.get_parameter(name).data_ptr() for name in backbone.language_parameters()}


def test_of_a_backbone_with_adapters_only_these_are_saved():
    state = teacher_with(trainable(lora_rank=2)).module.state_dict()
    saved = [name for name in state if name.startswith("backbone.")]
    assert saved
    assert all("lora_" in name for name in saved)


def test_a_state_makes_another_teacher_answer_the_same():
    first, second = (teacher_with(trainable(), seed).module.eval() for seed in (0, 1))
    with torch.no_grad():
        for parameter in first.backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
        answers = [teacher(inputs_for(teacher.backbone), EGO).mean for teacher in (first, second)]
        assert not torch.allclose(*answers)
        second.load_state_dict(first.state_dict())
        assert torch.equal(second(inputs_for(second.backbone), EGO).mean, answers[0])


@pytest.mark.parametrize("change", ["missing", "unknown", "frozen"])
def test_a_state_with_other_names_is_refused(change):
    teacher = teacher_with(trainable()).module
    state = dict(teacher.state_dict())
    if change == "missing":
        del state["head.layers.0.bias"]
    else:
        name = "head.extra" if change == "unknown" else f"backbone.{teacher.backbone.vision_parameters()[0]}"
        state[name] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"expected the names of this teacher, got another (head|backbone)\."):
        teacher.load_state_dict(state)


class BatchNormed(Backbone):
    """Two layers with running statistics, of which perhaps only the second learns."""

    def __init__(self):
        sizes = {"views": "separate", "height": 32, "picture_width": 64, "mean": (0.0,) * 3, "std": (1.0,) * 3}
        super().__init__("normed", 3, **sizes)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def see(self, pictures):
        return self.second(self.first(pictures)).mean((2, 3))[:, None]

    def num_tokens(self, height, width):
        return 1


def test_running_statistics_are_saved_where_they_learn():
    backbone = BatchNormed()
    freeze(backbone.first)
    teacher = Teacher(teacher_with(None).module.head, backbone)
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    backbone.train()(inputs_for(backbone))
    changed = {name for name, buffer in backbone.named_buffers() if not torch.equal(buffer, before[name])}
    assert changed == {f"second.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    saved = {name.removeprefix("backbone.") for name in teacher.state_dict() if name.startswith("backbone.")}
    assert saved == changed | {"second.weight", "second.bias"}


# --- what learns


@pytest.mark.parametrize(
    ("train_vision", "learns"), [(False, {"language"}), (True, {"language", "vision"})], ids=["language", "both"]
)
def test_the_halves_that_learn_get_gradients_and_no_other(train_vision, learns):
    teacher = teacher_with(trainable(train_vision=train_vision)).module
    halves = {"language": teacher.backbone.language_parameters(), "vision": teacher.backbone.vision_parameters()}
    assert moved_by_a_step(teacher) == {name for half in learns for name in halves[half]}


def test_of_adapted_weights_the_adapters_alone_get_gradients():
    teacher = teacher_with(trainable(lora_rank=2)).module
    moved = moved_by_a_step(teacher)
    assert moved
    assert all("lora_" in name for name in moved)


def test_a_frozen_backbone_gets_no_gradient_and_stays_in_eval_mode():
    teacher = teacher_with(build_backbone(TINY)).module
    assert moved_by_a_step(teacher) == set()
    assert not any(part.training for part in teacher.backbone.modules())
    assert teacher.head.training
    answers = [teacher(inputs_for(teacher.backbone), EGO).mean for _ in range(2)]
    assert torch.equal(*answers)  # no dropout


def test_image_tokens_computed_before_stand_for_the_pictures():
    teacher = teacher_with(trainable()).module.eval()
    inputs = inputs_for(teacher.backbone)
    with torch.no_grad():
        tokens = teacher.backbone.image_tokens(inputs)
        without_pixels = {name: value for name, value in inputs.items() if name != "pixel_values"}
        found = teacher(without_pixels | {"image_tokens": tokens}, EGO).mean
        torch.testing.assert_close(found, teacher(inputs, EGO).mean, atol=1e-5, rtol=0)


# --- how fast


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_head_and_backbone_learn_with_rates_of_their_own_and_only_matrices_decay(lora_rank):
    teacher = teacher_with(trainable(lora_rank)).module
    settings = TrainSettings(head_lr=0.5, backbone_lr=0.25, weight_decay=0.125)
    optimizer = torch.optim.AdamW(_groups(teacher, Schedule.of(settings, 10)))
    found = {
        id(parameter): (group["lr"], group["peak_lr"], group["weight_decay"], parameter.ndim > 1)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    learning = {name: parameter for name, parameter in teacher.named_parameters() if parameter.requires_grad}
    assert found.keys() == {id(parameter) for parameter in learning.values()}
    for name, parameter in learning.items():
        rate = 0.5 if name.startswith("head.") else 0.25
        is_matrix = parameter.ndim > 1
        assert found[id(parameter)] == (rate, rate, 0.125 if is_matrix else 0.0, is_matrix), name


# --- its folder


def refusal(folder, backbone=None):
    with pytest.raises(UserError) as caught:
        load_teacher(folder, backbone)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message


def test_a_teacher_comes_back_from_its_folder_as_it_was(tmp_path):
    network = teacher_with(trainable())
    network.facts.update(steps=7)
    network.module.head.target_std.fill_(3.0)
    save_network(tmp_path / "teacher", network)
    assert sorted(path.name for path in (tmp_path / "teacher").iterdir()) == ["config.json", "model.safetensors"]
    loaded = load_teacher(tmp_path / "teacher", trainable())
    assert loaded.arguments == network.arguments
    assert loaded.facts == {"cameras": 2, "steps": 7}
    assert loaded.module.pooling == "fixed"
    inputs = inputs_for(network.module.backbone)
    with torch.no_grad():
        ours, theirs = (teacher.module.eval()(inputs, EGO).mean for teacher in (network, loaded))
    assert torch.equal(ours, theirs)


def test_settings_of_features_mean_nothing_to_a_head_without_them():
    settings = replace(HEAD, fusion="original", feature_dropout=0.5, use_ego=False)
    arguments = build_teacher(settings, 0, 0, 45, 0, None).arguments
    assert (arguments["fusion"], arguments["feature_dropout"], arguments["use_ego"]) == ("none", 0.0, True)


@pytest.mark.parametrize(("loss", "modes", "scale"), [("mse", 1, False), ("wta", 3, False), ("laplace_nll", 1, True)])
def test_the_loss_decides_what_the_head_answers(loss, modes, scale):
    arguments = build_teacher(replace(HEAD, loss=loss), 1, 128, 45, 2, None).arguments
    assert (arguments["num_modes"], arguments["has_scale"]) == (modes, scale)


def test_a_folder_without_a_network_is_refused(tmp_path):
    assert "expected a network (config.json and model.safetensors), got none" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(format="other"), "expected the description of a network in the format v2x"),
        (lambda config: config["arguments"].update(widths=3), "arguments: "),
        (lambda config: config["arguments"].update(vectors=-1), "arguments: "),
        (lambda config: config["facts"].pop("cameras"), "arguments: 'cameras'"),
        (lambda config: config["arguments"].update(hidden_size=9), r"expected shape [9"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, change, message):
    save_network(tmp_path, teacher_with(None))
    config = json.loads((tmp_path / "config.json").read_text())
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert message in refusal(tmp_path)


def test_a_backbone_that_was_not_the_one_is_refused(tmp_path):
    save_network(tmp_path, teacher_with(trainable()))
    assert "unknown" in refusal(tmp_path, None)
