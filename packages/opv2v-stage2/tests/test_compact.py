"""The compact model: what it starts as, what it learns from, and how it finds where other vehicles are."""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import nn

from opv2v_stage2.config import Modality, ModelSettings
from opv2v_stage2.memory import SavedBytes
from opv2v_stage2.models.compact import CompactModel, pose_search
from opv2v_stage2.models.compact.pose_search import CELL_M, FINE, REACH_M, SHIFT_CELLS, YAW_REACH, YAW_STEPS, PoseSearch
from opv2v_stage2.models.contract import check_predictions
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.rotations import rigid, yaw_matrix
from opv2v_stage2.views import INCLUDES

HEIGHT, WIDTH = 24, 32
FOCAL = WIDTH / 2 / math.tan(math.radians(50))
SETTINGS = ModelSettings(height=HEIGHT, width=WIDTH, channels=16, layers=2, heads=2)
MODALITIES = get_args(Modality)
NEVER_ASKED = {
    "images_only": ("pose_search.",),
    "calibrated_sfm": ("pose_search.", "log_focal"),
    "rig": ("pose_search.", "log_focal", "rig"),
    "gps": ("pose_head.", "log_focal", "rig"),
    "posed_sfm": ("pose_head.", "log_focal", "rig"),
}


@pytest.fixture
def views_of(perfect_scene):
    """Views of vehicles 20 m apart; pictures of noise."""

    def views_of(modality="gps", agents=2, samples=2, std=(0.5, 1.0), with_depth=False):
        _, targets = perfect_scene(agents, samples, HEIGHT, WIDTH)
        rng = torch.Generator().manual_seed(1)
        matrix = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
        ones = torch.ones(samples, dtype=torch.long)
        views = []
        for number in range(4 * agents):
            known = {
                "intrinsics": matrix.expand(samples, 3, 3),
                "rig_poses": targets.rig_pose[:, number],
                "camera_poses": targets.camera_pose[:, number],
            }
            view = {
                "img": torch.randn(samples, 3, HEIGHT, WIDTH, generator=rng),
                "data_norm_type": ["dinov2"],
                "is_metric_scale": ones.bool(),
                "agent_index": ones * (number // 4),
                "camera_index": ones * (number % 4),
            }
            view |= {key: known[key] for key in INCLUDES[modality]}
            if "camera_poses" in view:
                view["pose_std"] = torch.tensor(std).expand(samples, 2)
            if with_depth:
                view["depth_z"] = targets.depth_z[:, number]
            views.append(view)
        return views

    return views_of


def fresh(settings: ModelSettings = SETTINGS) -> CompactModel:
    torch.manual_seed(0)
    return CompactModel(settings)


def shaken() -> CompactModel:
    """As after training: nothing is zero."""
    model = fresh()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


# --- the contract


@pytest.mark.parametrize("agents", [1, 2, 3])
@pytest.mark.parametrize("modality", MODALITIES)
def test_every_modality_keeps_the_contract(views_of, modality, agents):
    model, views = shaken(), views_of(modality, agents)
    check_predictions(model(views), views, inferred=False)
    for apply_mask in (True, False):
        predictions = model.infer(views, apply_mask=apply_mask)
        check_predictions(predictions, views, inferred=True)
        assert all(("mask" in prediction) == apply_mask for prediction in predictions)


def test_a_mask_zeroes_what_is_not_valid_and_nothing_else(views_of):
    model, views = shaken(), views_of()
    (masked, *_), (whole, *_) = model.infer(views, apply_mask=True), model.infer(views, apply_mask=False)
    valid = masked["mask"][..., 0]
    assert 0 < valid.float().mean() < 1
    assert (masked["pts3d"][~valid] == 0).all()
    torch.testing.assert_close(masked["pts3d"][valid], whole["pts3d"][valid])


def test_a_picture_of_odd_size_is_refused(views_of):
    views = [view | {"img": view["img"][..., :-1]} for view in views_of("images_only")]
    with pytest.raises(ValueError, match="multiples of 8, got 24 x 31"):
        fresh()(views)


def test_infer_leaves_the_views_and_the_training_mode_alone(views_of):
    model, views = fresh().train(), views_of()
    before = [{key: (value, torch.as_tensor(value).clone()) for key, value in view.items() if key != "data_norm_type"}
              for view in views]  # fmt: skip
    predictions = model.infer(views)
    assert model.training
    assert not model.eval().infer(views)[0]["pts3d"].requires_grad
    assert not model.training
    assert not any(value.requires_grad for prediction in predictions for value in prediction.values())
    for view, kept in zip(views, before, strict=True):
        assert view.keys() == kept.keys() | {"data_norm_type"}
        for key, (same, copy) in kept.items():
            assert view[key] is same
            torch.testing.assert_close(view[key], copy, rtol=0, atol=0)


def test_infer_leaves_the_training_mode_alone_when_it_fails(views_of):
    model = fresh().train()
    with pytest.raises(ValueError, match="multiples of 8"):
        model.infer([view | {"img": view["img"][..., :-1]} for view in views_of("images_only")])
    assert model.training


# --- what it starts as


def test_it_starts_as_flat_ground_and_a_limit_to_how_far_one_sees(views_of):
    first, *_ = fresh()(views_of("rig", agents=1))
    depth = first["depth_along_ray"][0, ..., 0]
    height = 1.93 - 0.9  # of the front camera, which looks along the ground
    for row, column in [(23, 16), (23, 0), (18, 31), (14, 5)]:
        down, right = (row + 0.5 - HEIGHT / 2) / FOCAL, (column + 0.5 - WIDTH / 2) / FOCAL
        expected = min(40.0, height * math.sqrt(1 + down**2 + right**2) / down)
        assert depth[row, column].item() == pytest.approx(expected, rel=1e-4)
    assert depth[:12].allclose(torch.tensor(40.0))


def test_without_a_rig_it_starts_at_the_usual_distance(views_of):
    for modality in ("images_only", "calibrated_sfm"):
        found = Reconstruction.of(fresh()(views_of(modality)))
        assert found.depth.allclose(torch.tensor(15.0))


@pytest.mark.parametrize("modality", ["gps", "posed_sfm"])
def test_it_starts_with_the_poses_of_gps(views_of, modality):
    views = views_of(modality, agents=3)
    found = Reconstruction.of(fresh()(views))
    told = torch.stack([view["camera_poses"] for view in views], dim=1)
    torch.testing.assert_close(found.camera_pose, told, atol=1e-4, rtol=1e-4)


def test_told_poses_may_be_in_any_world(views_of):
    model, views = shaken(), views_of()
    elsewhere = rigid(yaw_matrix(torch.tensor(2.0)), torch.tensor([600.0, -17.0, 3.0]))
    moved = [view | {"camera_poses": elsewhere @ view["camera_poses"]} for view in views]
    ours, theirs = (Reconstruction.of(model.infer(some)) for some in (views, moved))
    torch.testing.assert_close(ours.camera_pose, theirs.camera_pose, atol=1e-3, rtol=0)


def test_it_starts_undecided_about_validity_and_at_the_usual_scale(views_of):
    found = Reconstruction.of(fresh()(views_of()))
    assert found.validity_logits.abs().max() == 0
    assert found.scale.allclose(torch.tensor(15.0))


def test_a_given_depth_is_seen(views_of):
    model = shaken()
    without, given = (Reconstruction.of(model(views_of(with_depth=told))) for told in (False, True))
    assert (without.depth - given.depth).abs().max() > 1e-3


# --- what it learns from


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_parameter_that_a_modality_uses_gets_a_gradient(views_of, modality):
    model = shaken().train()
    found = Reconstruction.of(model(views_of(modality)))
    parts = (found.points, found.confidence, found.validity_logits, found.camera_pose)
    rng = torch.Generator().manual_seed(2)
    sum((part * torch.randn(part.shape, generator=rng)).sum() for part in parts).backward()
    for name, parameter in model.named_parameters():
        is_asked = not name.startswith(NEVER_ASKED[modality])
        has_gradient = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert has_gradient == is_asked, name


def test_checkpointed_activations_take_less_memory_and_change_no_gradient(views_of):
    gradients, kept = [], []
    for saves_memory in (False, True):
        model = fresh(replace(SETTINGS, gradient_checkpointing=saves_memory)).train()
        with SavedBytes(model) as memory:
            seen = Reconstruction.of(model(views_of()))
        seen.depth.log().square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        kept.append(memory.total)
    assert kept[1] < kept[0]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_sample_does_not_depend_on_its_batch(views_of):
    model, views = shaken(), views_of(samples=3)
    alone = [{key: value[1:2] if torch.is_tensor(value) else value for key, value in view.items()} for view in views]
    together, single = (Reconstruction.of(model.infer(some)) for some in (views, alone))
    for part in ("depth", "camera_pose", "scale", "confidence", "validity_logits"):
        torch.testing.assert_close(getattr(together, part)[1:2], getattr(single, part), atol=1e-5, rtol=1e-4)


def test_vehicles_have_an_identity(views_of):
    """Else a model of shuffled pictures could not tell whose they are."""
    model, views = shaken(), views_of("calibrated_sfm")
    renamed = [view | {"agent_index": view["agent_index"] * 0} for view in views]
    ours, theirs = (Reconstruction.of(model.infer(some)) for some in (views, renamed))
    assert (ours.camera_pose - theirs.camera_pose).abs().max() > 1e-3


# --- pose search


def pattern(points: torch.Tensor) -> torch.Tensor:
    """Eight channels of hills and dales over the plane, of length 1 in each place."""
    rng = torch.Generator().manual_seed(3)
    waves = 0.5 * torch.randn(2, 8, 5, generator=rng)
    phases = 7 * torch.rand(8, 5, generator=rng)
    heights = torch.einsum("...i,icw->...cw", points, waves).add(phases).sin().sum(-1)
    return nn.functional.normalize(heights, dim=-1).movedim(-1, 0)


def cell_middles() -> torch.Tensor:
    along = torch.arange(-REACH_M, REACH_M, CELL_M) + CELL_M / 2
    return torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1)


def planar(x: float, y: float, yaw: float) -> torch.Tensor:
    return rigid(yaw_matrix(torch.tensor(yaw)), torch.tensor([x, y, 0.3]))[None]


def seen_from(first_from_other: torch.Tensor) -> torch.Tensor:
    points = cell_middles() @ first_from_other[0, :2, :2].T + first_from_other[0, :2, 3]
    return pattern(points)[None]


def searched(gain: float, prior: torch.Tensor, other: torch.Tensor, std_m=3.0, yaw_std=0.04) -> torch.Tensor:
    search = PoseSearch(4)
    nn.init.constant_(search.gain, gain)
    with torch.no_grad():
        return search(pattern(cell_middles())[None], other, prior, torch.tensor([std_m]), torch.tensor([yaw_std]))


def test_pose_search_finds_how_far_the_prior_is_shifted_and_turned():
    step = YAW_REACH / (YAW_STEPS // 2) * 0.04
    for shift, turns in [((3.0, -2.0), 1), ((-4.0, 1.0), -2), ((0.0, 5.0), 0)]:
        truth = planar(12.0, -5.0, 0.7)
        prior = planar(12.0 - shift[0], -5.0 - shift[1], 0.7 - turns * step)
        found = searched(10.0, prior, seen_from(truth))
        torch.testing.assert_close(found, truth, atol=0.15, rtol=0)


def test_pose_search_of_no_gain_is_the_prior():
    prior = planar(9.0, -6.0, 0.6)
    torch.testing.assert_close(searched(0.0, prior, seen_from(planar(12.0, -5.0, 0.7))), prior, atol=1e-5, rtol=0)


def test_a_good_gps_is_not_overruled():
    prior = planar(9.0, -6.0, 0.6)
    found = searched(1.0, prior, seen_from(planar(12.0, -5.0, 0.7)), std_m=0.02, yaw_std=0.001)
    torch.testing.assert_close(found, prior, atol=0.01, rtol=0)


def test_agreement_by_fourier_transform_equals_a_plain_loop():
    rng = torch.Generator().manual_seed(4)
    cells = 9
    first = torch.randn(2, 3, cells, cells, generator=rng)
    turned = torch.randn(2, 4, 3, cells + 2 * SHIFT_CELLS, cells + 2 * SHIFT_CELLS, generator=rng)
    found = pose_search._correlation(first, turned)[..., ::FINE, ::FINE]
    for i in range(2 * SHIFT_CELLS + 1):
        for j in range(2 * SHIFT_CELLS + 1):
            # Moved by (i, j) - SHIFT_CELLS, the other's cell p - d comes to lie on the first one's cell p.
            rows, columns = slice(2 * SHIFT_CELLS - i, None), slice(2 * SHIFT_CELLS - j, None)
            under = turned[..., rows, columns][..., :cells, :cells]
            expected = (under * first[:, None]).sum((2, 3, 4)) / cells
            torch.testing.assert_close(found[..., i, j], expected, atol=1e-4, rtol=1e-4)


class Kept(nn.Module):
    """Passes on what it keeps."""

    def forward(self, lifted):
        self.lifted = lifted
        return lifted


def test_a_place_looks_up_the_pixel_that_it_projects_to(perfect_scene):
    _, targets = perfect_scene(1, 1)
    search = PoseSearch(pose_search.LIFTED_CHANNELS)
    search.reduce, search.plan = nn.Identity(), Kept()
    maps = torch.zeros(1, 4, pose_search.LIFTED_CHANNELS, HEIGHT // 2, WIDTH // 2)
    maps[0, 0, 0] = 2 * torch.arange(WIDTH // 2) + 1.0  # of the front camera only: its columns, ...
    maps[0, 0, 1] = (2 * torch.arange(HEIGHT // 2) + 1.0)[:, None]  # ... and its rows
    matrix = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]).expand(1, 4, 3, 3)
    search.plans(maps, matrix, targets.rig_pose, (HEIGHT, WIDTH))
    lifted = search.plan.lifted.unflatten(1, (-1, len(pose_search.HEIGHTS_M)))
    # 10.5 m ahead of the lidar, 0.5 m to its left, on the ground: 7.5 m ahead of the camera and 1 m below it.
    column, row = lifted[0, :2, 0, 42, 32].tolist()
    assert column == pytest.approx(WIDTH / 2 - FOCAL * 0.5 / 7.5, abs=1e-3)
    assert row == pytest.approx(HEIGHT / 2 + FOCAL * 1.0 / 7.5, abs=1e-3)


def test_a_plan_is_empty_where_no_camera_looks(perfect_scene):
    _, targets = perfect_scene(1, 1)
    matrix = torch.tensor([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]).expand(1, 1, 3, 3)
    maps = torch.randn(1, 1, 4, HEIGHT // 2, WIDTH // 2)
    plan = PoseSearch(4).plans(maps, matrix, targets.rig_pose[:, :1], (HEIGHT, WIDTH))[0]
    lengths = plan.norm(dim=0)
    assert (lengths[:32] == 0).all()  # the front camera sees nothing behind the lidar
    assert lengths[42, 32].item() == pytest.approx(1, abs=1e-5)
