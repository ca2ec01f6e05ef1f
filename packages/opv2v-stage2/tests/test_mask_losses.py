"""Height and validity: which pixels they move, and the ceiling that the literal height term makes."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close

from opv2v_stage2.losses.height_loss import height_above_ground, height_loss
from opv2v_stage2.losses.validity_loss import validity_loss


def row(*values):
    return torch.tensor(values).view(1, 1, 1, -1)


def test_heights_come_from_the_rig_alone(perfect_scene):
    reconstruction, targets = perfect_scene(agents=1, dtype=torch.float64)
    heights = height_above_ground(reconstruction.points_camera, targets.camera_up, targets.camera_height)
    points = torch.einsum("svij,svhwj->svhwi", targets.rig_pose[..., :3, :3], reconstruction.points_camera)
    assert_close(heights, points[..., 2] + targets.rig_pose[..., 2, 3, None, None] + 1.93)
    assert_close(targets.camera_up[0, 0], torch.tensor([0.0, -1, 0], dtype=torch.float64))
    assert_close(targets.camera_height[0], torch.tensor([1.03, 1.83, 1.83, 1.53], dtype=torch.float64))


def test_height_as_mask_lowers_validity_and_leaves_depth_alone():
    heights, logits = row(8.0, 3.0, 20.0).requires_grad_(), row(0.0, 0.0, 0.0).requires_grad_()
    loss = height_loss(heights, logits, row(True, True, False), mode="mask", z_max=4.0)
    assert_close(loss, torch.tensor(0.5 * (8 - 4) / 4 / 2))
    loss.backward()
    assert heights.grad is None
    assert_close(logits.grad, row(0.25 * 1 / 2, 0.0, 0.0))


def test_height_as_depth_pulls_what_is_unlabelled_and_high():
    heights, logits = row(8.0, 3.0, 20.0).requires_grad_(), row(0.0, 0.0, 0.0).requires_grad_()
    loss = height_loss(heights, logits, row(True, True, False), mode="depth", z_max=4.0)
    assert_close(loss, torch.tensor((8 - 4) / 2))
    loss.backward()
    assert logits.grad is None
    assert_close(heights.grad, row(0.5, 0.0, 0.0))


@pytest.mark.parametrize(("mode", "has_ceiling"), [("depth", True), ("mask", False)])
def test_the_literal_height_term_makes_a_false_ceiling(mode, has_ceiling):
    # A facade 20 m ahead, seen from 1.5 m up to 60 degrees above the horizon; only its lowest fifth has labels.
    elevation = torch.linspace(0.05, math.radians(60), 40)
    truth = 20 / elevation.cos()
    labelled = elevation < 0.25
    log_depth, logits = truth.log().clone().requires_grad_(), torch.full((40,), 2.0, requires_grad=True)
    for _ in range(200):
        depth = log_depth.exp()
        height = 1.5 + depth * elevation.sin()
        high = height_loss(row(0.0) + height, row(0.0) + logits, row(False) | ~labelled, mode=mode, z_max=4.0)
        loss = (depth - truth).abs()[labelled].mean() + high
        loss.backward()
        with torch.no_grad():
            for value in (log_depth, logits):
                value -= 0.02 * (value.grad.sign() if value.grad is not None else 0)
                value.grad = None
    height = (1.5 + log_depth.exp() * elevation.sin()).detach()
    in_ceiling = ((height > 3) & (height < 4.3))[~labelled].float().mean()
    assert (in_ceiling > 0.9) == has_ceiling
    is_kept = logits.detach().sigmoid() > 0.5
    is_wrong = (log_depth.detach().exp() / truth).log().abs() > 0.2
    assert ((is_kept & is_wrong & (height <= 4.2)).float().mean() > 0.5) == has_ceiling
    if not has_ceiling:
        assert not is_kept[~labelled & (height > 5)].any()


def test_labels_and_sky_count_half_each_and_the_rest_is_ignored():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 2, 4))).requires_grad_()
    labelled = torch.zeros(1, 1, 2, 4, dtype=torch.bool)
    negative = labelled.clone()
    labelled[..., 0, :3] = True
    negative[..., 1, 0] = negative[..., 0, 0] = True  # one is labelled, too: the label wins
    by_hand = 0.5 * binary_cross_entropy_with_logits(logits[..., 0, :3], torch.ones(1, 1, 3, dtype=torch.float64))
    by_hand += 0.5 * binary_cross_entropy_with_logits(logits[..., 1, 0], torch.zeros(1, 1, dtype=torch.float64))
    loss = validity_loss(logits, labelled, negative)
    assert_close(loss, by_hand)
    loss.backward()
    assert (logits.grad[0, 0] != 0).tolist() == [[True, True, True, False], [True, False, False, False]]


def test_a_half_without_pixels_is_zero():
    none, all_of_them = row(False, False), row(True, True)
    logits = row(0.0, 0.0)
    assert_close(validity_loss(logits, all_of_them, none), torch.tensor(0.5 * math.log(2)))
    assert_close(validity_loss(logits, none, all_of_them), torch.tensor(0.5 * math.log(2)))
    assert validity_loss(logits, none, none) == 0


def test_upstreams_rule_teaches_that_sky_is_valid():
    logits = row(0.0, 0.0).requires_grad_()
    validity_loss(logits, row(True, False), row(False, True), mode="upstream").backward()
    assert (logits.grad < 0).all()


def test_extreme_logits_have_a_finite_loss():
    assert validity_loss(row(1e4, -1e4), row(False, True), row(True, False)).isfinite()
