import numpy as np
import pytest
import torch

from v2x_teacher.data.make_data import MakeDataSettings, make_data
from v2x_teacher.data.make_data.sight import is_blocked
from v2x_teacher.data.open_recording import open_recording

torch.set_num_threads(1)

HOUSE = (10.0, -5.0, 20.0, 5.0)


@pytest.mark.parametrize(
    ("point", "blocked"),
    [
        ((30.0, 0.0), True),  # straight through
        ((9.0, 0.0), False),  # in front of it
        ((30.0, 20.0), False),  # past its corner: the line is at y 6.7 where the house begins
        ((30.0, 14.0), True),  # y 4.7 there
        ((-30.0, 0.0), False),  # the house is behind the eye
        ((0.0, 30.0), False),
    ],
)
def test_a_house_blocks_what_lies_behind_it(point, blocked):
    found = is_blocked(np.zeros((1, 2)), np.array([[point]]), [HOUSE])
    assert found.tolist() == [[blocked]]


def test_without_houses_everything_is_seen():
    assert not is_blocked(np.zeros((1, 2)), np.array([[(30.0, 0.0)]]), []).any()


def test_cross_traffic_is_first_labelled_by_the_infrastructure_alone_then_by_both(tmp_path):
    make_data(MakeDataSettings(data_dir=tmp_path, num_sequences=6, seconds=10, width=32, workers=1, seed=3))
    recording = open_recording(tmp_path)
    seen = {}
    for pair in recording.pairs:
        for box in recording.boxes(pair.sequence, pair.vehicle_id):
            seen.setdefault((pair.sequence, box.track_id), []).append(box.seen_by)
    assert any("inf" in sides and "coop" in sides[sides.index("inf") :] for sides in seen.values())
