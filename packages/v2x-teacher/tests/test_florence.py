import json
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from drivelab_shared.errors import UserError
from drivelab_shared.modules import num_parameters
from drivelab_shared.networks import weights_hash
from v2x_teacher.config import PROMPT
from v2x_teacher.models.florence import load_florence
from v2x_teacher.models.pooling import pool
from v2x_teacher.models.tiny_florence import save_tiny_florence, tiny_florence

torch.set_num_threads(1)

SIZE = {"height": 64, "picture_width": 128}
PROMPTS = [PROMPT, "Turn left.", "前方直行。"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("florence") / "tiny"
    save_tiny_florence(path, seed=0)
    return path


@pytest.fixture(scope="module")
def tiny():
    return tiny_florence(0, views="separate", **SIZE)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def random_views(batch=3, cameras=2, height=64, width=128, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, cameras, height, width, 3), dtype=torch.uint8, generator=generator)


def encoded(backbone, views, prompts):
    with torch.no_grad():
        return backbone(backbone.prepare(views, prompts))


def refusal(path, views="separate", height=64, picture_width=128):
    with pytest.raises(UserError) as caught:
        load_florence(path, views=views, height=height, picture_width=picture_width)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_tiny_model_has_the_size_and_the_dropout_of_its_description(tiny):
    assert num_parameters(tiny) == pytest.approx(1.81e6, rel=0.01)
    assert tiny.model.config.vision_config.drop_path_rate == 0.1
    assert tiny.model.config.text_config.dropout == 0.1
    assert not tiny.training


def test_the_tiny_model_is_a_function_of_its_seed_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    hashes = [weights_hash(tiny_florence(seed, views="separate", **SIZE)) for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_saved_model_comes_back_bit_equal_without_a_network(folder, tiny, monkeypatch):
    def refuse(*_):
        raise AssertionError("somebody calls home")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    loaded = load_florence(folder, views="separate", **SIZE)
    assert weights_hash(loaded) == weights_hash(tiny)
    views = random_views()
    ours, theirs = encoded(tiny, views, PROMPTS), encoded(loaded, views, PROMPTS)
    for name in ("image_tokens", "tokens", "mask", "decoder"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


def test_a_checkpoint_in_half_precision_is_computed_in_full(copy, tiny):
    weights = {name: tensor.half() for name, tensor in load_file(copy / "model.safetensors").items()}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    loaded = load_florence(copy, views="separate", **SIZE)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_gradients_reach_every_parameter_of_both_halves():
    backbone = tiny_florence(0, views="separate", **SIZE)
    result = backbone(backbone.prepare(random_views(), PROMPTS))
    (result.tokens.square().mean() + result.decoder.square().mean()).backward()
    without = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(parameter.grad.isfinite().all() for parameter in backbone.parameters())
    names = backbone.vision_parameters() + backbone.language_parameters()
    assert sorted(names) == sorted(name for name, _ in backbone.named_parameters())


def test_the_two_halves_equal_the_full_path_of_transformers(tiny):
    inputs = tiny.prepare(random_views(), PROMPTS)
    result = encoded(tiny, random_views(), PROMPTS)
    placeholders = torch.full((3, tiny.num_image_tokens(2)), tiny.model.config.image_token_id)
    with torch.no_grad():
        expected = tiny.model(
            pixel_values=inputs["pixel_values"].flatten(0, 1),  # sample by sample, the vehicle's picture first
            input_ids=torch.cat([placeholders, inputs["input_ids"]], 1),
            attention_mask=result.mask.long(),
        )
        features = tiny.model.get_image_features(inputs["pixel_values"].flatten(0, 1)).pooler_output
    torch.testing.assert_close(result.tokens, expected.encoder_last_hidden_state, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.decoder, expected.last_hidden_state[:, -1], atol=1e-5, rtol=0)
    torch.testing.assert_close(result.image_tokens, features.reshape(3, 18, 128), atol=1e-6, rtol=0)


def test_inputs_are_those_of_the_processor_in_the_folder(folder, tiny):
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    views = random_views(batch=2, cameras=1)
    ours = tiny.prepare(views, PROMPTS[:2])
    theirs = processor(images=list(views[:, 0].numpy()), text=PROMPTS[:2], padding=True, return_tensors="pt")
    torch.testing.assert_close(ours["pixel_values"][:, 0], theirs["pixel_values"], atol=1e-5, rtol=0)
    num_image_tokens = tiny.num_image_tokens(1)
    assert num_image_tokens == 9
    assert torch.equal(ours["input_ids"], theirs["input_ids"][:, num_image_tokens:])
    assert torch.equal(ours["text_mask"].long(), theirs["attention_mask"][:, num_image_tokens:])


def test_the_vehicles_tokens_come_first_and_swapped_cameras_swap_them(tiny):
    views = random_views()
    straight, swapped = encoded(tiny, views, PROMPTS), encoded(tiny, views.flip(1), PROMPTS)
    alone = encoded(tiny, views[:, :1], PROMPTS)
    vehicle, infrastructure = straight.image_tokens.chunk(2, dim=1)
    torch.testing.assert_close(swapped.image_tokens, torch.cat([infrastructure, vehicle], 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.image_tokens, vehicle, atol=1e-5, rtol=0)


def test_joined_views_are_one_wide_picture():
    joined = tiny_florence(0, views="joined", **SIZE)
    wide = tiny_florence(0, views="separate", height=64, picture_width=256)
    views = random_views()
    canvas = torch.cat([views[:, :1], views[:, 1:]], dim=3)
    ours, theirs = encoded(joined, views, PROMPTS), encoded(wide, canvas, PROMPTS)
    assert joined.num_image_tokens(2) == wide.num_image_tokens(1) == 17
    assert (joined.num_groups(2), joined.num_image_tokens(1)) == (1, 9)
    assert torch.equal(ours.image_tokens, theirs.image_tokens)


@pytest.mark.parametrize("pooling", ["original", "fixed", "mean", "flat"])
def test_features_do_not_depend_on_the_prompts_beside_them(tiny, pooling):
    views = random_views()
    together = pool(encoded(tiny, views, PROMPTS), pooling, 2)
    alone = pool(encoded(tiny, views[1:2], PROMPTS[1:2]), pooling, 2)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)


def test_a_prompt_changes_what_the_text_model_says_and_no_image_token(tiny):
    views = random_views(batch=1)
    ours, theirs = encoded(tiny, views, ["Turn left."]), encoded(tiny, views, ["Stop."])
    assert torch.equal(ours.image_tokens, theirs.image_tokens)
    assert not torch.allclose(ours.tokens[:, :18], theirs.tokens[:, :18], atol=1e-4)


def test_dropout_is_drawn_in_train_mode_only():
    backbone = tiny_florence(0, views="separate", **SIZE)
    views = random_views()
    calm = [encoded(backbone.eval(), views, PROMPTS).tokens for _ in range(2)]
    noisy = [encoded(backbone.train(), views, PROMPTS) for _ in range(2)]
    assert torch.equal(*calm)
    assert not torch.allclose(noisy[0].tokens, noisy[1].tokens, atol=1e-2)
    assert not torch.allclose(noisy[0].image_tokens, noisy[1].image_tokens, atol=1e-3)


def test_a_description_follows_weights_and_mode_of_each_half():
    backbone = tiny_florence(0, views="separate", **SIZE)
    before = backbone.describe()
    assert json.loads(json.dumps(before)) == before == backbone.describe()
    with torch.no_grad():
        backbone.get_parameter(backbone.language_parameters()[0]).add_(1)
    after = backbone.describe()
    assert {name for name in before if before[name] != after[name]} == {"language_weights"}
    assert backbone.describe_vision().items() <= after.items()
    backbone.language_modules[0].train()
    assert (backbone.describe()["language_mode"], backbone.describe()["vision_mode"]) == ("train", "eval")
    other = tiny_florence(0, views="joined", height=32, picture_width=64).describe()
    assert {name for name in before if before[name] != other[name]} == {"views", "size_px"}


def test_more_tokens_than_text_positions_are_refused_before_the_forward_pass():
    # 2 x (1 + 14 x 16) = 450 image tokens leave room for 62 of the 512.
    backbone = tiny_florence(0, views="separate", height=448, picture_width=512)
    views = torch.zeros(1, 2, 448, 512, 3, dtype=torch.uint8)
    assert backbone.prepare(views, ["!" * 60])["input_ids"].shape == (1, 62)
    with pytest.raises(
        UserError, match=r"expected at most 512 tokens, got 450 of the pictures .* and 63 of the longest"
    ):
        backbone.prepare(views, ["!" * 61])


@pytest.mark.parametrize(
    ("views", "height", "width", "message"),
    [
        ("separate", 1632, 64, "backbone.height: expected at most 1600 pixels"),
        ("separate", 64, 1632, "backbone.width: expected at most 1600 pixels"),
        ("joined", 64, 832, "backbone.width: expected at most 800 pixels"),
    ],
)
def test_pictures_of_more_than_50_patches_on_a_side_are_refused(views, height, width, message):
    with pytest.raises(UserError, match=message):
        tiny_florence(0, views=views, height=height, picture_width=width)


def test_pictures_of_another_size_are_refused(tiny):
    with pytest.raises(
        ValueError, match=r"expected uint8 \[batch, cameras, 64, 128, 3\], got torch.uint8 \[3, 2, 32, 64, 3\]"
    ):
        tiny.prepare(random_views(height=32, width=64), PROMPTS)
    with pytest.raises(ValueError, match="prompts: expected 3, one per pair, got 1"):
        tiny.prepare(random_views(), [PROMPT])


def test_a_missing_folder_says_what_to_put_there(tmp_path):
    for path in (None, tmp_path / "nowhere"):
        message = refusal(path)
        for name in ("config.json", "model.safetensors", "tokenizer.json", "florence-community/Florence-2-base"):
            assert name in message
    assert str(tmp_path / "nowhere") in message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    assert f"missing: {name}" in refusal(copy)


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("change", ["text", "code"])
def test_the_older_format_is_recognised_even_where_its_files_differ(copy, change):
    config = json.loads((copy / "config.json").read_text())
    if change == "text":
        config["text_config"]["model_type"] = "florence2_language"
    else:
        config["auto_map"] = {"AutoModelForCausalLM": "modeling_florence2.Florence2ForConditionalGeneration"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    message = refusal(copy)
    assert "older format of microsoft/Florence-2" in message
    assert "florence-community/Florence-2-large" in message


def test_another_model_is_refused(copy):
    edit(copy / "config.json", model_type="clip")
    assert "model_type: expected 'florence2', got 'clip'; backbone.kind auto" in refusal(copy)


def test_weights_that_are_missing_are_not_drawn_at_random(copy):
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if "image_projection" in name)
    save_file(
        {key: tensor for key, tensor in weights.items() if key != name}, copy / "model.safetensors", {"format": "pt"}
    )
    assert "multi_modal_projector.image_projection.weight" in refusal(copy)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "processor_config.json"])
def test_a_damaged_file_is_one_line_for_the_user(copy, name):
    (copy / name).write_bytes(b"[1, 2")
    assert str(copy) in refusal(copy)


@pytest.mark.parametrize(
    "change", [{"image_std": [0, 1, 1]}, {"image_mean": "half"}, {"image_mean": [1, 2]}, {"rescale_factor": 0}]
)
def test_impossible_pixel_statistics_are_refused(copy, change):
    path = copy / "processor_config.json"
    config = json.loads(path.read_text())
    config["image_processor"].update(change)
    path.write_text(json.dumps(config))
    assert next(iter(change)) in refusal(copy)
