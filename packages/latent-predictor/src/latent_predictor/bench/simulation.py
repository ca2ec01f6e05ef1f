"""Data: drives per CPU-second from the simulator's own loop, and from its physics with our camera."""

from collections.abc import Callable

import cv2
import numpy as np

from drivelab_shared.results import Table
from drivelab_shared.timing import interleave, timed
from latent_predictor.bench.workbench import Workbench
from latent_predictor.data.car_racing import CarRacing
from latent_predictor.data.simulate import FRAME_SKIP, drive
from latent_predictor.data.trajectory import SIZE

NUM_FRAMES = {"plain": 25, "top": 60, "road": 250}
"""Of one drive; chosen so that each takes about a second."""
PLAIN = "gymnasium's loop: a picture at every step"
TOP = "one picture per frame (ours, --view top)"
ROAD = "own road camera (ours, --view road)"


def bench_simulation(bench: Workbench) -> list[Table]:
    """Frames of 64 x 64 pixels per CPU-second, four simulator steps each."""
    counter = iter(range(10**6))
    works: dict[str, Callable[[], int]] = {
        PLAIN: lambda: _plain_drive(bench.settings.seed, NUM_FRAMES["plain"]),
        TOP: lambda: len(drive(bench.settings.seed, next(counter), NUM_FRAMES["top"], "top", "bench")),
        ROAD: lambda: len(drive(bench.settings.seed, next(counter), NUM_FRAMES["road"], "road", "bench")),
    }
    timings = interleave("simulation", {name: timed(work) for name, work in works.items()}, bench.settings.repeats)
    conclusions = [
        f"**Physics with our own camera gives {timings.times(ROAD, PLAIN).shown('times')} as many frames per "
        "CPU-second as the simulator's own loop**; drawing its picture only where one is kept gives "
        f"{timings.times(TOP, PLAIN).shown('times')}."
    ]
    rows = list(timings.rows("frames per CPU-second", PLAIN))
    return [bench.table("simulation", "Simulated drives, set-up and labels included", rows, conclusions)]


def _plain_drive(seed: int, num_frames: int) -> int:
    """What a first version would do: `step` draws a picture each time, and one in four is kept."""
    environment = CarRacing()
    environment.reset(seed=seed)
    frames = []
    for _ in range(num_frames):
        for _ in range(FRAME_SKIP):
            picture, *_ = environment.step(np.array([0.0, 0.2, 0.0], np.float32))
        frames.append(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
    environment.close()
    return len(frames)
