"""Pictures: whether all of them can be opened and have one size, and whether some of them show anything."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from drivelab_shared.errors import UserError
from v2x_teacher.data.check_data.evidence import Evidence
from v2x_teacher.data.recording import Pair, Problem
from v2x_teacher.pictures import read_picture

Sizes = dict[Path, tuple[int, int]]
"""Width and height of each picture that can be opened, pixels."""
END_OF_JPEG = b"\xff\xd9"
SMALL = (36, 64)
FEWEST_GREYS = 2.0
"""Standard deviation of a picture that shows something, grey levels."""


def survey(evidence: Evidence) -> tuple[Sizes, list[Problem]]:
    """Open every listed picture; decode one per sequence and side, and those that end too early."""
    sizes: Sizes = {}
    problems: list[Problem] = []
    for side in ("vehicle", "infrastructure"):
        pictures = _pictures(evidence.listed, side)
        found: Sizes = {}
        seen: set[str] = set()
        for path, sequence in tqdm(pictures.items(), desc=f"{side} pictures", leave=False, disable=None):
            try:
                found[path], is_whole = _open(path)
                if sequence not in seen or not is_whole:
                    problems += _decoded(path)
                    seen.add(sequence)
            except UserError as error:
                found.pop(path, None)
                problems.append(Problem("error", str(path), str(error).removeprefix(f"{path}: ")))
        problems += _odd_sizes(found)
        sizes |= found
    return sizes, [*problems, *_beside(evidence)]


def _pictures(pairs: list[Pair], side: str) -> dict[Path, str]:
    """Each with its sequence."""
    paths = ((getattr(pair, f"{side}_image"), pair.sequence) for pair in pairs)
    return {path: sequence for path, sequence in paths if path is not None}


def _open(path: Path) -> tuple[tuple[int, int], bool]:
    """Its size, and whether it ends as it should.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        with path.open("rb") as file, Image.open(file) as picture:
            if picture.format != "JPEG":
                return picture.size, True
            file.seek(-len(END_OF_JPEG), os.SEEK_END)
            return picture.size, file.read() == END_OF_JPEG
    except UnidentifiedImageError:
        raise UserError(f"{path}: expected a picture, got something else") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(f"{path}: expected a picture, got: {reason}") from None


def _decoded(path: Path) -> Iterator[Problem]:
    """What is wrong with what it shows.

    Raises:
        UserError: it cannot be decoded.
    """
    spread = float(read_picture(path, *SMALL).std())
    if spread < FEWEST_GREYS:
        yield Problem("warning", str(path), "expected a picture of something, got a single colour")


def _odd_sizes(sizes: Sizes) -> Iterator[Problem]:
    counts = Counter(sizes.values())
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        expected = f"expected {usual[0]} x {usual[1]} pixels as most of this side"
        odd = ((path, size) for path, size in sizes.items() if size != usual)
        yield from (Problem("warning", str(path), f"{expected}, got {size[0]} x {size[1]}") for path, size in odd)


def _beside(evidence: Evidence) -> Iterator[Problem]:
    """Folders next to the side's own, into which the official archives unpack."""
    root = evidence.recording.root
    for side in ("vehicle", "infrastructure") if not evidence.is_flat else ():
        folders = Counter(path.parent for path in _pictures(evidence.listed, side))
        for folder, count in folders.items():
            if not folder.is_relative_to(root / f"{side}-side"):
                yield Problem("note", str(folder), f"{count} pictures of {side}-side are read from here")
