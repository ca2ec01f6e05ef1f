"""Which samples show what: cross traffic that only the infrastructure sees, and the file that says so."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from v2x_teacher.data.labels import Samples
from v2x_teacher.data.recording import Box
from v2x_teacher.situations import HIDDEN, hidden_cross_traffic, load_situations, save_situations

from . import drives


def box(x, y, heading, seen_by):
    """In the world; the vehicle stands at (100, 50) and looks along the world's y."""
    c, s = np.cos(heading), np.sin(heading)
    world_from_box = np.array([[c, -s, 0, 100 - y], [s, c, 0, 50 + x], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return Box("Car", "1", world_from_box, (4.0, 2.0, 1.5), seen_by)


@pytest.mark.parametrize(
    ("x", "y", "heading", "seen_by", "expected"),
    [
        (30, 20, 0.0, "inf", True),  # ahead, on the left, along the world's x: across
        (30, 20, np.pi, "inf", True),  # the other way
        (30, 20, np.deg2rad(40), "inf", True),
        (30, 20, np.deg2rad(50), "inf", False),  # more along than across
        (30, 20, 0.0, "coop", False),  # the vehicle sees it too
        (30, 20, 0.0, "veh", False),
        (-1, 20, 0.0, "inf", False),  # behind
        (71, 20, 0.0, "inf", False),  # too far
        (30, -61, 0.0, "inf", False),  # too far aside
    ],
)
def test_hidden_cross_traffic_is_ahead_across_and_seen_by_the_infrastructure_alone(x, y, heading, seen_by, expected):
    recording = drives.recording(drives.line(1, yaw=np.pi / 2, origin=(100.0, 50.0)))
    (pair,) = recording.pairs
    recording = replace(recording, boxes=lambda sequence, name: (box(x, y, heading, seen_by),))
    world_from_ego = np.array([[[0, -1, 0, 100], [1, 0, 0, 50], [0, 0, 1, 0], [0, 0, 0, 1.0]]])
    assert hidden_cross_traffic(recording, samples_at(pair, world_from_ego)).tolist() == [expected]


def samples_at(pair, world_from_ego):
    truth, ego = np.zeros((1, 45, 2), np.float32), np.zeros((1, 4), np.float32)
    return Samples((pair,), (pair.sequence,), truth, ego, np.zeros(1), world_from_ego, Counter(), "x")


def as_text(path):
    path.write_text("situations")


def cut_off(path):
    save_situations(path, {HIDDEN: np.ones(999, dtype=bool)})
    path.write_bytes(path.read_bytes()[:100])


def one_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones(3, dtype=bool))


def numbers(path):
    np.savez(path, **{HIDDEN: np.arange(3)})


def objects(path):
    np.savez(path, **{HIDDEN: np.array([{}], dtype=object)})


@pytest.mark.parametrize("write", [as_text, cut_off, one_array, numbers, objects])
def test_another_file_in_the_place_of_situations_is_refused(tmp_path, write):
    write(tmp_path / "situations.npz")
    with pytest.raises(UserError) as caught:
        load_situations(tmp_path / "situations.npz")
    expected = f"{tmp_path / 'situations.npz'}: expected the situations of an evaluation, got "
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_situations_come_back_as_they_were_saved(tmp_path):
    saved = {HIDDEN: np.array([True, False, True]), "left": np.zeros(3, dtype=bool)}
    save_situations(tmp_path / "situations.npz", saved)
    found = load_situations(tmp_path / "situations.npz")
    assert found.keys() == saved.keys()
    assert all(np.array_equal(found[name], which) for name, which in saved.items())
