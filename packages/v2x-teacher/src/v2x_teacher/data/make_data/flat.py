"""The folder of the request: pictures, prompts and ready-made trajectories, without times and without sequences.

Its fault is kept: a trajectory is the next 45 rows of the cooperative list, whenever and wherever they were taken.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from v2x_teacher.config import PROMPT, MakeDataSettings
from v2x_teacher.data.make_data.official import write_picture
from v2x_teacher.data.make_data.recorder import Recorder, world_from_novatel
from v2x_teacher.data.make_data.sequences import SequencePlan, plan_sequences
from v2x_teacher.data.make_data.traffic import simulate

NUM_ROWS = 45
"""The first one is now."""
SPLIT_FILE = "split/val.txt"
FOLDERS = ("split", "vehicle_images", "infrastructure_images", "text_prompts", "ground_truth_trajectories")


def make_folders(root: Path) -> None:
    """The whole tree, empty."""
    for name in FOLDERS:
        (root / name).mkdir(exist_ok=True)


def write_sequence(root: Path, recorder: Recorder) -> None:
    """The samples of one sequence. Its last trajectories run into the sequences that follow."""
    plan, views = recorder.plan, recorder.views
    following = plan_sequences(recorder.settings)[plan.index + 1 :]
    own = [recorder.world_from_novatel[pair.vehicle_index][:2, 3] for pair in plan.pairs]
    rows = np.array([*own, *islice(_positions(recorder.settings, following), NUM_ROWS - 1)]).reshape(-1, 2)
    for row, pair in enumerate(plan.pairs):
        if not pair.has_pictures or row + NUM_ROWS > len(rows):
            continue
        frame, other = plan.vehicle[pair.vehicle_index], plan.infrastructure[pair.infrastructure_index]
        name = frame.id
        write_picture(root / "vehicle_images" / f"{name}.jpg", views.vehicle(plan.drive_s(frame.image_us)))
        other_picture = views.infrastructure(plan.drive_s(other.image_us))
        write_picture(root / "infrastructure_images" / f"{name}.jpg", other_picture)
        (root / "text_prompts" / f"{name}.txt").write_text(f"{PROMPT}\n")
        np.save(root / "ground_truth_trajectories" / f"{name}.npy", rows[row : row + NUM_ROWS])


def _positions(settings: MakeDataSettings, plans: Sequence[SequencePlan]) -> Iterator[Float64[np.ndarray, "2"]]:
    """Where the vehicle says it is, row by row of the cooperative list."""
    for plan in plans:
        poses = world_from_novatel(settings, plan, simulate(plan.scenario))
        yield from (poses[pair.vehicle_index][:2, 3] for pair in plan.pairs)


def write_lists(root: Path, plans: Sequence[SequencePlan]) -> None:
    """Two lists of frame numbers; there is no third, so test drives count as validation."""
    of_rows = [(plan, pair) for plan in plans for pair in plan.pairs]
    listed = [(plan, pair) for plan, pair in of_rows[: len(of_rows) - NUM_ROWS + 1] if pair.has_pictures]
    for name in ("train", "val"):
        ids = [
            plan.vehicle[pair.vehicle_index].id for plan, pair in listed if (plan.split == "train") == (name == "train")
        ]
        (root / "split" / f"{name}.txt").write_text("".join(f"{id_}\n" for id_ in ids))
