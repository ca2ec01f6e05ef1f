"""Pictures of observations and of episodes."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from lapo_mm.rollouts import Trace

BAR_COLOUR = (0, 114, 178)


def rgb(image: UInt8[np.ndarray, "channels height width"]) -> UInt8[np.ndarray, "height width 3"]:
    """An observed image as a person can look at it: one channel is grey, of a stack the newest, three are colours."""
    channels = len(image)
    if channels == 3:
        return np.ascontiguousarray(image.transpose(1, 2, 0))
    return np.repeat(image[-1][:, :, None], 3, axis=2)


def film(trace: Trace, scale: int) -> UInt8[np.ndarray, "frames height width 3"]:
    """What the policy saw, magnified, above its actions as bars from -1 to 1 (of the largest one in the episode)."""
    size = np.abs(np.array(trace.actions)).max() or 1.0
    return np.stack(
        [
            _frame(observation, action / size, scale)
            for observation, action in zip(trace.observations[:-1], trace.actions, strict=True)
        ]
    )


def _frame(observation: dict[str, np.ndarray], action: np.ndarray, scale: int) -> np.ndarray:
    parts = []
    if "image" in observation:
        picture = rgb(observation["image"])
        height, width = picture.shape[:2]
        parts.append(cv2.resize(picture, (width * scale, height * scale), interpolation=cv2.INTER_NEAREST))
    width = parts[0].shape[1] if parts else 32 * scale
    parts.append(_bars(action, width, 12))
    return np.concatenate(parts)


def _bars(action: np.ndarray, width: int, height: int) -> np.ndarray:
    """A row per number of the action, growing left or right from the middle."""
    chart = np.full((height * len(action), width, 3), 255, np.uint8)
    middle = width // 2
    for row, value in enumerate(action):
        end = middle + round(float(value) * (middle - 1))
        cv2.rectangle(chart, (middle, row * height + 2), (end, (row + 1) * height - 3), BAR_COLOUR, thickness=-1)
    chart[:, middle] = 0
    return chart


def side_by_side(films: Sequence[np.ndarray]) -> UInt8[np.ndarray, "frames height width 3"]:
    """Films next to each other; the last frame of a shorter one stays."""
    longest = max(map(len, films))
    filled = [np.concatenate([one, np.repeat(one[-1:], longest - len(one), axis=0)]) for one in films]
    gap = np.full((longest, filled[0].shape[1], 6, 3), 255, np.uint8)
    parts = [part for one in filled for part in (one, gap)]
    return np.concatenate(parts[:-1], axis=2)
