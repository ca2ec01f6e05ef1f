from collections import Counter

import numpy as np
import pytest

from drivelab_shared.scenes import Label, Mesh, mottled, shapes, standing

GREY = (100, 100, 100)


def volume(mesh):
    """By the divergence theorem: positive where the faces of a closed body look outwards."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    return (a * np.cross(b, c)).sum() / 6


def area(mesh):
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def extent(mesh):
    return mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)


SOLIDS = {
    "box": (shapes.box((2, 3, 4), (5, 6, 7), GREY, Label.BUILDING), 24),
    "frustum": (shapes.frustum((0, 0, 6, 6), (0, 0, 3, 3), 0, 2, GREY, Label.BUILDING), 2 / 3 * (36 + 9 + 18)),
    "prism": (shapes.prism(6, 2, 5, GREY, Label.POLE), 5 * 1.5 * 3**0.5 * 4),
    "ball": (shapes.ball(3, GREY, Label.TREE), 2.53615 * 27),  # icosahedron: 2.53615 r^3
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_look_outwards(name):
    mesh, expected_volume = SOLIDS[name]
    edges = Counter((int(face[i]), int(face[(i + 1) % 3])) for face in mesh.faces for i in range(3))
    assert set(edges.values()) == {1}
    assert all((end, start) in edges for start, end in edges)  # every edge is used once in each direction
    assert volume(mesh) == pytest.approx(expected_volume, rel=1e-5)


@pytest.mark.parametrize("make", [shapes.car, shapes.truck, shapes.bus])
@pytest.mark.parametrize("braking", [True, False])
def test_vehicles_have_their_size_and_stand_on_the_ground(make, braking):
    low, high = extent(make(length=7.0, width=2.2, height=2.8, braking=braking))
    np.testing.assert_allclose(low, [-3.5, -1.1, 0], atol=0.05)
    np.testing.assert_allclose(high, [3.5, 1.1, 2.8], atol=0.05)


def test_everything_on_the_street_is_labelled():
    assert set(shapes.car().labels) == {Label.VEHICLE}
    assert set(shapes.pedestrian().labels) == {Label.PERSON}
    assert set(shapes.building().labels) == {Label.BUILDING}
    assert set(shapes.tree().labels) == {Label.TREE}
    assert set(shapes.traffic_light("red").labels) == {Label.TRAFFIC_LIGHT}
    assert set(shapes.mast().labels) == {Label.POLE}
    assert set(shapes.overpass().labels) == {Label.BRIDGE}
    assert set(shapes.dashed(np.array([[0, 0], [9, 0]]), 0.2).labels) == {Label.MARKING}


def test_building_has_two_faces_for_every_window():
    # 16 m and 12 m walls with a window every 4 m, 12.8 m of 3.2 m floors: 4 x (4 + 3) x 2 windows on two solids.
    assert len(shapes.building(16, 12, 12.8, window_spacing=4).faces) == 2 * 56 + 2 * 12


def test_windows_stand_out_of_all_four_walls():
    low, high = extent(shapes.building(16, 12, 10))
    building = shapes.building(16, 12, 10)
    windows = building.vertices[building.faces[24:]].mean(axis=1)
    normals = building.normals[24:]
    for axis, half in ((0, 8), (1, 6)):
        for sign in (-1, 1):
            wall = normals[:, axis] * sign > 0.5
            np.testing.assert_allclose(windows[wall, axis], sign * (half + 0.02), atol=1e-12)
            assert wall.any()
    assert low[2] == 0
    assert high[2] > 10


def test_overpass_leaves_its_clearance_open():
    bridge = shapes.overpass(length=30, width=10, clearance=5.5)
    inside = (np.abs(bridge.vertices[:, 0]) < 9) & (np.abs(bridge.vertices[:, 1]) < 5)
    assert not inside.any()
    assert extent(bridge)[1][2] == pytest.approx(5.5 + 1.2 + 1.0)


def test_straight_ribbon_lies_flat_and_looks_up():
    ribbon = shapes.ribbon(np.array([[0, 0], [3, 4], [6, 8]]), width=2, z=0.3)
    assert area(ribbon) == pytest.approx(10 * 2)
    np.testing.assert_allclose(ribbon.normals, np.tile([0, 0, 1], (len(ribbon.faces), 1)), atol=1e-12)
    assert set(ribbon.vertices[:, 2]) == {0.3}


def test_ribbon_keeps_its_width_round_a_corner():
    ribbon = shapes.ribbon(np.array([[0, 0], [10, 0], [10, 10]]), width=2)
    corner = ribbon.vertices[[1, 4], :2]
    np.testing.assert_allclose(corner, [[11, -1], [9, 1]], atol=1e-12)  # right and left of (10, 0)
    assert (ribbon.normals[:, 2] > 0.99).all()


def test_hairpin_does_not_reach_to_infinity():
    ribbon = shapes.ribbon(np.array([[0, 0], [10, 0], [0, 0.01]]), width=2)
    assert np.abs(ribbon.vertices[:, :2]).max() < 15


def test_repeated_points_change_nothing():
    twice = shapes.ribbon(np.array([[0, 0], [0, 0], [5, 0], [5, 0]]), width=2)
    np.testing.assert_array_equal(twice.vertices, shapes.ribbon(np.array([[0, 0], [5, 0]]), width=2).vertices)


@pytest.mark.parametrize("line", [[[1, 2]], [[1, 2], [1, 2]]])
def test_ribbon_needs_two_points(line):
    with pytest.raises(ValueError, match="expected at least two points that differ, got 1"):
        shapes.ribbon(np.array(line), 1)


def test_dashes_and_gaps_follow_the_line_round_its_corners():
    line = np.array([[0, 0], [4, 0], [4, 8]])
    dashes = shapes.dashed(line, width=0.5, dash=3, gap=2)  # 12 m: dashes at 0-3, 5-8 and 10-12
    assert area(dashes) == pytest.approx(0.5 * (3 + 3 + 2))
    middles = dashes.vertices[dashes.faces].mean(axis=(1))
    assert not ((np.abs(middles[:, 0] - 3.5) < 0.4) & (middles[:, 1] < 0.4)).any()


@pytest.mark.parametrize(("dash", "gap"), [(0, 1), (1, 0), (float("nan"), 1)])
def test_dashes_without_length_are_refused(dash, gap):
    with pytest.raises(ValueError, match="expected dash and gap > 0"):
        shapes.dashed(np.array([[0, 0], [9, 0]]), 0.2, dash=dash, gap=gap)


def test_ground_covers_its_square_once_however_it_is_tiled():
    for tile, num_faces in ((None, 2), (10, 32)):
        ground = shapes.ground((5, 7), 40, tile=tile)
        assert len(ground.faces) == num_faces
        assert area(ground) == pytest.approx(1600)
        assert (ground.normals[:, 2] == 1).all()
        np.testing.assert_allclose(ground.vertices[:, :2].mean(axis=0), [5, 7])


def test_lamps_face_against_x_with_red_at_the_top():
    head = shapes.traffic_light("red")
    centre = head.vertices[head.faces[head.glows]].mean(axis=(0, 1))
    assert centre[0] < -0.1
    assert centre[2] > 0.3
    front = head.glows & (head.normals[:, 0] < -0.99)
    assert front.any()
    low = shapes.traffic_light("green")
    assert low.vertices[low.faces[low.glows]].mean(axis=(0, 1))[2] < -0.3


@pytest.mark.parametrize(("state", "num_lit"), [("red", 1), ("red_amber", 2), ("amber", 1), ("green", 1), ("off", 0)])
def test_states_of_a_traffic_light_light_their_lamps(state, num_lit):
    assert shapes.traffic_light(state).glows.sum() == num_lit * (4 * 8 - 4)


def test_unknown_state_of_a_traffic_light_is_named():
    with pytest.raises(ValueError, match=r"state: expected one of red, .*, got 'blue'"):
        shapes.traffic_light("blue")


def test_joined_keeps_faces_in_order_and_moves_their_indices():
    a, b = shapes.pole(), shapes.ball(1, GREY, Label.TREE)
    both = Mesh.joined([a, b])
    np.testing.assert_array_equal(both.vertices[both.faces[-1]], b.vertices[b.faces[-1]])
    np.testing.assert_array_equal(both.labels, [*a.labels, *b.labels])
    assert len(Mesh.joined([]).faces) == 0


def test_standing_turns_from_x_to_y():
    nose = Mesh.plain([[2, 0, 1], [2, 1, 1], [2, 0, 2]], [[0, 1, 2]], GREY, Label.VEHICLE)
    moved = nose.moved(standing(10, 20, np.pi / 2, z=3))
    np.testing.assert_allclose(moved.vertices, [[10, 22, 4], [9, 22, 4], [10, 22, 5]], atol=1e-12)
    np.testing.assert_allclose(nose.at(1, 2, 3).vertices, nose.vertices + np.array([1, 2, 3]))


def test_mirroring_is_refused():
    with pytest.raises(ValueError, match="right-handed frame, got determinant -1"):
        shapes.pole().moved(np.diag([1.0, -1, 1, 1]))


def test_faces_of_missing_vertices_are_refused():
    with pytest.raises(ValueError, match="faces: expected indices of 3 vertices, got 0 to 3"):
        Mesh.plain(np.eye(3), [[0, 1, 3]], GREY, Label.ROAD)
    with pytest.raises(ValueError, match="got -1 to 1"):
        Mesh.plain(np.eye(3), [[0, 1, -1]], GREY, Label.ROAD)


def test_mesh_needs_one_entry_per_face():
    pole = shapes.pole()
    with pytest.raises(ValueError, match="each of the 20 faces, got 19 colours"):
        Mesh(pole.vertices, pole.faces, pole.colours[1:], pole.labels, pole.glows)


def test_mottled_changes_colours_by_its_share_and_repeats_them():
    ground = shapes.ground((0, 0), 100, colour=(100, 200, 50), tile=5)
    one, same = (mottled(ground, np.random.default_rng(1), 0.1) for _ in range(2))
    np.testing.assert_array_equal(one.colours, same.colours)
    assert one.colours[:, 1].min() in range(180, 185)
    assert one.colours[:, 1].max() in range(216, 221)
    assert (mottled(ground, np.random.default_rng(1), 0).colours == ground.colours).all()
