"""The request's own folder: pictures, prompts and finished trajectories, without times and without sequences.

Nothing here can be repaired: the reader says what is wrong, and the labels are refused where no car can drive them.
"""

import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from drivelab_shared.errors import UserError
from v2x_teacher.data.documents import require_id
from v2x_teacher.data.recording import SPLITS, Pair, Problem, Recording

SHAPE = (45, 2)
MAX_BYTES = 1 << 20
"""Of one prompt or trajectory; 45 positions take less than a kilobyte."""


def read_flat(root: Path) -> Recording:
    """Pairs of split/{train,val,test}.txt. What has an error is left out and reported.

    Raises:
        UserError: there is no list of training frames.
    """
    problems: list[Problem] = []
    pairs, trajectories = [], []
    for split, names in _lists(root, problems).items():
        for name in names:
            trajectory = _trajectory(root / "ground_truth_trajectories" / f"{name}.npy", problems)
            pair = _pair(root, name, split, problems)
            if pair is not None and trajectory is not None:
                pairs.append(pair)
                trajectories.append(trajectory)
    text = "the layout names no sequences, so each split counts as one: no interval can be trusted"
    problems.append(Problem("warning", str(root / "split"), text))
    return Recording(
        root=root,
        layout="flat",
        poses={},
        pairs=tuple(pairs),
        problems=tuple(problems),
        calibration=lambda pair, side: None,
        boxes=lambda sequence, vehicle_id: None,
        row_trajectories=np.array(trajectories, dtype=np.float64).reshape(-1, *SHAPE),
    )


def _lists(root: Path, problems: list[Problem]) -> dict[str, list[str]]:
    """Ids by split, each id once. What stands in two splits is in neither."""
    lists: dict[str, list[str]] = {}
    for split in SPLITS:
        path = root / "split" / f"{split}.txt"
        try:
            lists[split] = _ids(path, _text(path), problems)
        except FileNotFoundError:
            if split == "train":
                raise UserError(f"{path}: expected a list of frame ids, one per line, got none") from None
            if split == "val":
                problems.append(Problem("warning", str(path), "expected a list of frame ids, one per line, got none"))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
    for split, names in lists.items():
        for other in SPLITS[: SPLITS.index(split)]:
            for name in sorted(set(names) & set(lists.get(other, []))):
                text = f"expected {name} in one split, got {other} and {split}: a leak"
                problems.append(Problem("error", str(root / "split"), text))
    every = [name for names in lists.values() for name in names]
    torn = {name for name in every if every.count(name) > 1} if len(set(every)) < len(every) else set()
    return {split: [name for name in names if name not in torn] for split, names in lists.items()}


def _ids(path: Path, text: str, problems: list[Problem]) -> list[str]:
    names: dict[str, None] = {}
    for index, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            name = require_id(line.strip())
        except ValueError as error:
            problems.append(Problem("error", str(path), f"line {index}: {error}"))
            continue
        if name in names:
            problems.append(Problem("warning", str(path), f"line {index}: expected {name} once, got it again"))
        names[name] = None
    return list(names)


def _pair(root: Path, name: str, split: str, problems: list[Problem]) -> Pair | None:
    vehicle, infrastructure = (root / f"{side}_images" / f"{name}.jpg" for side in ("vehicle", "infrastructure"))
    if not infrastructure.is_file():
        problems.append(Problem("warning", str(infrastructure), "expected this picture, got none"))
        infrastructure = None
    usable = vehicle.is_file()
    if not usable:
        problems.append(Problem("error", str(vehicle), "expected this picture, got none"))
    prompt = _prompt(root / "text_prompts" / f"{name}.txt", problems)
    if not usable or prompt is None:
        return None
    return Pair(
        vehicle_id=name,
        infrastructure_id=name,
        sequence=f"flat-{split}",
        split=split,
        time_us=0,
        infrastructure_time_us=None,
        vehicle_image=vehicle,
        infrastructure_image=infrastructure,
        prompt=prompt,
    )


def _prompt(path: Path, problems: list[Problem]) -> str | None:
    try:
        text = _text(path).strip()
        if text:
            return text
        found = "expected a prompt, got an empty file"
    except FileNotFoundError:
        found = "expected a prompt, got no such file"
    except ValueError as error:
        found = str(error)
    problems.append(Problem("error", str(path), found))
    return None


def _trajectory(path: Path, problems: list[Problem]) -> Float64[np.ndarray, "45 2"] | None:
    """World positions, metres, the first one now."""
    try:
        return _array(_content(path))
    except FileNotFoundError:
        found = "expected this trajectory, got no such file"
    except ValueError as error:
        found = str(error)
    problems.append(Problem("error", str(path), found))
    return None


def _array(content: bytes) -> Float64[np.ndarray, "45 2"]:
    expected = f"numbers [{SHAPE[0]}, {SHAPE[1]}]"
    if not content.startswith(b"\x93NUMPY"):
        raise ValueError(f"expected an npy file of {expected}, got another kind of file")
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, TypeError, EOFError, MemoryError, SyntaxError, OverflowError) as error:
        reason = (
            "pickled objects, which are never loaded because they can run code" if "pickle" in str(error) else error
        )
        raise ValueError(f"expected an npy file of {expected}, got {reason or type(error).__name__}") from None
    if array.shape != SHAPE or array.dtype.kind not in "fiu":
        raise ValueError(f"expected {expected}, got {array.dtype} {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite numbers, got {int((~np.isfinite(array)).sum())} NaN or infinite")
    return array.astype(np.float64)


def _text(path: Path) -> str:
    try:
        return _content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text in UTF-8, got {error.reason} at byte {error.start}") from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES >> 20} MiB, got more")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"expected a file that can be read, got {error.strerror}") from None
