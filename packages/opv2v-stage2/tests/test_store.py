"""The arrays of a split: made once per content, whole, and true to the files."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2.config import LabelSettings
from opv2v_stage2.data.recording import FrameKey
from opv2v_stage2.data.store import MOST_BOXES, open_store
from opv2v_stage2.data.tree import index_tree, open_tree

SIZE = (32, 24)
LABELS = LabelSettings()
ONE, TWO = "000069", "000071"


@pytest.fixture
def root(tmp_path, write_scenario, agent_document):
    """Two vehicles and a roadside unit at two moments."""
    agents = {"7": agent_document(), "12": agent_document(20), "-1": agent_document(8, y=4)}
    write_scenario(tmp_path / "data" / "train" / "2021_08_16_22_26_54", agents)
    return tmp_path / "data"


@pytest.fixture
def opened(root, tmp_path):
    def opened(split="train", size=SIZE, labels=LABELS, depth_root=None):
        return open_store(index_tree(root), split, size, labels, tmp_path / "cache", depth_root)

    return opened


def test_a_row_is_an_agent_at_a_moment(opened):
    store = opened()
    assert len(store) == 6
    assert store.size == SIZE
    assert [(key.frame, agent) for key, agent in zip(store.keys, store.agents, strict=True)] == [
        (frame, agent) for frame in (ONE, TWO) for agent in ("7", "12", "-1")
    ]
    assert store.rows_of[FrameKey("2021_08_16_22_26_54", TWO)] == {"7": 3, "12": 4, "-1": 5}


def test_a_row_holds_what_the_files_say(opened, root):
    store, tree = opened(), open_tree(root)
    for row, (key, agent) in enumerate(zip(store.keys, store.agents, strict=True)):
        frame = tree.read("train", key, agent)
        np.testing.assert_allclose(store.arrays["world_from_lidar"][row], frame.world_from_lidar)
        np.testing.assert_allclose(store.arrays["gps_world_from_lidar"][row], frame.gps_world_from_lidar)
        for number, camera in frame.cameras.items():
            np.testing.assert_allclose(store.arrays["rig"][row, number], camera.lidar_from_camera)
            half = np.diag([0.5, 0.5, 1]) @ camera.intrinsics  # the pictures have 64 x 48 pixels
            np.testing.assert_allclose(store.arrays["intrinsics"][row, number], half, rtol=1e-6)
            picture = cv2.imread(str(camera.image_path))[..., ::-1]
            means = picture.reshape(24, 2, 32, 2, 3).mean((1, 3))
            assert np.abs(store.arrays["images"][row, number] - means).max() <= 1


def test_labels_are_those_of_the_sweep_thinned_for_every_picture_on_its_own(opened):
    full, thin = opened(labels=replace(LABELS, coverage=1.0)), opened()
    labels, few = full.arrays["labels_z"], thin.arrays["labels_z"]
    assert ((few > 0).sum((2, 3)) <= round(0.03 * 32 * 24)).all()
    assert (few[few > 0] == labels[few > 0]).all()
    assert len({(few[row, camera] > 0).tobytes() for row in range(6) for camera in range(4)}) == 24


def test_a_camera_that_is_absent_is_black_without_labels_and_marked(opened, root):
    for path in root.rglob("*_camera3.png"):
        path.unlink()
    store = opened(labels=replace(LABELS, coverage=1.0))
    assert store.arrays["has_image"].tolist() == [[True, True, True, False]] * 6
    assert not store.arrays["images"][:, 3].any()
    assert not store.arrays["labels_z"][:, 3].any()
    assert store.arrays["labels_z"][:, :3].any((1, 2, 3)).all()


def test_without_dense_depth_nobody_knows_it(opened):
    store = opened()
    assert not store.has_dense
    assert np.isnan(store.arrays["dense_z"]).all()


def test_dense_depth_keeps_the_sky(tiny_data):
    store = open_store(open_tree(tiny_data), "train", (96, 72), LABELS, tiny_data.parent / "cache")
    assert store.has_dense
    dense = store.arrays["dense_z"][store.arrays["has_image"]]
    assert np.isinf(dense).any()
    assert not np.isnan(dense).any()
    assert dense.min() > 0


# --- boxes


def test_boxes_are_the_nearest_ones_and_the_rest_is_said(tmp_path, write_scenario, agent_document, box_at, capsys):
    boxes = {100 + number: box_at([5.0 + 3 * number, 2.0, 0.0]) for number in range(MOST_BOXES + 3)}
    scenario = tmp_path / "data" / "test" / "2021_08_16_22_26_54"
    write_scenario(scenario, {"7": agent_document(vehicles=boxes), "12": agent_document(30)}, (ONE,))
    store = open_store(index_tree(tmp_path / "data"), "test", SIZE, LABELS, tmp_path / "cache")
    assert store.arrays["box_ids"][0].tolist() == list(range(100, 100 + MOST_BOXES))
    assert store.arrays["box_ids"][1].tolist() == [-1] * MOST_BOXES
    np.testing.assert_allclose(store.arrays["half_size"][0, 0], [2.0, 1.0, 0.8])
    np.testing.assert_allclose(store.arrays["world_from_box"][0, 0, :3, 3], [5.1, -2.0, 0.8])


# --- the cache


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}


def test_rows_are_made_once(opened, tmp_path):
    first = opened()
    before = files_of(tmp_path / "cache")
    second = opened()
    assert files_of(tmp_path / "cache") == before
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize("change", [{"size": (16, 16)}, {"labels": replace(LABELS, coverage=0.5)}], ids=str)
def test_other_settings_are_other_rows(opened, change):
    assert opened(**change).fingerprint != opened().fingerprint


def test_other_files_are_other_rows(opened, root):
    before = opened()
    shutil.rmtree(root / "train" / "2021_08_16_22_26_54" / "12")
    after = opened()
    assert (len(before), len(after)) == (6, 4)
    assert before.fingerprint != after.fingerprint


def test_a_store_that_could_not_be_finished_is_no_store(opened, root, tmp_path):
    picture = root / "train" / "2021_08_16_22_26_54" / "-1" / f"{TWO}_camera0.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"camera0\.png"):
        opened()
    assert not list((tmp_path / "cache").rglob("*.npy"))
    picture.write_bytes(whole)
    assert len(opened()) == 6


def test_a_split_without_frames_is_refused(opened):
    with pytest.raises(UserError, match="expected frames in the split validate, got none"):
        opened("validate")


# --- labels that somebody has projected already


@pytest.fixture
def depth_root(root, tmp_path):
    """Maps of 8 x 6 pixels, 10 m deep in one of them."""
    for path in (root / "train").rglob("*.png"):
        scenario, agent, name = path.parts[-3:]
        folder = tmp_path / "depth" / "train" / scenario / agent
        folder.mkdir(parents=True, exist_ok=True)
        depth_z = np.zeros((6, 8), np.float32)
        depth_z[2, 4] = 10
        depth_z[0, 0] = np.nan
        np.save(folder / f"{name.removesuffix('.png')}_depth.npy", depth_z)
    return tmp_path / "depth"


def test_given_labels_take_the_place_of_the_lidar(opened, depth_root):
    store = opened(depth_root=depth_root)
    assert (store.arrays["labels_z"] > 0).sum() == 6 * 4
    assert (store.arrays["labels_z"][:, :, 10, 18] == 10).all()  # the middle of (4, 2) four times as large


def test_given_labels_that_change_are_other_rows(opened, depth_root):
    before = opened(depth_root=depth_root)
    path = next(depth_root.rglob("*.npy"))
    np.save(path, np.zeros((12, 16), np.float32))
    assert opened(depth_root=depth_root).fingerprint != before.fingerprint


@pytest.mark.parametrize("content", ["pickle", "archive", "integers", "volume", "short", "text", "nothing"])
def test_what_is_no_depth_map_is_named(opened, depth_root, content):
    path = sorted(depth_root.rglob("*.npy"))[0]
    if content == "pickle":
        np.save(path, np.array([{}], object), allow_pickle=True)
    elif content == "archive":
        np.savez(path.with_suffix(".npz"), depth=np.zeros((6, 8)))
        path.with_suffix(".npz").replace(path)
    elif content == "integers":
        np.save(path, np.zeros((6, 8), np.int64))
    elif content == "volume":
        np.save(path, np.zeros((6, 8, 2)))
    elif content == "short":  # says that it is larger than memory
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**7)}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
    elif content == "text":
        path.write_text("10 10 10")
    else:
        path.unlink()
    with pytest.raises(UserError, match=rf"{path.name}: expected a depth map, float \[height, width\], got"):
        opened(depth_root=depth_root)
