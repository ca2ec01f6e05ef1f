"""Modalities: told by space and name, never by the length of a shape; the same for data and environment."""

import numpy as np
import pytest
from gymnasium import spaces

from drivelab_shared.errors import UserError
from lapo_mm.data.roles import Role, assign_roles, to_modalities
from lapo_mm.data.spaces import SINGLE


def image(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def floats(*shape: int, dtype: type = np.float32) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, shape, dtype)


def test_every_array_gets_the_role_of_its_space_and_name() -> None:
    space = spaces.Dict(
        {"camera": image(48, 64, 3), "speed": floats(1), "LidarTop": floats(16, 2), "goal": spaces.Dict(xy=floats(2))}
    )
    roles = assign_roles(space, "data")
    assert roles.modalities == ("image", "state", "lidar")
    assert {name: roles.shape(name) for name in roles.modalities} == {
        "image": (3, 48, 64),
        "state": (3,),
        "lidar": (16, 2),
    }
    assert str(roles) == "image from camera [3, 48, 64], state from goal/xy + speed [3], lidar from LidarTop [16, 2]"


def test_three_tupled_states_are_no_image_and_a_vector_of_beams_is_a_lidar_by_its_name() -> None:
    roles = assign_roles(spaces.Dict(a=floats(3), b=floats(3), c=floats(3), laser_scan=floats(36)), "data")
    assert roles.modalities == ("state", "lidar")
    assert roles.shape("state") == (9,)
    assert roles.shape("lidar") == (36, 1)


@pytest.mark.parametrize(
    ("shape", "layout", "read"),
    [
        ((3, 32, 32), "CHW", (3, 32, 32)),
        ((96, 96, 3), "HWC", (3, 96, 96)),
        ((4, 48, 64), "CHW", (4, 48, 64)),
        ((48, 64, 4), "HWC", (4, 48, 64)),
        ((1, 20, 20), "CHW", (1, 20, 20)),
        ((84, 84), "HW", (1, 84, 84)),
    ],
)
def test_images_end_up_with_channels_first(shape: tuple, layout: str, read: tuple) -> None:
    (role,) = assign_roles(image(*shape), "data").roles
    assert role == Role(SINGLE, "image", shape, layout)
    assert role.read_shape == read
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = pixels.transpose(2, 0, 1) if layout == "HWC" else pixels.reshape(read)
    for leading in ((), (5,), (2, 3)):
        found = role.read(np.broadcast_to(pixels, (*leading, *shape)))
        np.testing.assert_array_equal(found, np.broadcast_to(expected, (*leading, *read)), strict=True)


def test_one_observation_and_an_episode_of_them_are_read_alike() -> None:
    space = spaces.Dict(camera=image(8, 9, 3), pose=floats(2, dtype=np.float64), scan=floats(6), speed=floats(1))
    roles = assign_roles(space, "data")
    space.seed(0)
    steps = [space.sample() for _ in range(4)]
    episode = to_modalities({key: np.stack([step[key] for step in steps]) for key in space}, roles)
    assert {name: (array.dtype.name, array.shape) for name, array in episode.items()} == {
        "image": ("uint8", (4, 3, 8, 9)),
        "state": ("float32", (4, 3)),
        "lidar": ("float32", (4, 6, 1)),
    }
    for index, step in enumerate(steps):
        one = to_modalities(step, roles)
        for name, array in one.items():
            assert array.flags["C_CONTIGUOUS"]
            np.testing.assert_array_equal(array, episode[name][index], strict=True)
    np.testing.assert_array_equal(episode["state"][1], np.float32([*steps[1]["pose"], *steps[1]["speed"]]))


def test_the_order_of_keys_does_not_matter() -> None:
    one = assign_roles(spaces.Dict([("b", floats(2)), ("a", floats(3))]), "data")
    other = assign_roles(spaces.Dict([("a", floats(3)), ("b", floats(2))]), "data")
    assert one == other
    assert [role.key for role in one.roles] == ["a", "b"]


def test_several_of_a_kind_are_joined() -> None:
    space = spaces.Dict(left=image(3, 8, 8), right=image(8, 8, 1), lidar_a=floats(6, 2), lidar_b=floats(6))
    roles = assign_roles(space, "data")
    assert (roles.shape("image"), roles.shape("lidar")) == ((4, 8, 8), (6, 3))
    assert to_modalities(space.sample(), roles)["image"].shape == (4, 8, 8)
    with pytest.raises(
        UserError, match=r"data: expected images of one size, got left \[3, 8, 8\] and right \[3, 8, 9\]"
    ):
        assign_roles(spaces.Dict(left=image(3, 8, 8), right=image(3, 8, 9)), "data")
    with pytest.raises(UserError, match="expected lidars with the same beams"):
        assign_roles(spaces.Dict(lidar=floats(6), scan=floats(7)), "data")


@pytest.mark.parametrize(
    "box",
    [
        image(8, 9, 8),
        image(2, 3, 8, 8),
        image(7),
        floats(5, 5),
        floats(3, 8, 8),
        floats(),
        spaces.Box(0, 9, (3,), np.int64),
    ],
)
def test_an_array_that_fits_nothing_is_named_unless_modalities_are_chosen(box: spaces.Box) -> None:
    space = spaces.Dict(odd=box, speed=floats(1))
    with pytest.raises(UserError, match=r"data: odd: expected an image .* got (uint8|float32|int64) \[.*leaves it out"):
        assign_roles(space, "data")
    assert [role.key for role in assign_roles(space, "data", ["state"]).roles] == ["speed"]


def test_a_modality_that_is_asked_for_must_be_there() -> None:
    space = spaces.Dict(camera=image(3, 8, 8), speed=floats(1))
    assert assign_roles(space, "data", ("state",)).modalities == ("state",)
    with pytest.raises(UserError, match="data: modalities: expected some of image, state, got lidar"):
        assign_roles(space, "data", ("lidar",))


def test_an_observation_of_another_form_is_refused() -> None:
    roles = assign_roles(spaces.Dict(camera=image(3, 8, 8), speed=floats(2)), "data")
    right = {"camera": np.zeros((3, 8, 8), np.uint8), "speed": np.zeros(2)}
    to_modalities(right, roles)
    with pytest.raises(ValueError, match=r"camera: expected uint8 \[..., 3, 8, 8\], got float64 \[3, 8, 8\]"):
        to_modalities({**right, "camera": np.zeros((3, 8, 8))}, roles)
    with pytest.raises(ValueError, match=r"speed: expected numbers \[..., 2\], got float64 \[\]"):
        to_modalities({**right, "speed": np.float64(3)}, roles)
    with pytest.raises(KeyError):
        to_modalities({"camera": right["camera"]}, roles)
