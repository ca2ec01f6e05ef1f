"""The drives: repeatable, of full length, with actions recorded after the frame they follow."""

import math

import numpy as np
import pytest

from latent_predictor.data import simulate
from latent_predictor.data.camera import HALF_WIDTH
from latent_predictor.data.car_racing import Simulator, Track, Vehicle
from latent_predictor.data.simulate import DT_S, Driver, drive, heading_ahead, locate
from latent_predictor.data.trajectory import Trajectory


def short_drive(index: int = 0, seed: int = 0, num_frames: int = 12) -> Trajectory:
    return drive(seed, index, num_frames, "road", "traj0_64x64")


def circle(num_tiles: int = 120) -> Track:
    """A closed track that turns left by the same angle at every tile; its headings jump by 2 pi once."""
    angle = np.linspace(-math.pi, math.pi, num_tiles, endpoint=False)
    return Track(70 * np.stack([np.cos(angle), np.sin(angle)], axis=-1), angle)


def test_the_camera_draws_the_road_that_the_simulator_has() -> None:
    # Here, after our own import: with warnings as errors, Box2D's import crashes the interpreter if nobody mutes it.
    from gymnasium.envs.box2d.car_racing import TRACK_WIDTH

    assert HALF_WIDTH == TRACK_WIDTH


def test_a_drive_depends_on_seed_and_index_only() -> None:
    first = short_drive(index=3)
    short_drive(index=1)
    again, other_index, other_seed = short_drive(index=3), short_drive(index=2), short_drive(index=3, seed=1)
    for key in ("frames", "actions", "labels", "visual_labels", "state", "track_ahead"):
        np.testing.assert_array_equal(getattr(first, key), getattr(again, key))
    assert not np.array_equal(first.state, other_index.state)
    assert not np.array_equal(first.state, other_seed.state)


def test_a_longer_drive_begins_with_the_shorter_one() -> None:
    np.testing.assert_array_equal(short_drive(num_frames=20).frames[:12], short_drive().frames)


def test_frame_rate_and_ranges_are_those_of_the_format() -> None:
    found = short_drive()
    assert found.dt == DT_S == 0.08
    assert found.frames.shape == (12, 64, 64, 3)
    assert found.track_ahead.shape == (12, 24)
    low, high = found.actions.min(axis=0), found.actions.max(axis=0)
    assert (low >= [-1, 0, 0]).all()
    assert (high <= 1).all()


def test_labels_follow_from_the_offset_in_the_state() -> None:
    found = drive(0, 1, 100, "road", "")
    offset = found.state[:, 3]
    np.testing.assert_array_equal(found.labels, np.where(offset < -1 / 3, 0, np.where(offset > 1 / 3, 2, 1)))
    assert len(np.unique(found.labels)) == 3


def test_speed_gas_and_brake_vary() -> None:
    drives = [drive(0, index, 100, "road", "") for index in range(4)]
    speed = np.concatenate([found.state[:, 5] for found in drives])
    assert speed.std() > 4
    assert (np.concatenate([found.actions for found in drives]).std(axis=0) > [0.1, 0.08, 0.04]).all()


def test_a_car_right_of_the_middle_has_a_positive_offset() -> None:
    simulator = Simulator(seed=5)
    simulator.place(7, offset=0.5)
    situation = locate(simulator.tiles, simulator.vehicle(), last_tile=7)
    assert situation.tile == 7
    assert situation.offset == pytest.approx(0.5, abs=1e-5)
    assert situation.heading_error == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("clockwise", [False, True])
def test_positive_steering_turns_right_and_gas_drives_along_the_track(clockwise: bool) -> None:
    simulator = Simulator(seed=5, clockwise=clockwise)
    simulator.place(7, offset=0.0)
    simulator.apply(np.array([0.0, 0.3, 0.0]), 60)
    straight = simulator.vehicle()
    assert straight.speed > 10
    assert locate(simulator.tiles, straight, 7).tile > 7
    simulator.apply(np.array([0.5, 0.0, 0.0]), 20)
    assert simulator.vehicle().heading < straight.heading - 0.1


def test_braking_slows_the_car() -> None:
    simulator = Simulator(seed=5)
    simulator.place(7, offset=0.0)
    simulator.apply(np.array([0.0, 0.5, 0.0]), 60)
    before = simulator.vehicle().speed
    simulator.apply(np.array([0.0, 0.0, 0.3]), 12)
    assert simulator.vehicle().speed < 0.7 * before


def test_a_car_is_found_across_the_seam_of_the_track() -> None:
    track = circle()
    # On tile 1, coming from the last one; heading equals the tile's.
    x, y = track.center[1]
    found = locate(track, Vehicle(x, y, float(track.heading[1]) - 2 * math.pi, 0.0), last_tile=119)
    assert found.tile == 1
    assert found.offset == pytest.approx(0)
    assert found.heading_error == pytest.approx(0)


def test_the_track_ahead_adds_up_every_turn() -> None:
    step = 2 * math.pi / 120
    for tile in (0, 50, 110):
        np.testing.assert_allclose(heading_ahead(circle(), tile), step * np.arange(1, 25), rtol=1e-5)


class SteersRight(Driver):
    """Drives straight on, and steers right from frame `turn_at`."""

    turn_at: int = 10_000

    def act(self, track: Track, vehicle: Vehicle, situation: simulate.Situation) -> np.ndarray:
        self.calls = getattr(self, "calls", -simulate._WARM_UP_FRAMES - 1) + 1
        return np.array([0.8 if self.calls == self.turn_at else 0.0, 0.15, 0.0], np.float32)


def test_an_action_shows_in_the_next_frame_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "Driver", SteersRight)
    straight = short_drive()
    monkeypatch.setattr(SteersRight, "turn_at", 5)
    turning = short_drive()
    assert turning.actions[:, 0].tolist() == [0, 0, 0, 0, 0, np.float32(0.8), 0, 0, 0, 0, 0, 0]
    first_difference = int(np.flatnonzero((turning.frames != straight.frames).any(axis=(1, 2, 3)))[0])
    assert first_difference == 6
    assert turning.state[6, 2] < straight.state[6, 2]


def test_a_drive_that_leaves_the_road_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = short_drive()
    strictest = float(np.abs(before.state[:, 3]).max()) - 0.01
    monkeypatch.setattr(simulate, "LOST_OFFSET", strictest)
    found = short_drive()
    assert len(found) == 12
    assert np.abs(found.state[:, 3]).max() <= strictest
    np.testing.assert_array_equal(found.frames, short_drive().frames)


def test_the_view_from_above_shows_asphalt_around_the_car() -> None:
    frames = drive(0, 0, 3, "top", "").frames
    assert frames.shape == (3, 64, 64, 3)
    # The road of 14 columns covers the five in the middle, except where the red car is.
    car = frames[:, 48, 30:34].astype(int).max(axis=1)
    assert (car[:, 0] > car[:, 1] + 50).all()
    beside_the_car = frames[:, 48, [29, 35]].astype(int)
    assert (np.ptp(beside_the_car, axis=-1) < 5).any(axis=1).all()
