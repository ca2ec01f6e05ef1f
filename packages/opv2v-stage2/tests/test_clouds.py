"""Clouds in memory and in files, and what crops and votes leave of them."""

import json
import math
import struct

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2.clouds.cloud import Cloud, CloudFrame, moved, united
from opv2v_stage2.clouds.crops import Crop, PlacedCamera, in_lidar_view, num_views, thinned
from opv2v_stage2.clouds.files import read_cloud, sidecar, write_cloud
from opv2v_stage2.clouds.overhead import OverheadBoxes, overhead
from opv2v_stage2.clouds.ply import read_ply, write_ply
from opv2v_stage2.clouds.voting import vote
from opv2v_stage2.data.pcd import read_pcd, write_pcd

K = np.array([[335.6, 0, 400], [0, 335.6, 300], [0, 0, 1]])
FRONT = np.array([[0.0, 0, 1, 3.0], [-1, 0, 0, 0], [0, -1, 0, -0.9], [0, 0, 0, 1]])
"""lidar_from_camera of camera 0."""


def cloud(points, **more):
    return Cloud(np.array(points, np.float32).reshape(-1, 3), CloudFrame(**more))


def random_cloud(count=200, seed=0, **more):
    rng = np.random.default_rng(seed)
    points = rng.normal(0, [20, 20, 2], (count, 3)).astype(np.float32)
    colours = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    return Cloud(points, CloudFrame(**more), colours, rng.integers(0, 2, count))


def turned(yaw_deg, x=0.0, y=0.0, z=0.0):
    c, s = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1]])


# --- memory ---


def test_heights_count_from_the_ground_and_a_vehicles_lidar_is_1_93_m_above_it():
    assert cloud([[5, 0, -1.93], [5, 0, 0]]).heights == pytest.approx([0, 1.93], abs=1e-6)


def test_colours_and_agents_stay_with_their_points():
    whole = random_cloud()
    rows = np.arange(200)[::-3]
    part = whole.at(rows)
    assert part.points.tolist() == whole.points[rows].tolist()
    assert part.colours.tolist() == whole.colours[rows].tolist()
    assert part.agent.tolist() == whole.agent[rows].tolist()
    assert len(united([part, whole])) == len(part) + len(whole)
    assert united([part, cloud([[0, 0, 0]])]).colours is None


def test_a_cloud_far_from_the_origin_of_the_world_keeps_its_millimetres():
    world_from_cloud = turned(30, 100_000, -50_000, 20)
    there = moved(random_cloud().points, world_from_cloud)
    assert moved(there, np.linalg.inv(world_from_cloud)) == pytest.approx(random_cloud().points, abs=1e-6)


# --- crops ---


def test_a_height_window_is_above_the_ground_and_not_above_the_lidar():
    crop = Crop(-1.0, 4.2, 120.0)
    points = [[10, 0, -1.93], [10, 0, 2.2], [10, 0, 2.4], [10, 0, -3.0], [130, 0, 0], [0, -119, 0]]
    assert crop.keeps(cloud(points)).tolist() == [True, True, False, False, False, True]
    assert len(crop.of(cloud(points))) == 3


def test_a_lidar_sees_from_25_degrees_below_to_2_above():
    angles = np.radians([-30, -25, 0, 2, 3])
    points = 20 * np.column_stack([np.cos(angles), 0 * angles, np.sin(angles)])
    assert in_lidar_view(points, np.eye(4)).tolist() == [False, True, True, True, False]
    raised = in_lidar_view(points, turned(0, z=5))
    assert raised.tolist() == [False, False, True, True, True]


def test_a_point_counts_if_any_of_the_lidars_can_see_it():
    below = cloud([[2.0, 0, -1.9]])  # 44 degrees below
    assert not Crop(-1.0, 4.0, 120.0, lidars=(np.eye(4),)).keeps(below).any()
    assert Crop(-1.0, 4.0, 120.0, lidars=(np.eye(4), turned(90, 30.0))).keeps(below).all()


def test_points_are_counted_in_every_picture_that_they_would_be_in():
    cameras = [PlacedCamera(K, FRONT), PlacedCamera(K, turned(180) @ FRONT)]
    # ahead; behind; 49 degrees to the left of camera 0 at its height; 51 degrees; in the lens
    left = [[3 + math.cos(math.radians(a)), math.sin(math.radians(a)), -0.9] for a in (49, 51)]
    points = np.array([[20, 0, 0], [-20, 0, 0], *left, [3, 0, -0.9]])
    assert num_views(points, cameras).tolist() == [1, 1, 1, 0, 0]
    assert (
        Crop(-9.0, 9.0, 120.0, cameras=tuple(cameras), min_views=1).keeps(cloud(points)).tolist()
        == [True] * 3 + [False] * 2
    )


def test_the_frustum_of_a_camera_is_that_of_its_picture():
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (500, 3))
    by_loop = []
    for point in points:
        x, y, z = (np.linalg.inv(FRONT) @ [*point, 1])[:3]
        by_loop.append(z > 0 and 0 <= 335.6 * x / z + 400 < 800 and 0 <= 335.6 * y / z + 300 < 600)
    assert num_views(points, [PlacedCamera(K, FRONT)]).astype(bool).tolist() == by_loop


def test_thinning_leaves_one_point_per_cube_and_does_not_depend_on_their_order():
    whole = random_cloud(2000)
    part = thinned(whole, 1.0)
    cubes = {tuple(cube) for cube in np.floor(whole.points).astype(int)}
    assert {tuple(cube) for cube in np.floor(part.points).astype(int)} == cubes
    assert len(part) == len(cubes)
    shuffled = thinned(whole.at(np.random.default_rng(1).permutation(2000)), 1.0)
    assert set(map(tuple, shuffled.points.tolist())) == set(map(tuple, part.points.tolist()))
    assert thinned(whole, 0.0) is whole
    assert len(thinned(cloud([]), 1.0)) == 0


def test_points_absurdly_far_away_do_not_break_the_cubes():
    assert len(thinned(cloud([[1e30, 0, 0], [-1e30, 0, 0], [0, 0, 0], [0.1, 0, 0]]), 0.2)) == 3


# --- votes ---


def test_what_only_one_frame_saw_loses_the_vote_wherever_the_vehicle_stands():
    wall_world = np.column_stack([np.full(50, 620.2), np.arange(50) / 2 - 12.25, np.full(50, 1.1)])
    frames = []
    for index in range(3):
        world_from_cloud = turned(10 * index, 600 + 2 * index, 5, 1.93)
        floater_world = np.array([[610.0 + index, 3.0, 4.0]])
        points = moved(np.concatenate([wall_world, floater_world]), np.linalg.inv(world_from_cloud))
        frames.append(cloud(points, world_from_cloud=world_from_cloud))
    for kept in vote(frames, 0.5, 3):
        assert kept.tolist() == 50 * [True] + [False]
    assert all(kept.all() for kept in vote(frames, 0.5, 1))


def test_many_points_of_one_frame_are_one_vote():
    twice = cloud([[0.1, 0.1, 0.1], [0.2, 0.1, 0.1]], world_from_cloud=np.eye(4))
    other = cloud([[9.0, 0, 0]], world_from_cloud=np.eye(4))
    assert not any(kept.any() for kept in vote([twice, other], 1.0, 2))


def test_a_cloud_without_a_place_in_the_world_cannot_vote():
    with pytest.raises(ValueError, match="world_from_cloud: expected a pose, got none"):
        vote([cloud([[0, 0, 0]])], 1.0, 2)


# --- files ---


@pytest.mark.parametrize("suffix", [".npy", ".ply", ".pcd"])
def test_a_cloud_comes_back_with_its_frame(tmp_path, suffix):
    written = random_cloud(lidar="scene/000340/1045", ground_z=-1.5, world_from_cloud=turned(20, 600, 17, 2))
    write_cloud(tmp_path / f"new/a{suffix}", written)
    read = read_cloud(tmp_path / f"new/a{suffix}")
    assert read.points == pytest.approx(written.points)
    assert (read.frame.lidar, read.frame.ground_z, read.frame.scenario) == ("scene/000340/1045", -1.5, "scene")
    assert read.frame.world_from_cloud == pytest.approx(written.frame.world_from_cloud)
    assert not read.frame.is_assumed
    assert (read.colours is not None) == (suffix == ".ply")


@pytest.mark.parametrize("suffix", [".npy", ".ply", ".pcd"])
def test_an_empty_cloud_comes_back_empty(tmp_path, suffix):
    write_cloud(tmp_path / f"a{suffix}", cloud([]))
    assert read_cloud(tmp_path / f"a{suffix}").points.shape == (0, 3)


def test_a_pcd_is_left_handed_and_a_cloud_is_not(tmp_path):
    write_pcd(tmp_path / "a.pcd", np.array([[10.0, 3.0, -1.0]]), np.ones(1))
    read = read_cloud(tmp_path / "a.pcd")
    assert read.points.tolist() == [[10, -3, -1]]
    assert read.frame.ground_z == -1.93
    write_cloud(tmp_path / "b.pcd", read)
    assert read_pcd(tmp_path / "b.pcd").points.tolist() == [[10, 3, -1]]


def test_an_old_cache_needs_somebody_to_say_where_the_ground_is(tmp_path):
    np.save(tmp_path / "old.npy", np.ones((4, 3)))
    with pytest.raises(UserError, match=r"old.npy: expected old.npy.json beside it, or the setting ground_z"):
        read_cloud(tmp_path / "old.npy")
    read = read_cloud(tmp_path / "old.npy", ground_z=-1.7)
    assert read.frame.is_assumed
    assert read.heights == pytest.approx([2.7] * 4)


def test_the_setting_wins_over_the_sidecar(tmp_path):
    write_cloud(tmp_path / "a.npy", cloud([[0, 0, 0]], ground_z=-1.5))
    assert read_cloud(tmp_path / "a.npy", ground_z=-2.0).frame.ground_z == -2


def hostile_npy(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an array",
        b"PK\x03\x04 a zip",
        hostile_npy("(1000000000000, 3)"),
        hostile_npy("(99999999999999999999, 3)"),
        hostile_npy("(-4, 3)"),
        hostile_npy("('a', 3)"),
        hostile_npy("(0, 4)"),
    ],
)
def test_a_broken_array_is_one_line(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npy: expected [^\n]*$"):
        read_cloud(tmp_path / "a.npy", ground_z=0.0)


def test_pickles_whole_numbers_and_points_nowhere_are_refused(tmp_path):
    np.save(tmp_path / "pickle.npy", np.array([[{}, {}, {}]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "ints.npy", np.ones((2, 3), int))
    np.save(tmp_path / "nan.npy", np.array([[0, 0, 0], [0, np.nan, 0], [np.inf, 0, 0]]))
    for name, found in (("pickle", "Python objects"), ("ints", "got int64"), ("nan", "got 2 points without")):
        with pytest.raises(UserError, match=found):
            read_cloud(tmp_path / f"{name}.npy", ground_z=0.0)
    with pytest.raises(UserError, match=r"a\.las: expected one of \.npy, \.ply, \.pcd"):
        read_cloud(tmp_path / "a.las", ground_z=0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"axes": "x right, y down, z forward"},
        {"ground_z": float("nan")},
        {"ground_z": "low"},
        {"world_from_cloud": [[1, 0], [0, 1]]},
        {"world_from_cloud": np.diag([1.0, -1, 1, 1]).tolist()},
        {"lidar": None, "ground_z": None},
    ],
)
def test_a_sidecar_that_cannot_be_meant_is_refused(tmp_path, change):
    path = tmp_path / "a.npy"
    write_cloud(path, cloud([[0, 0, 0]]))
    sidecar(path).write_text(json.dumps(json.loads(sidecar(path).read_text()) | change))
    with pytest.raises(UserError, match=r"a\.npy\.json: expected axes"):
        read_cloud(path)


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", "[" * 60_000, "x" * 70_000])
def test_a_broken_sidecar_is_refused(tmp_path, text):
    path = tmp_path / "a.npy"
    write_cloud(path, cloud([[0, 0, 0]]))
    sidecar(path).write_text(text)
    with pytest.raises(UserError, match=r"a\.npy\.json: expected axes"):
        read_cloud(path)


# --- PLY ---


def test_a_ply_is_what_other_programs_expect(tmp_path):
    write_ply(tmp_path / "a.ply", np.array([[1.0, 2.0, 3.0]]), np.array([[7, 8, 9]], np.uint8))
    header, _, data = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    assert header.decode().splitlines()[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 1"]
    assert header.decode().splitlines()[-1] == "property uchar blue"
    assert data == struct.pack("<fff3B", 1, 2, 3, 7, 8, 9)


def test_an_ascii_ply_of_somebody_else_is_read(tmp_path):
    lines = ["ply", "format ascii 1.0", "comment by hand", "element vertex 2", "property double z", "property float x"]
    lines += ["property float32 y", "property uchar red", "property uint8 green", "property uchar blue"]
    lines += ["property int label", "element face 1", "property list uchar int vertex_indices", "end_header"]
    lines += ["3 1 2 10 20 30 5", "6 4 5 40 50 60 -5", "3 0 1 1"]
    (tmp_path / "a.ply").write_text("\n".join(lines) + "\n")
    points, colours = read_ply(tmp_path / "a.ply")
    assert points.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert colours.tolist() == [[10, 20, 30], [40, 50, 60]]


XYZ = "property float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "expected a PLY header"),
        ("ply\n", "expected a PLY header"),
        ("plx\nformat ascii 1.0\nend_header\n", "expected PLY"),
        ("ply\nend_header\n", "no format|end_header"),
        ("ply\nformat binary_big_endian 1.0\nend_header\n", "binary_big_endian"),
        (f"ply\nformat ascii 1.0\nelement vertex 999999999999\n{XYZ}end_header\n1 2 3\n", "too short"),
        (f"ply\nformat binary_little_endian 1.0\nelement vertex 999999999999\n{XYZ}end_header\n1", "got 1 bytes"),
        (f"ply\nformat ascii 1.0\nelement vertex -1\n{XYZ}end_header\n", "element vertex COUNT"),
        (f"ply\nformat ascii 1.0\nelement vertex {'9' * 99}\n{XYZ}end_header\n", "element vertex COUNT"),
        (f"ply\nformat ascii 1.0\nelement face 1\n{XYZ}end_header\n1 2 3\n", "element vertex COUNT"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "got no y"),
        (f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}property float x\nend_header\n1 2 3 4\n", "each once"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n1 2\n", "each once"),
        (f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}end_header\na b c\n", "expected rows of 3 numbers"),
        (f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}end_header\n1 2 3 4\n", "expected rows of 3 numbers"),
        (f"ply\nformat ascii 1.0\nelement vertex 2\n{XYZ}end_header\n1.0000 2.0000 3.0000\n", "got 1"),
        ("ply\n" + "comment x\n" * 9999, "expected a PLY header"),
    ],
)
def test_a_broken_ply_is_one_line(tmp_path, text, found):
    (tmp_path / "a.ply").write_text(text)
    with pytest.raises(UserError, match=found) as caught:
        read_ply(tmp_path / "a.ply")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.ply'}: ")


# --- from above ---


def test_ahead_is_up_and_left_is_left():
    picture = overhead([cloud([[50, 0, 0]])], 100.0, size_px=200)
    rows, columns = np.nonzero((picture[:170] != picture[0, 0]).any(axis=-1))
    assert (rows.tolist(), columns.tolist()) == ([50], [100])
    picture = overhead([cloud([[0, 50, 0]])], 100.0, size_px=200)
    rows, columns = np.nonzero((picture[:170] != picture[0, 0]).any(axis=-1))
    assert (rows.tolist(), columns.tolist()) == ([100], [50])


def test_the_higher_point_is_seen_from_above():
    low, high = cloud([[50, 0, -1.9]]), cloud([[50, 0, 3]])
    alone = overhead([high], 100.0, size_px=200)
    assert (overhead([high, low], 100.0, size_px=200) == alone).all()
    assert (overhead([low], 100.0, size_px=200)[50, 100] != alone[50, 100]).any()


def test_agents_have_colours_and_boxes_have_outlines():
    whole = Cloud(np.array([[50, 0, 0], [0, 50, 0]], np.float32), CloudFrame(), agent=np.array([0, 1]))
    boxes = OverheadBoxes(turned(90, 20, 20)[None], np.array([[10.0, 4, 2]]))
    picture = overhead([whole], 100.0, colour_by="agent", boxes=boxes, size_px=200)
    assert (picture[50, 100] != picture[100, 50]).any()
    assert picture[80, 70].min() > 200  # its left side, 10 m to the left of its middle: its front
    assert picture.shape == (200, 200, 3)
