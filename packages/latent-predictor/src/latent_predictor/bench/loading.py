"""Loading: windows of frames, actions and labels from our mapped cache, and from npz files opened at each access.

All files are in the system's page cache, so this is the cost of the format and not of the disk.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from drivelab_shared.results import Table
from drivelab_shared.seeding import keyed_rng
from drivelab_shared.timing import Timings, interleave, timed
from latent_predictor.bench.workbench import Workbench
from latent_predictor.data.store import Store, window_starts
from latent_predictor.train import window_batch

WINDOW_FRAMES = 25
BATCH = 32
MANY, FEW = 2048, 32
"""Windows per repeat for the fast readers and for the slow one."""
NPZ = "np.load of the npz at each access"
FRAMES = "mapped frames (ours)"
LATENTS = "mapped latents (ours, what training reads)"
PEER = "HDF5Dataset of stable-worldmodel"


def bench_loading(bench: Workbench) -> list[Table]:
    """Frames per CPU-second of random windows."""
    store, rng = bench.trained.store, keyed_rng(bench.settings.seed, 2)
    starts = window_starts(store, "all", WINDOW_FRAMES, 1)

    def each(number: int, read: Callable[[int], int]) -> Callable[[], int]:
        return lambda: sum(read(int(start)) for start in rng.choice(starts, number))

    def latents() -> int:
        for chosen in rng.choice(starts, (MANY // BATCH, BATCH)):
            window_batch(bench.trained.latents, store, chosen, WINDOW_FRAMES - 1, bench.trained.device)
        return MANY * WINDOW_FRAMES

    files = {row: place for span in store.trajectories for row, place in _places(store, span)}
    works = {
        NPZ: each(FEW, lambda start: _from_npz(*files[start])),
        FRAMES: each(MANY, lambda start: _from_store(store, start)),
        LATENTS: latents,
    }
    peer = _peer(store, bench.scratch / "peer.h5")
    if peer is not None:
        works[PEER] = lambda: sum(len(peer[int(i)]["pixels"]) for i in rng.integers(len(peer), size=MANY))
    timings = interleave("loading", {name: timed(work) for name, work in works.items()}, bench.settings.repeats)
    rows = list(timings.rows("frames per CPU-second", NPZ))
    title = f"Loading of random windows of {WINDOW_FRAMES} frames"
    return [bench.table("loading", title, rows, list(_conclusions(timings)))]


def _places(store: Store, span: Any) -> Iterator[tuple[int, tuple[Path, int]]]:
    """(row of the store, (file, frame in it)) of a trajectory; one that is cut into splits has several spans."""
    first = min(other.start for other in store.trajectories if other.name == span.name)
    path = store.data_dir / f"{span.name}.npz"
    for row in range(span.start, span.start + span.length):
        yield row, (path, row - first)


def _from_npz(path: Path, first: int) -> int:
    """What a first version would do for every window: an npz member can only be read as a whole."""
    with np.load(path, allow_pickle=False) as file:
        window = [file[key][first : first + WINDOW_FRAMES] for key in ("frames", "actions", "labels") if key in file]
    return len(window[0])


def _from_store(store: Store, start: int) -> int:
    window = [np.array(part[start : start + WINDOW_FRAMES]) for part in (store.frames, store.actions, store.labels)]
    return len(window[0])


def _peer(store: Store, path: Path) -> Any | None:
    """The same drives in the peer's own format and reader, or None where it is not installed.

    Source: galilai-group/stable-worldmodel:stable_worldmodel/data/formats/hdf5.py, 0.1.1 (extra `format`).
    """
    try:
        from stable_worldmodel.data import HDF5Dataset, HDF5Writer
    except ImportError:
        return None
    with HDF5Writer(path, mode="overwrite") as writer:
        for span in store.trajectories:
            rows = slice(span.start, span.start + span.length)
            columns = {"pixels": store.frames[rows], "action": store.actions[rows], "label": store.labels[rows]}
            writer.write_episode(columns)
    return HDF5Dataset(path=path, num_steps=WINDOW_FRAMES)


def _conclusions(timings: Timings) -> Iterator[str]:
    frames, latents = (timings.times(name, NPZ) for name in (FRAMES, LATENTS))
    yield (
        f"**The mapped cache gives {frames.shown('times', 0)} as many frames per CPU-second as opening the npz for "
        f"every window**, and {latents.shown('times', 0)} as many latents."
    )
    if PEER in timings.by_name:
        quotient = timings.times(FRAMES, PEER).shown("times")
        yield f"The mapped cache gives {quotient} as many frames as stable-worldmodel's HDF5 reader on the same drives."
    else:
        yield "stable-worldmodel is not installed here, so its HDF5 reader was not measured."
