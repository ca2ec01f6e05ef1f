"""What a model reads: which samples are left, what fewer or other pictures change, and in which order all is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drivelab_shared.errors import UserError
from v2x_teacher import inputs as inputs_module
from v2x_teacher.config import LabelSettings
from v2x_teacher.features import encode_views
from v2x_teacher.inputs import open_inputs, open_samples, priors
from v2x_teacher.storage import build_teacher

from .trees import edit, rotation_z, three_drives, write_spd

CPU = torch.device("cpu")
ENDS = "the sequence ends within the horizon"
YOUNG = "less than 0.15 s of past"


@pytest.fixture(scope="module")
def inputs(tiny_settings):
    return open_inputs(tiny_settings, CPU)


@pytest.fixture(scope="module")
def learning(tiny_settings):
    """With a backbone whose language half learns."""
    head = replace(tiny_settings.head, pooling="fixed")
    return open_inputs(replace(tiny_settings, head=head, freeze_backbone=False), CPU)


def samples_of(root: Path, *, skip_invalid: bool = False, **labels):
    _, samples = open_samples(root, "auto", None, LabelSettings(**labels), skip_invalid=skip_invalid)
    return samples


def frames(samples, sequence: str) -> list[int]:
    """Numbers of its frames, counted in the sequence of 60."""
    return [int(pair.vehicle_id) % 60 for pair in samples.pairs if pair.sequence == sequence]


# --- which samples are left


def test_pairs_without_a_known_past_or_future_are_left_out_and_counted(tmp_path):
    # Three drives of 60 frames at 10 Hz: from frame 15 on 4.5 s are not there, at 0 and 1 nobody knows the speed.
    samples = samples_of(write_spd(tmp_path, three_drives()))
    assert [frames(samples, f"000{number}") for number in range(3)] == [list(range(2, 15))] * 3
    assert samples.excluded == {ENDS: 3 * 45, YOUNG: 3 * 2}


def test_counts_name_every_split_and_every_reason(inputs):
    counts = inputs.counts()
    assert {name: counts[name] for name in ("train", "val", "test")} == {
        split: int(inputs.samples.mask(split).sum()) for split in ("train", "val", "test")
    }
    reasons = {name: count for name, count in counts.items() if name not in ("train", "val", "test")}
    assert reasons == {f"left out: {reason}": count for reason, count in inputs.samples.excluded.items()}
    assert reasons


def spoil(root: Path) -> None:
    """A heading turned around at frame 3, two broken pictures, and a sequence whose frame points elsewhere."""
    turned = (-np.diag([1, 1, -1])).tolist()
    edit(root / "vehicle-side/calib/novatel_to_world/000003.json", lambda document: document.update(rotation=turned))
    (root / "vehicle-side/image/000005.jpg").write_bytes(b"not a picture")
    (root / "infrastructure-side/image/000012.jpg").write_bytes(b"")
    for number in range(60, 120):
        path = root / f"vehicle-side/calib/novatel_to_world/{number:06d}.json"
        edit(path, lambda d: d.update(rotation=(np.array(d["rotation"]) @ rotation_z(-np.pi / 2)).tolist()))


def test_skip_invalid_leaves_out_what_check_data_rejects_and_counts_each_sample_once(tmp_path):
    root = write_spd(tmp_path, three_drives())
    spoil(root)
    samples = samples_of(root, skip_invalid=True, forward_axis="x")
    # Labels at 0.3 to 0.8 s have the turned heading in their last half second; 0.5 s is one of them.
    assert frames(samples, "0000") == [2, 9, 10, 11, 13, 14]
    assert frames(samples, "0001") == []
    assert frames(samples, "0002") == list(range(2, 15))
    assert samples.excluded == {
        ENDS: 135,
        YOUNG: 6,
        "heading turned around": 6,
        "another forward axis": 13,
        "unreadable picture": 1,
    }


def test_without_it_only_what_the_reader_cannot_use_is_missing(tmp_path):
    root = write_spd(tmp_path, three_drives())
    spoil(root)
    assert len(samples_of(root, forward_axis="x")) == 3 * 13


def test_errors_of_the_reader_stop_unless_they_may_be_skipped_and_then_are_listed(tmp_path, capsys):
    root = write_spd(tmp_path, three_drives())
    for number in (4, 7):
        (root / f"vehicle-side/image/{number:06d}.jpg").unlink()
    with pytest.raises(UserError) as caught:
        samples_of(root)
    assert "000004.jpg" in str(caught.value)
    assert "(2 errors in all: check-data lists them, --skip_invalid goes on without them)" in str(caught.value)
    samples = samples_of(root, skip_invalid=True)
    assert frames(samples, "0000") == [frame for frame in range(2, 15) if frame not in (4, 7)]
    listed = capsys.readouterr().err.splitlines()
    assert [Path(line.removeprefix("left out: ").split(": ")[0]).name for line in listed] == [
        "000004.jpg",
        "000007.jpg",
    ]


def test_a_picture_that_the_infrastructure_never_took_is_no_reason(tmp_path):
    root = write_spd(tmp_path, three_drives())
    (root / "infrastructure-side/image/000004.jpg").unlink()
    assert 4 in frames(samples_of(root, skip_invalid=True), "0000")


# --- the prior


@pytest.mark.parametrize("kind", ["none", "cv", "ctrv"])
def test_the_prior_is_where_the_motion_leads(inputs, kind):
    settings = replace(inputs.settings, head=replace(inputs.settings.head, prior=kind))
    found = priors(settings, inputs.samples)
    assert found.dtype == np.float32
    for sample, (vx, vy, rate, _) in enumerate(inputs.samples.ego.astype(float)):
        for step, seconds in ((0, 0.1), (24, 2.5), (44, 4.5)):
            expected = [0.0, 0.0] if kind == "none" else [vx * seconds, vy * seconds]
            if kind == "ctrv":
                speed, turn = np.hypot(vx, vy), rate * seconds
                straight = [speed * seconds, 0.0]
                curved = [speed * np.sin(turn) / rate, speed * (1 - np.cos(turn)) / rate] if rate else straight
                expected = straight if abs(rate) < 1e-3 else curved
            assert found[sample, step] == pytest.approx(expected, abs=1e-3)


# --- fewer pictures


@pytest.mark.parametrize("pooling", ["mean", "flat", "fixed"])
@pytest.mark.parametrize("views", ["separate", "joined"])
def test_the_vehicles_camera_alone_gives_what_a_run_with_it_alone_would_see(tiny_settings, tmp_path, pooling, views):
    settings = replace(
        tiny_settings,
        head=replace(tiny_settings.head, pooling=pooling),
        backbone=replace(tiny_settings.backbone, views=views),
        cache_dir=tmp_path,
    )
    both = open_inputs(settings, CPU)
    before = sorted(tmp_path.iterdir())
    found = both.with_cameras("vehicle", CPU)
    is_sliced = pooling != "fixed" and views == "separate"
    assert (sorted(tmp_path.iterdir()) == before) == is_sliced  # else pictures and features are made anew
    expected = open_inputs(replace(settings, backbone=replace(settings.backbone, cameras="vehicle")), CPU)
    assert (found.cameras, found.num_cameras) == ("vehicle", 1)
    assert found.head_shape() == expected.head_shape()
    np.testing.assert_array_equal(found.views, expected.views)
    np.testing.assert_allclose(found.features, expected.features, atol=1e-5)


def test_a_learning_backbone_that_sees_one_camera_is_another_one(learning):
    found = learning.with_cameras("vehicle", CPU)
    assert found.backbone is not learning.backbone
    assert found.trainable_backbone is found.backbone
    np.testing.assert_array_equal(found.views, learning.views[:, :1])
    assert found.image_tokens.shape[1] == learning.image_tokens.shape[1] // 2


def test_the_motion_alone_has_no_pictures(inputs):
    found = inputs.without_pictures()
    features, ego, truth, prior = found.batch(np.array([3, 1]), CPU)
    assert features is None
    assert (found.num_cameras, found.head_shape(), found.trainable_backbone) == (0, (0, 0), None)
    for tensor, array in ((ego, inputs.samples.ego), (truth, inputs.samples.truth), (prior, inputs.prior)):
        np.testing.assert_array_equal(tensor, array[[3, 1]])


# --- other pictures, other samples


def rows_of(features, of):
    """Where each row of `features` stands in `of`."""
    return [int(np.flatnonzero((of == row).all(axis=(1, 2)))[0]) for row in features]


def test_shuffled_pictures_stay_in_their_split_and_nobody_keeps_its_own(inputs):
    found = inputs.shuffled(0)
    order = rows_of(found.features, inputs.features)
    assert sorted(order) == list(range(len(order)))
    splits = [pair.split for pair in inputs.samples.pairs]
    assert [splits[row] for row in order] == splits
    assert all(row != own for own, row in enumerate(order))
    np.testing.assert_array_equal(found.views, inputs.views[order])
    assert found.samples is inputs.samples  # motion and truth stay
    assert rows_of(inputs.shuffled(0).features, inputs.features) == order
    assert rows_of(inputs.shuffled(1).features, inputs.features) != order


def test_a_subset_has_the_samples_of_its_rows_in_their_order(inputs, learning):
    rows = inputs.rows("val")[::-1]
    part = inputs.subset(rows)
    assert part.samples.ids == [inputs.samples.ids[row] for row in rows]
    for name in ("prior", "views", "features"):
        np.testing.assert_array_equal(getattr(part, name), getattr(inputs, name)[rows])
    assert part.image_tokens is None
    np.testing.assert_array_equal(learning.subset(rows).image_tokens, learning.image_tokens[rows])


def test_features_follow_the_pictures(inputs):
    views = np.array(inputs.views)
    views[:, 1] = 127
    found = inputs.with_views(views, CPU)
    tiny, settings = inputs.backbone, inputs.settings
    np.testing.assert_array_equal(found.features, encode_views(tiny, views, inputs.prompts, settings.head.pooling))
    np.testing.assert_array_equal(found.features[:, 0], inputs.features[:, 0])  # the vehicle's picture is the same
    assert not np.allclose(found.features[:, 1], inputs.features[:, 1])


def test_image_tokens_follow_them_too(learning):
    views = np.array(learning.views)
    views[:, 1] = 127
    tokens, half = learning.with_views(views, CPU).image_tokens, learning.image_tokens.shape[1] // 2
    np.testing.assert_allclose(tokens[:, :half], learning.image_tokens[:, :half], atol=1e-5)
    assert not np.allclose(tokens[:, half:], learning.image_tokens[:, half:])


def test_a_learning_backbone_reads_tokens_in_place_of_pixels(learning):
    read, _, _, _ = learning.batch(np.array([2, 0]), CPU)
    assert "pixel_values" not in read
    np.testing.assert_array_equal(read["image_tokens"], learning.image_tokens[[2, 0]])


def test_a_data_sets_own_prompts_come_before_the_settings(inputs):
    pairs = (replace(inputs.samples.pairs[0], prompt="Turn left."), *inputs.samples.pairs[1:])
    found = replace(inputs, samples=replace(inputs.samples, pairs=pairs)).prompts
    assert found == ["Turn left.", *[inputs.settings.backbone.prompt] * (len(pairs) - 1)]


# --- predictions, and what must not change


def test_predictions_do_not_depend_on_the_pieces_they_are_made_in(inputs, monkeypatch):
    torch.manual_seed(0)
    head = replace(inputs.settings.head, init="fixed", loss="wta")
    network = build_teacher(head, *inputs.head_shape(), 45, 2, None).module.eval()
    rows = np.arange(len(inputs.samples))
    whole = inputs.method(network, rows, CPU)
    assert (whole.trajectories.shape, whole.modes.shape) == ((len(rows), 45, 2), (len(rows), 3, 45, 2))
    monkeypatch.setattr(inputs_module, "CHUNK", 4)
    pieces = inputs.method(network, rows, CPU)
    np.testing.assert_allclose(pieces.trajectories, whole.trajectories, atol=1e-4)
    np.testing.assert_allclose(pieces.modes, whole.modes, atol=1e-4)
    assert whole.scale is None


def moved(samples):
    truth = samples.truth.copy()
    truth[3, 7, 1] += 0.01
    return replace(samples, truth=truth)


def faster(samples):
    ego = samples.ego.copy()
    ego[2, 0] += 0.01
    return replace(samples, ego=ego)


def in_another_split(samples):
    return replace(samples, pairs=(replace(samples.pairs[0], split="another"), *samples.pairs[1:]))


@pytest.mark.parametrize("change", [moved, faster, in_another_split])
def test_another_label_motion_or_split_is_another_fingerprint(inputs, change):
    assert replace(inputs, samples=change(inputs.samples)).fingerprint != inputs.fingerprint


def test_the_same_samples_have_the_same_fingerprint_whatever_reads_them(inputs, learning):
    assert learning.fingerprint == inputs.fingerprint == inputs.without_pictures().fingerprint
