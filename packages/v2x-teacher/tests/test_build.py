import sys
from dataclasses import replace

import pytest
import torch

from drivelab_shared.errors import UserError
from v2x_teacher.config import BackboneSettings
from v2x_teacher.models.build import build_backbone, build_trainable_backbone
from v2x_teacher.models.pooling import pool
from v2x_teacher.models.tiny_florence import save_tiny_florence

torch.set_num_threads(1)

TINY = BackboneSettings(kind="tiny", height=32, width=64)
CNN = BackboneSettings(kind="efficientnet", height=32, width=64)


def random_inputs(backbone):
    generator = torch.Generator().manual_seed(0)
    views = torch.randint(0, 256, (3, 2, 32, 64, 3), dtype=torch.uint8, generator=generator)
    return backbone.prepare(views, ["Turn left."] * 3)


def learning(backbone):
    return {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}


def modes(backbone):
    description = backbone.describe()
    return description["vision_mode"], description["language_mode"]


@pytest.mark.parametrize("settings", [TINY, CNN])
def test_a_frozen_backbone_stays_calm_whatever_its_parent_says(settings):
    backbone = build_backbone(settings)
    torch.nn.ModuleList([backbone]).train()
    inputs = random_inputs(backbone)
    assert learning(backbone) == set()
    assert modes(backbone) == ("eval", "eval")
    assert torch.equal(backbone(inputs).tokens, backbone(inputs).tokens)


@pytest.mark.parametrize("settings", [TINY, CNN])
def test_mode_train_keeps_the_requests_fault(settings):
    backbone = build_backbone(replace(settings, mode="train"))
    inputs = random_inputs(backbone)
    assert learning(backbone) == set()
    assert not torch.equal(backbone(inputs).tokens, backbone(inputs).tokens)


@pytest.mark.parametrize(
    ("settings", "pooling", "train_vision", "halves", "expected_modes"),
    [
        (TINY, "fixed", False, "language", ("eval", "train")),
        (TINY, "original", True, "both", ("train", "train")),
        (TINY, "mean", True, "vision", ("train", "eval")),
        (CNN, "mean", True, "vision", ("train", "eval")),
    ],
)
def test_what_learns_gets_gradients_and_everything_else_stays_as_it_is(
    settings, pooling, train_vision, halves, expected_modes
):
    backbone = build_trainable_backbone(settings, pooling, train_vision=train_vision, lora_rank=0)
    torch.nn.ModuleList([backbone]).train()
    pool(backbone(random_inputs(backbone)), pooling, 2).square().mean().backward()
    vision, language = set(backbone.vision_parameters()), set(backbone.language_parameters())
    expected = {"vision": vision, "language": language, "both": vision | language}[halves]
    assert learning(backbone) == expected
    moved = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert moved == expected
    assert modes(backbone) == expected_modes


def test_a_half_that_nothing_reads_cannot_be_trained():
    with pytest.raises(
        UserError, match=r"freeze_backbone: expected true for tiny, because head\.pooling mean reads image"
    ):
        build_trainable_backbone(TINY, "mean", train_vision=False, lora_rank=0)
    with pytest.raises(UserError, match="freeze_backbone: expected true for efficientnet, because it has no language"):
        build_trainable_backbone(CNN, "fixed", train_vision=False, lora_rank=0)
    with pytest.raises(UserError, match="lora_rank: expected 0, because the language half does not learn here, got 4"):
        build_trainable_backbone(CNN, "mean", train_vision=True, lora_rank=4)


def test_adapters_change_nothing_at_first_and_learn_alone():
    backbone = build_trainable_backbone(TINY, "fixed", train_vision=False, lora_rank=4)
    plain = build_backbone(TINY)
    inputs = random_inputs(plain)
    assert torch.equal(backbone.eval()(inputs).tokens, plain(inputs).tokens)
    assert learning(backbone)
    assert all("lora_" in name for name in learning(backbone))
    assert learning(backbone) <= set(backbone.language_parameters())
    # Rank 4 beside each linear layer: 4 x (inputs + outputs). Encoder: 4 of 128 x 128, 2 of 128 x 256; decoder 8 and 2.
    per_layer = 4 * (12 * (128 + 128) + 2 * 2 * (128 + 256))
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == 2 * per_layer
    pool(backbone.train()(inputs), "fixed", 2).square().mean().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_adapters_are_a_function_of_the_seed():
    states = []
    for seed in (0, 0):
        torch.manual_seed(len(states))  # whatever the generator was
        states.append(build_trainable_backbone(replace(TINY, seed=seed), "fixed", train_vision=False, lora_rank=2))
    first, second = (backbone.state_dict() for backbone in states)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_adapters_without_their_extra_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"lora_rank: expected the extra 'lora' .*pip install 'v2x-teacher\[lora\]'"):
        build_trainable_backbone(TINY, "fixed", train_vision=False, lora_rank=4)


def test_florence_from_a_folder_is_the_tiny_model_that_was_saved_there(tmp_path):
    save_tiny_florence(tmp_path / "model", TINY.seed)
    loaded = build_backbone(replace(TINY, kind="florence", path=tmp_path / "model"))
    tiny = build_backbone(TINY)
    assert torch.equal(loaded(random_inputs(loaded)).tokens, tiny(random_inputs(tiny)).tokens)
    assert loaded.describe()["kind"] == "florence"


@pytest.mark.parametrize("kind", ["florence", "auto"])
def test_a_model_from_a_folder_needs_a_folder(kind):
    with pytest.raises(UserError, match=r"backbone\.path: expected a folder with config\.json"):
        build_backbone(replace(TINY, kind=kind))
