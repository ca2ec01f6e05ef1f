import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from drivelab_shared.scenes import Camera, Label, Light, Mesh, Scene, look_at, shapes, standing

CAMERA = Camera.from_fov(64, 48, 80)
EYE = (0.0, 0.0, 1.5)
AHEAD = look_at(EYE, (10, 0, 1.5))
CLEAR = Light(visibility_m=float("inf"))
FAR_AWAY = (419849.0, 4730993.0)


def wall(x, half=100.0):
    return shapes.box((1, 2 * half, 2 * half), (x + 0.5, 0, 0), (200, 100, 50), Label.BUILDING)


def street():
    road = shapes.ribbon(np.array([[-50, 0], [150, 0]]), 8)
    houses = [shapes.building().moved(standing(x, y, 0.1 * x)) for x in (10, 40, 80) for y in (-16, 16)]
    return Mesh.joined([shapes.ground((50, 0), 400), road, *houses, shapes.tree().at(15, 6)])


def test_depth_of_a_wall_is_its_distance_in_every_pixel():
    depth_z = Scene(wall(20)).view([], CAMERA, AHEAD).depth_z
    assert depth_z.shape == (48, 64)
    assert depth_z.dtype == np.float32
    np.testing.assert_allclose(depth_z, 20, rtol=1e-6)


def test_distance_along_a_unit_ray_is_longer_than_depth():
    directions = CAMERA.rays_world(AHEAD).reshape(-1, 3)
    lengths = np.linalg.norm(directions, axis=1)
    hits = Scene(wall(20)).at([]).nearest(AHEAD[:3, 3], directions / lengths[:, None])
    np.testing.assert_allclose(hits.distance, 20 * lengths, rtol=1e-6)
    assert lengths[0] == pytest.approx(np.hypot(np.hypot(31.5 / CAMERA.fx, 23.5 / CAMERA.fy), 1))


def test_ground_is_seen_below_the_horizon_at_the_depth_of_its_row():
    view = Scene(shapes.ground((0, 0), 2e4, z=0.0)).view([], CAMERA, AHEAD)
    rows = np.arange(48)
    below = rows > CAMERA.cy
    expected = np.where(below, 1.5 * CAMERA.fy / np.where(below, rows - CAMERA.cy, 1), np.inf)
    np.testing.assert_allclose(view.depth_z, np.tile(expected[:, None], 64), rtol=1e-4)
    np.testing.assert_array_equal(view.label, np.tile(np.where(below, Label.GROUND, Label.SKY)[:, None], 64))


def test_unprojected_pixels_lie_on_the_body_that_they_show():
    box = shapes.box((4, 3, 2), (0, 0, 1), (90, 90, 90), Label.VEHICLE)
    world_from_box = standing(12, 1, 0.6)
    view = Scene(shapes.ground((0, 0), 100)).view([box.moved(world_from_box)], CAMERA, AHEAD)
    rows, columns = np.nonzero(view.body == 0)
    points_camera = CAMERA.unproject(np.stack([columns, rows], axis=1).astype(float), view.depth_z[rows, columns])
    points_box = (points_camera @ AHEAD[:3, :3].T + AHEAD[:3, 3] - world_from_box[:3, 3]) @ world_from_box[:3, :3]
    from_surface = np.abs(np.abs(points_box - [0, 0, 1]) - [2, 1.5, 1]).min(axis=1)
    assert len(rows) > 100
    assert from_surface.max() < 1e-4
    assert (np.abs(points_box - [0, 0, 1]) < [2 + 1e-4, 1.5 + 1e-4, 1 + 1e-4]).all()


def test_nearer_bodies_hide_farther_ones_and_the_street():
    scene = Scene(wall(30))
    near, far = shapes.car().moved(standing(10, 0, 0)), shapes.truck().moved(standing(20, 0, 0))
    for bodies, order in (([near, far], (0, 1)), ([far, near], (1, 0))):
        view = scene.view(bodies, CAMERA, AHEAD)
        assert view.body[26, 32] == order[0]
        assert view.body[22, 32] == order[1]  # the truck rises above the car
        assert view.label[26, 32] == view.label[22, 32] == Label.VEHICLE
    assert (scene.view([far.at(40, 0)], CAMERA, AHEAD).body == -1).all()


def test_bodies_without_faces_keep_their_numbers():
    nothing = Mesh.joined([])
    car = shapes.car().moved(standing(10, 0, 0))
    view = Scene(wall(30)).view([nothing, car, nothing], CAMERA, AHEAD)
    assert set(np.unique(view.body)) == {-1, 1}
    assert (Scene(wall(30)).view([nothing], CAMERA, AHEAD).body == -1).all()


def test_bodies_of_one_moment_are_not_in_the_next():
    scene, car = Scene(wall(30)), shapes.car().moved(standing(10, 0, 0))
    before = scene.view([], CAMERA, AHEAD)
    scene.view([car], CAMERA, AHEAD)
    np.testing.assert_array_equal(scene.view([], CAMERA, AHEAD).rgb, before.rgb)


def test_braking_is_seen_from_behind_and_not_from_the_front():
    scene, camera = Scene(wall(60)), Camera.from_fov(160, 120, 80)
    for heading, is_seen in ((0, True), (np.pi, False)):
        off, on = (
            scene.view([shapes.car(braking=braking).moved(standing(12, 0, heading))], camera, AHEAD).rgb.astype(int)
            for braking in (False, True)
        )
        assert (on != off).any() == is_seen
        redder = (on[:, :, 0] - off[:, :, 0] > 100).sum(axis=0)
        if is_seen:  # on the left, in the middle and on the right
            assert all(part.sum() >= 4 for part in (redder[:76], redder[76:84], redder[84:]))


@pytest.mark.parametrize(("state", "channels"), [("red", [0]), ("amber", [0, 1]), ("green", [1])])
def test_traffic_light_can_be_read_from_40_m(state, channels):
    camera, head = Camera.from_fov(256, 144, 70), standing(40, 2, 0, 5)
    scene = Scene(shapes.ground((0, 0), 400))
    views = {
        name: scene.view([shapes.traffic_light(name).moved(head)], camera, AHEAD).rgb.astype(int)
        for name in (state, "off")
    }
    brighter = (views[state] - views["off"])[:, :, channels].min(axis=2) > 80
    assert brighter.sum() >= 4
    other = [channel for channel in range(3) if channel not in channels]
    assert (views[state][brighter][:, channels].min(axis=1) > views[state][brighter][:, other].max(axis=1) + 50).all()


def test_picture_is_the_same_far_from_the_origin():
    views = []
    for x, y in ((0.0, 0.0), FAR_AWAY):
        bodies = [shapes.car().moved(standing(x + 12, y - 2, 0.3)), shapes.bus().moved(standing(x + 25, y + 2, 3))]
        views.append(Scene(street().at(x, y)).view(bodies, CAMERA, look_at((x, y, 1.5), (x + 10, y, 1.5))))
    here, there = views
    both = np.isfinite(here.depth_z) & (here.label == there.label)
    assert (here.label == there.label).mean() > 0.999  # a ray along an edge may fall on its other side
    assert (here.body == there.body).mean() > 0.999
    here_z, there_z = (np.where(both, view.depth_z, 0) for view in views)
    near = both & (here.depth_z < 60) & (np.abs(here_z - there_z) < 0.5)
    assert near.sum() > 0.995 * (both & (here.depth_z < 60)).sum()
    assert np.abs(here_z - there_z)[near].max() < 2e-3


def test_colour_of_a_wall_is_lambert_plus_sky_worked_out_by_hand():
    # The wall looks along -x. The sun stands in that direction 60 degrees high: cos = 0.5. The sky gives 0.8 x 0.4.
    light = replace(CLEAR, sun_azimuth_deg=180, sun_elevation_deg=60, ambient=0.4)
    rgb = Scene(wall(20), light).view([], CAMERA, AHEAD).rgb
    np.testing.assert_array_equal(rgb[10, 10], np.round(np.array([200, 100, 50]) * (0.8 * 0.4 + 0.6 * 0.5)))
    behind = replace(light, sun_azimuth_deg=0)
    rgb = Scene(wall(20), behind).view([], CAMERA, AHEAD).rgb
    np.testing.assert_array_equal(rgb[10, 10], np.round(np.array([200, 100, 50]) * 0.8 * 0.4))


def test_haze_takes_63_percent_of_a_colour_at_the_visibility():
    dark = replace(wall(100, half=400), colours=np.zeros((12, 3), np.uint8))
    scene, slanted = Scene(dark, Light(visibility_m=100.0)), look_at((0, 0, 0), (1, 3**0.5, 0))  # 200 m along the ray
    for world_from_camera, lengths in ((AHEAD, 1), (slanted, 2)):
        rgb = scene.view([], Camera.from_fov(3, 3, 1), world_from_camera).rgb
        np.testing.assert_allclose(rgb[1, 1], (1 - np.exp(-lengths)) * np.array(Light().horizon), atol=0.51)
    corner = scene.view([], Camera.from_fov(3, 3, 120), AHEAD).rgb[1, 0]
    ray_distance = 100 * np.hypot(1, 1 / Camera.from_fov(3, 3, 120).fx)
    np.testing.assert_allclose(corner, (1 - np.exp(-ray_distance / 100)) * np.array(Light().horizon), atol=0.51)


def test_lamps_keep_their_colour_in_the_shade():
    lamp = shapes.box((1, 200, 200), (20.5, 0, 0), (255, 36, 24), Label.VEHICLE, glows=True)
    rgb = Scene(lamp, replace(CLEAR, sun_azimuth_deg=0)).view([], CAMERA, AHEAD).rgb
    assert (rgb == [255, 36, 24]).all()


def test_sky_is_the_horizon_at_eye_level_and_the_zenith_above():
    scene = Scene(shapes.ground((0, 0), 2, z=-10))
    up = scene.view([], Camera.from_fov(3, 3, 1), look_at((0, 0, 1.5), (0.001, 0, 10))).rgb
    np.testing.assert_allclose(up[1, 1], Light().zenith, atol=1)
    level = scene.view([], Camera.from_fov(3, 3, 1e-3), AHEAD).rgb
    np.testing.assert_allclose(level[1, 1], Light().horizon, atol=1)


def test_shadow_falls_where_geometry_says():
    # The sun stands in the -x direction, 45 degrees high: a beam 10 m above x = 0 darkens the ground at x = 10.
    light = replace(CLEAR, sun_azimuth_deg=180, sun_elevation_deg=45, ambient=0.5, has_shadows=True)
    ground = shapes.ground((0, 0), 100, colour=(200, 200, 200), z=0.0)
    beam = shapes.box((2, 40, 0.1), (0, 0, 10), (9, 9, 9), Label.BRIDGE)
    camera, above = Camera.from_fov(81, 3, 90), look_at((10, 0, 40), (10, 0.001, 0))  # a pixel is about 1 m
    for static, bodies in ((Mesh.joined([ground, beam]), []), (ground, [beam])):
        row = Scene(static, light).view(bodies, camera, above).rgb[1, :, 0]
        lit, dark = round(200 * (0.5 + 0.5 * np.sin(np.pi / 4))), 100
        assert row[40] == dark
        assert row[37] == row[43] == lit
    assert Scene(ground, replace(light, has_shadows=False)).view([beam], camera, above).rgb[1, 40, 0] == lit


def test_several_samples_mix_the_colours_at_an_edge_and_leave_the_rest():
    # The edge of the wall is at u = 27.9: of pixel 28, samples at 27.75 (of two) and at 27.67 (of three) see the sky.
    half = (31.5 - 27.9) / CAMERA.fx * 30
    scene = Scene(wall(30, half), CLEAR)
    one, four, nine = (scene.view([], CAMERA, AHEAD, samples_per_pixel=count) for count in (1, 4, 9))
    sky, brick = one.rgb[23, 27].astype(float), one.rgb[23, 28].astype(float)
    assert np.abs(sky - brick).max() > 50
    np.testing.assert_allclose(four.rgb[23, 28], (sky + brick) / 2, atol=1.5)
    np.testing.assert_allclose(nine.rgb[23, 28], (sky + 2 * brick) / 3, atol=1.5)
    for view in (four, nine):
        np.testing.assert_array_equal(view.depth_z, one.depth_z)
        np.testing.assert_array_equal(view.label, one.label)
        np.testing.assert_array_equal(view.rgb[23:25, 29:35], one.rgb[23:25, 29:35])


@pytest.mark.parametrize("count", [0, -1, 2, 5])
def test_number_of_samples_is_a_square(count):
    with pytest.raises(ValueError, match=f"samples_per_pixel: expected .* square, got {count}"):
        Scene(wall(3)).view([], CAMERA, AHEAD, samples_per_pixel=count)


def test_same_scene_gives_the_same_bytes():
    def picture():
        scene = Scene(street(), Light(has_shadows=True))
        view = scene.view([shapes.car().moved(standing(12, -2, 0.3))], CAMERA, AHEAD, samples_per_pixel=4)
        return b"".join(part.tobytes() for part in (view.rgb, view.depth_z, view.label, view.body))

    assert picture() == picture()


def test_scene_needs_something_to_stand_on():
    with pytest.raises(ValueError, match="static: expected at least one face"):
        Scene(Mesh.joined([]))


def test_light_names_the_number_that_is_wrong():
    with pytest.raises(ValueError, match=r"ambient: expected 0 to 1, got 1\.5"):
        Light(ambient=1.5)
    with pytest.raises(ValueError, match="visibility_m: expected a number > 0, got 0"):
        Light(visibility_m=0)


def test_scenes_are_imported_only_by_those_who_draw_and_need_no_torch():
    code = (
        "import sys, drivelab_shared; assert 'drivelab_shared.scenes' not in sys.modules;"
        "import drivelab_shared.scenes; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
