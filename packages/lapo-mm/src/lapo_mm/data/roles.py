"""Which observation is which modality: decided by space and name, once, and the same for data and environment.

| modality | space                                     | name                           | becomes                  |
|----------|-------------------------------------------|--------------------------------|--------------------------|
| `image`  | uint8 Box, [C, H, W], [H, W, C] or [H, W] | any                            | uint8 [C, H, W]          |
| `lidar`  | float Box, [beams] or [beams, numbers]    | with lidar, scan, laser, range | float32 [beams, numbers] |
| `state`  | any other float Box with one dimension    | any                            | float32 [numbers]        |

Several of one modality are joined in alphabetical order: states behind each other, images of one size as more channels,
lidars with the same beams as more numbers per beam.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import Space, spaces
from jaxtyping import Real
from numpy.typing import ArrayLike

from drivelab_shared.errors import UserError
from lapo_mm.config import Modality
from lapo_mm.data.spaces import leaf, leaves

MODALITIES: tuple[Modality, ...] = ("image", "state", "lidar")
LIDAR_NAMES = ("lidar", "scan", "laser", "range")
_JOINED_ALONG = {"image": -3, "state": -1, "lidar": -1}


@dataclass(frozen=True)
class Role:
    """One array of the observation, and how it is read."""

    key: str
    modality: Modality
    shape: tuple[int, ...]
    """As the environment gives it."""
    layout: Literal["CHW", "HWC", "HW", "beams", ""] = ""
    """What the dimensions of an image are; `beams` for a lidar with one number per beam."""

    @property
    def read_shape(self) -> tuple[int, ...]:
        """As a network gets it."""
        match self.layout:
            case "HWC":
                return self.shape[2], *self.shape[:2]
            case "HW":
                return 1, *self.shape
            case "beams":
                return *self.shape, 1
        return self.shape

    def read(self, array: ArrayLike) -> Real[np.ndarray, "..."]:
        """The array as a network gets it; any number of leading dimensions stay as they are.

        Raises:
            ValueError: it has another shape, or is an image of something else than bytes.
        """
        array = np.asarray(array)
        num_leading = array.ndim - len(self.shape)
        leading = array.shape[: max(0, num_leading)]
        if array.shape != (*leading, *self.shape) or (self.modality == "image" and array.dtype != np.uint8):
            expected = f"{'uint8' if self.modality == 'image' else 'numbers'} [..., {', '.join(map(str, self.shape))}]"
            raise ValueError(f"{self.key}: expected {expected}, got {array.dtype} {list(array.shape)}")
        if self.layout == "HWC":
            return np.moveaxis(array, -1, -3)
        if self.modality != "image":
            array = array.astype(np.float32, copy=False)
        return array.reshape(*leading, *self.read_shape)


@dataclass(frozen=True)
class Roles:
    """All arrays of an observation that are used."""

    roles: tuple[Role, ...]
    """In the order in which they are joined."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The ones that there are, in a fixed order."""
        return tuple(name for name in MODALITIES if self.of(name))

    @property
    def keys(self) -> set[str]:
        """Of the observations that are used."""
        return {role.key for role in self.roles}

    def of(self, modality: str) -> tuple[Role, ...]:
        """What makes up a modality."""
        return tuple(role for role in self.roles if role.modality == modality)

    def shape(self, modality: str) -> tuple[int, ...]:
        """Of a modality as a network gets it."""
        shapes = [role.read_shape for role in self.of(modality)]
        total = list(shapes[0])
        total[_JOINED_ALONG[modality]] = sum(shape[_JOINED_ALONG[modality]] for shape in shapes)
        return tuple(total)

    def __str__(self) -> str:
        parts = ((name, " + ".join(role.key for role in self.of(name))) for name in self.modalities)
        return ", ".join(f"{name} from {keys} {list(self.shape(name))}" for name, keys in parts)


def assign_roles(space: Space, source: str, modalities: Sequence[Modality] = ()) -> Roles:
    """The role of every array of an observation.

    Args:
        space: of the observation.
        source: what has this space, for messages.
        modalities: use only these, whatever else there is; empty means that every array must have a role.

    Raises:
        UserError: an array fits no modality, several cannot be joined, or a modality that is asked for is missing.
    """
    roles = {key: _role(key, box) for key, box in sorted(leaves(space).items())}
    unfit = [key for key, role in roles.items() if role is None]
    if unfit and not modalities:
        box = leaves(space)[unfit[0]]
        raise UserError(
            f"{source}: {unfit[0]}: expected an image (uint8 [C, H, W] or [H, W, C]), a state (float [n]) or a lidar "
            f"(float [beams, n], `lidar` in its name), got {box.dtype} {list(box.shape)}; --modalities leaves it out"
        )
    usable = Roles(tuple(role for role in roles.values() if role is not None))
    for name in modalities:
        if name not in usable.modalities:
            raise UserError(f"{source}: modalities: expected some of {', '.join(usable.modalities)}, got {name}")
    chosen = Roles(tuple(role for role in usable.roles if role.modality in (modalities or MODALITIES)))
    for name in chosen.modalities:
        _require_joinable(chosen.of(name), source)
    return chosen


def to_modalities(observation: Mapping[str, Any] | np.ndarray, roles: Roles) -> dict[str, np.ndarray]:
    """An observation of the environment, or a batch or an episode of them, as networks get it.

    Raises:
        KeyError: an array is missing.
        ValueError: one has another shape or dtype than its space says.
    """
    found = {}
    for name in roles.modalities:
        parts = [role.read(leaf(observation, role.key)) for role in roles.of(name)]
        found[name] = np.ascontiguousarray(np.concatenate(parts, axis=_JOINED_ALONG[name]))
    return found


def _role(key: str, box: spaces.Box) -> Role | None:
    if box.dtype == np.uint8 and (layout := _image_layout(box.shape)):
        return Role(key, "image", box.shape, layout)
    if box.dtype.kind != "f" or len(box.shape) not in (1, 2):
        return None
    if any(name in key.lower() for name in LIDAR_NAMES):
        return Role(key, "lidar", box.shape, "beams" if len(box.shape) == 1 else "")
    return Role(key, "state", box.shape) if len(box.shape) == 1 else None


def _image_layout(shape: tuple[int, ...]) -> Literal["CHW", "HWC", "HW"] | None:
    """Channels are the smaller end of three dimensions; None where the two are equal, or there are more or fewer."""
    match shape:
        case (_, _):
            return "HW"
        case (first, _, last) if first != last:
            return "CHW" if first < last else "HWC"
    return None


def _require_joinable(roles: Sequence[Role], source: str) -> None:
    first, *others = roles
    for role in others:
        if _kept(role) != _kept(first):
            what = "images of one size" if role.modality == "image" else "lidars with the same beams"
            found = f"{first.key} {list(first.read_shape)} and {role.key} {list(role.read_shape)}"
            raise UserError(f"{source}: expected {what}, got {found}")


def _kept(role: Role) -> list[int]:
    """The sizes that must agree between arrays that are joined."""
    sizes = list(role.read_shape)
    del sizes[_JOINED_ALONG[role.modality]]
    return sizes
