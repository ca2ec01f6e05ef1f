"""The adapter to MapAnything, on a stand-in that behaves as upstream does, traps included."""

import json
import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from drivelab_shared.errors import UserError
from opv2v_stage2.config import ModelSettings
from opv2v_stage2.models.build import build_model
from opv2v_stage2.models.compact import CompactModel, pixel_rays
from opv2v_stage2.models.contract import check_predictions
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.models.mapanything import MapAnythingModel
from opv2v_stage2.rotations import matrix_of_pose

HEIGHT, WIDTH, BATCH = 28, 42, 2
ALLOWED = {"img", "data_norm_type", "intrinsics", "ray_directions", "depth_z", "camera_poses", "is_metric_scale"}
PROBABILITIES = {"overall_prob": 0.5, "dropout_prob": 0.5, "ray_dirs_prob": 0.5, "depth_prob": 0.5, "cam_prob": 0.5}


class Upstream(nn.Module):
    """Two parameters with MapAnything's manners."""

    def __init__(self, encoder_config, pretrained_checkpoint_path=None, load_specific_pretrained_submodules=False, **_):
        super().__init__()
        if encoder_config["uses_torch_hub"] or pretrained_checkpoint_path or load_specific_pretrained_submodules:
            raise AssertionError("this would have reached the network, or a pickle")
        self.encoder = nn.Linear(3, 1)
        self.encoder.data_norm_type, self.encoder.patch_size = "dinov2", 14
        self.gradient_checkpointing = encoder_config.get("gradient_checkpointing")
        self.dpt_feature_head = nn.Linear(1, 1)
        self.dense_head = nn.Sequential(self.dpt_feature_head)
        self.scale_head = nn.Linear(1, 1)
        self.geometric_input_config = dict(PROBABILITIES)
        self.seen = []

    def forward(self, views, memory_efficient_inference=False):
        looks = torch.rand(1) < self.geometric_input_config["overall_prob"]
        torch.rand(7)
        self.seen.append((bool(looks), memory_efficient_inference, self.training, views))
        scale = 1 + self.scale_head.weight.abs()
        return [self._prediction(view, scale.expand(len(view["img"]), 1)) for view in views]

    def _prediction(self, view, scale):
        batch, _, height, width = view["img"].shape
        centred = torch.tensor([[20.0, 0, width / 2], [0, 20.0, height / 2], [0, 0, 1]])
        rays = pixel_rays(centred.expand(batch, 1, 3, 3), height, width)[:, 0]
        rays = view.get("ray_directions_cam", rays)
        depth = self.dpt_feature_head(view["img"].mean(1)[..., None]).exp() * scale[:, None, None]
        points = depth * rays
        logits = view["img"][:, 0]
        return {
            "pts3d": points,
            "pts3d_cam": points,
            "ray_directions": rays,
            "depth_along_ray": depth,
            "cam_trans": scale * torch.zeros(batch, 3),
            "cam_quats": torch.tensor([0.0, 0, 0, 1]).repeat(batch, 1),
            "metric_scaling_factor": scale,
            "conf": 1 + depth[..., 0],
            "non_ambiguous_mask": logits > 0,
            "non_ambiguous_mask_logits": logits,
        }

    @torch.inference_mode()
    def infer(self, views, memory_efficient_inference=True, use_amp=True, apply_mask=True, mask_edges=True):
        for number, view in enumerate(views):
            if unknown := set(view) - ALLOWED:
                raise ValueError(f"View {number} contains invalid keys: {unknown}")
            for key, value in view.items():
                if hasattr(value, "to"):
                    view[key] = value.to(torch.float64).to(torch.float32) if key == "img" else value.clone()
        self.geometric_input_config.update(dict.fromkeys(PROBABILITIES, 1.0))
        raw = self.forward([dict(view) for view in views], memory_efficient_inference)
        if torch.isnan(views[0]["img"]).any():
            raise RuntimeError("out of memory")
        self.geometric_input_config.update(PROBABILITIES)
        return [self._derived(prediction, view, apply_mask) for prediction, view in zip(raw, views, strict=True)]

    def _derived(self, prediction, view, apply_mask):
        prediction["img_no_norm"] = view["img"].movedim(1, -1)
        prediction["depth_z"] = prediction["pts3d_cam"][..., 2:]
        prediction["intrinsics"] = view.get("intrinsics", torch.eye(3).repeat(len(view["img"]), 1, 1))
        prediction["camera_poses"] = matrix_of_pose(prediction["cam_quats"], prediction["cam_trans"])
        if apply_mask:
            prediction["mask"] = prediction["non_ambiguous_mask"][..., None]
            for key in ("pts3d", "pts3d_cam", "depth_along_ray", "depth_z"):
                prediction[key] = prediction[key] * prediction["mask"]
        return prediction


def views(count=3, height=HEIGHT, width=WIDTH):
    rng = torch.Generator().manual_seed(0)
    intrinsics = torch.tensor([[20.0, 0, width / 2], [0, 20.0, height / 2], [0, 0, 1]]).repeat(BATCH, 1, 1)
    return [
        {
            "img": torch.randn(BATCH, 3, height, width, generator=rng),
            "data_norm_type": ["dinov2"],
            "intrinsics": intrinsics,
            "depth_z": torch.ones(BATCH, height, width),
            "camera_poses": matrix_of_pose(torch.tensor([[0.0, 0.6, 0, 0.8]]), torch.tensor([[1.0, 2, 3]])).repeat(
                2, 1, 1
            ),
            "is_metric_scale": torch.ones(BATCH, dtype=torch.bool),
            "agent_index": torch.full((BATCH,), number // 2),
            "camera_index": torch.full((BATCH,), number % 2),
            "rig_poses": torch.eye(4).repeat(BATCH, 1, 1),
            "pose_std": torch.ones(BATCH, 2),
        }
        for number in range(count)
    ]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MapAnythingModel(Upstream({"uses_torch_hub": False}))


@pytest.mark.parametrize("inferred", [False, True])
def test_both_ways_in_keep_the_contract(model, inferred):
    given = views()
    for predictions in [model.infer(given), model.infer(given, apply_mask=False)] if inferred else [model(given)]:
        check_predictions(predictions, given, inferred=inferred)


def test_the_compact_model_keeps_the_same_contract():
    given = views(4, height=24, width=32)
    compact = CompactModel(ModelSettings(height=24, width=32, channels=32, layers=1))
    check_predictions(compact(given), given, inferred=False)
    check_predictions(compact.infer(given), given, inferred=True)


def test_upstream_sees_its_own_keys_only_and_ours_come_back(model):
    given = views()
    for predictions in (model(given), model.infer(given)):
        for prediction, view in zip(predictions, given, strict=True):
            assert torch.equal(prediction["agent_index"], view["agent_index"])
            assert torch.equal(prediction["camera_index"], view["camera_index"])
    (_, _, _, trained), (_, _, _, inferred) = model.model.seen
    assert set(inferred[0]) <= ALLOWED
    assert set(trained[0]) == {
        "img", "data_norm_type", "is_metric_scale", "ray_directions_cam", "depth_along_ray",
        "camera_pose_quats", "camera_pose_trans",
    }  # fmt: skip


def test_training_is_told_rays_distances_along_them_and_quaternions(model):
    given = views(1)
    model(given)
    seen = model.model.seen[0][3][0]
    corner = torch.tensor([0.5 - 21, 0.5 - 14, 20.0])
    assert_close(seen["ray_directions_cam"][0, 0, 0], corner / corner.norm())
    assert_close(seen["depth_along_ray"][0, 0, 0, 0], corner.norm() / 20)
    assert_close(seen["camera_pose_quats"][0], torch.tensor([0.0, 0.6, 0, 0.8]))
    assert_close(seen["camera_pose_trans"][0], torch.tensor([1.0, 2, 3]))


def test_intrinsics_lose_half_a_pixel_on_the_way_in_and_find_it_on_the_way_out(model):
    given = views(1)
    (prediction,) = model.infer(given)
    seen = model.model.seen[0][3][0]["intrinsics"]
    assert_close(seen[0, :2, 2], torch.tensor([20.5, 13.5]))
    assert_close(prediction["intrinsics"], given[0]["intrinsics"])


def test_nothing_in_the_callers_dicts_is_touched(model):
    given = views()
    before = [dict(view) for view in given]
    model.infer(given)
    model(given)
    for view, old in zip(given, before, strict=True):
        assert all(view[key] is old[key] for key in old)
        assert view.keys() == old.keys()


def test_training_never_drops_what_it_is_given(model):
    given = views(1)
    for _ in range(20):
        model(given)
    assert all(looks for looks, *_ in model.model.seen)
    assert model.model.geometric_input_config == PROBABILITIES


def test_the_global_random_numbers_are_left_alone(model):
    before = torch.random.get_rng_state()
    model(views(1))
    model.infer(views(1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_configuration_is_restored_after_an_exception(model):
    broken = views(1)
    broken[0]["img"][0, 0, 0, 0] = torch.nan
    model.train()
    with pytest.raises(RuntimeError, match="out of memory"):
        model.infer(broken)
    assert model.model.geometric_input_config == PROBABILITIES
    assert model.training


def test_inference_is_in_eval_mode_and_decodes_few_pictures_at_a_time(model):
    model.train()
    model.infer(views(1))
    assert model.model.seen[0][1:3] == (True, False)
    assert model.training


def test_answers_can_be_used_in_a_loss(model):
    given = views(1)
    student = torch.ones(BATCH, HEIGHT, WIDTH, 1, requires_grad=True)
    raw = model.model.infer([model._inference_view(view) for view in given])
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        student * raw[0]["depth_along_ray"].detach()
    with torch.inference_mode():
        answers = model.infer(given, apply_mask=False)
    (student * answers[0]["depth_along_ray"]).sum().backward()
    assert student.grad.isfinite().all()


def test_a_teacher_is_asked_without_the_mask_that_zeroes_depth(model):
    masked, whole = (model.infer(views(1), apply_mask=apply_mask)[0] for apply_mask in (True, False))
    assert (masked["depth_along_ray"] == 0).any()
    assert (whole["depth_along_ray"] > 0).all()
    assert "mask" not in whole


def test_predictions_become_a_reconstruction_with_gradients(model):
    reconstruction = Reconstruction.of(model(views()))
    assert reconstruction.depth.shape == (BATCH, 3, HEIGHT, WIDTH)
    reconstruction.points.sum().backward()
    assert model.model.dpt_feature_head.weight.grad is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intrinsic": torch.eye(3)}, "view 1: unknown key 'intrinsic'; did you mean 'intrinsics'?"),
        ({"depth_mask": torch.eye(3)}, "view 1: unknown key 'depth_mask'"),
        ({"intrinsics": torch.eye(3)}, r"view 1: intrinsics: expected shape \[2, 3, 3\], got \[3, 3\]"),
        ({"depth_z": torch.ones(2, 28, 42, 1)}, r"view 1: depth_z: expected shape \[2, 28, 42\], got"),
        ({"img": torch.ones(2, 3, 28, 28)}, r"view 1: img: expected shape \[2, 3, 28, 42\], got"),
        ({"data_norm_type": ["identity"]}, r"view 1: data_norm_type: expected \['dinov2'\], got \['identity'\]"),
    ],
)
def test_a_wrong_input_is_named_with_its_view(model, change, message):
    given = views()
    given[1] |= change
    for ask in (model, model.infer):
        with pytest.raises(ValueError, match=message):
            ask(given)


def test_inputs_that_need_others_are_refused_alone(model):
    for missing, message in (
        ("img", "view 0: expected img, got none"),
        ("intrinsics", "view 0: depth_z: expected intrinsics beside it, got none"),
        ("camera_poses", "view 1: camera_poses: expected those of view 0 as well"),
    ):
        given = views()
        del given[0][missing]
        with pytest.raises(ValueError, match=message):
            model(given)


def test_pictures_must_be_whole_patches(model):
    with pytest.raises(ValueError, match="view 0: img: expected sides that are multiples of 14, got 30 x 42"):
        model(views(height=30))


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("pts3d", None, "view 1: expected pts3d, got none"),
        (
            "metric_scaling_factor",
            lambda value: value[:, 0],
            r"metric_scaling_factor: expected shape \[2, 1\], got \[2\]",
        ),
        ("non_ambiguous_mask", lambda value: value.float(), "non_ambiguous_mask: expected bool, got torch.float32"),
        ("ray_directions", lambda value: 2 * value, "ray_directions: expected vectors of length 1"),
        ("cam_quats", lambda value: value * torch.nan, "cam_quats: expected vectors of length 1"),
        ("conf", lambda value: value - 5, "conf: expected numbers >= 1"),
    ],
)
def test_a_prediction_that_breaks_the_contract_is_named(model, key, change, message):
    given = views()
    predictions = model(given)
    if change is None:
        del predictions[1][key]
    else:
        predictions[1][key] = change(predictions[1][key])
    with pytest.raises(ValueError, match=message):
        check_predictions(predictions, given, inferred=False)


@pytest.fixture
def installed(monkeypatch):
    """As if MapAnything were there."""
    package, models = types.ModuleType("mapanything"), types.ModuleType("mapanything.models")
    models.MapAnything = Upstream
    monkeypatch.setitem(sys.modules, "mapanything", package)
    monkeypatch.setitem(sys.modules, "mapanything.models", models)


@pytest.fixture
def folder(tmp_path):
    """Weights and description as upstream writes them: the head that has two names is stored under one."""
    encoder = {"uses_torch_hub": True, "gradient_checkpointing": False, "pretrained_checkpoint_path": "/evil.pth"}
    config = {"encoder_config": encoder, "pretrained_checkpoint_path": "/evil.pth", "name": "mapanything"}
    (tmp_path / "config.json").write_text(json.dumps(config | {"load_specific_pretrained_submodules": True}))
    state = Upstream({"uses_torch_hub": False}).state_dict()
    save_file({k: v for k, v in state.items() if not k.startswith("dense_head")}, tmp_path / "model.safetensors")
    return tmp_path


def settings(folder, **changes):
    return ModelSettings(kind="mapanything", path=folder, height=HEIGHT, width=WIDTH, **changes)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_local_folder_is_built_without_network_or_pickles(folder, checkpointing, capsys):
    model = build_model(settings(folder, gradient_checkpointing=checkpointing))
    assert model.model.gradient_checkpointing is checkpointing
    assert capsys.readouterr().err == ""
    check_predictions(model(views(1)), views(1), inferred=False)


def test_a_package_that_is_not_installed_is_one_line_with_the_way_to_install_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mapanything", None)
    with pytest.raises(
        UserError, match=r"model\.kind: expected an installed mapanything, got none .*pip install"
    ) as failure:
        build_model(settings(folder))
    assert "\n" not in str(failure.value)


@pytest.mark.usefixtures("installed")
def test_weights_without_a_head_are_refused_and_others_reported(folder, capsys):
    state = Upstream({"uses_torch_hub": False}).state_dict()
    trunk = {name: value for name, value in state.items() if name.startswith(("encoder", "scale_head"))}
    save_file(trunk, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"expected the weights of all heads, got none of 4 weights \(dpt_feature_head"):
        build_model(settings(folder))
    heads = {k: v for k, v in state.items() if k.startswith(("dpt", "scale"))} | {"old.weight": torch.ones(1)}
    save_file(heads, folder / "model.safetensors")
    build_model(settings(folder))
    said = capsys.readouterr().err
    assert "missing, left as initialised: 2 weights (encoder.weight, encoder.bias)" in said
    assert "unknown: 1 weights (old.weight)" in said


@pytest.mark.usefixtures("installed")
def test_weights_of_another_shape_are_named(folder):
    save_file({"scale_head.weight": torch.ones(5, 5)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"scale_head\.weight: expected shape \[1, 1\], got \[5, 5\]"):
        build_model(settings(folder))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("text", ["[1]", "{", '{"name": "x"}', "[" * 100_000, '{"encoder_config": 3}'])
def test_a_description_of_something_else_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json: expected the description of a MapAnything"):
        build_model(settings(folder))


@pytest.mark.usefixtures("installed")
def test_checkpointing_is_not_dropped_in_silence(folder):
    (folder / "config.json").write_text(json.dumps({"encoder_config": {}}))
    with pytest.raises(UserError, match=r"model\.gradient_checkpointing: expected a model that knows it"):
        build_model(settings(folder, gradient_checkpointing=True))


def test_a_folder_that_is_not_there_says_what_belongs_there(tmp_path):
    for path in (None, tmp_path / "nowhere"):
        with pytest.raises(
            UserError, match=r"model\.path: expected a local folder with config\.json and model\.safetensors"
        ):
            build_model(settings(path))
