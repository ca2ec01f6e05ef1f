"""One imagined future, with the real one beside it and what the judges read in it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int8, UInt8
from torch import nn

from drivelab_shared.errors import UserError
from latent_predictor.config import PredictSettings
from latent_predictor.data.suspicions import ACTION_NAMES
from latent_predictor.data.trajectory import UNKNOWN, Trajectory
from latent_predictor.latents import decode, encode, to_frames
from latent_predictor.models import CLASSES, Predictor, Vae

STEERING = {"left": -0.3, "straight": 0.0, "right": 0.3}
"""As hard as the drivers of the default data steer in their hardest tenth of frames."""
STEER = ACTION_NAMES.index("steer")


@dataclass(frozen=True, eq=False)
class Networks:
    """What a prediction takes, frozen and on `device`."""

    vae: Vae
    predictor: Predictor
    classifier: nn.Module
    judge_latent: nn.Module
    judge_pixel: nn.Module
    device: torch.device


@dataclass(frozen=True, eq=False, kw_only=True)
class Prediction:
    """`context` real frames that were watched, then `steps` imagined ones. Times count from the last real frame."""

    name: str
    """Of the trajectory."""
    start: int
    """Frame of the trajectory that was watched first."""
    steering: str
    """`recorded`, or what was held instead."""
    dt: float
    """Seconds between frames."""
    real: UInt8[np.ndarray, "time 64 64 3"]
    """What the drive saw, context + steps frames."""
    reconstructed: UInt8[np.ndarray, "time 64 64 3"]
    """The same through the VAE: the best that an imagined picture can look like."""
    labels: Int8[np.ndarray, " time"]
    """Where in the lane the drive was; -1 where nobody knows."""
    imagined: UInt8[np.ndarray, "steps 64 64 3"]
    latents: Float32[np.ndarray, "steps latent"]
    """What `imagined` was decoded from."""
    actions: Float32[np.ndarray, "steps actions"]
    """`actions[t]` leads to `imagined[t]`."""
    lanes: dict[str, Int8[np.ndarray, " steps"]]
    """What each judge reads in `imagined`: a and b from the latents, c from the pictures."""

    @property
    def steps(self) -> int:
        """Imagined frames."""
        return len(self.imagined)

    @property
    def context(self) -> int:
        """Watched frames."""
        return len(self.real) - self.steps

    @property
    def true_lanes(self) -> Int8[np.ndarray, " steps"]:
        """Labels of the drive's frames beside the imagined ones."""
        return self.labels[self.context :]

    @property
    def is_recorded(self) -> bool:
        """Whether the drive shows what the imagined frames should show."""
        return self.steering == "recorded"

    @property
    def title(self) -> str:
        """What is shown, in one line."""
        steering = "recorded actions" if self.is_recorded else f"steering held {self.steering}"
        watched = f"{self.context} real frames from frame {self.start} on"
        return f"{self.name}: {watched}, then {self.steps} imagined ones, {steering}"


def imagine_one(networks: Networks, trajectory: Trajectory, start: int, settings: PredictSettings) -> Prediction:
    """Watch `settings.context` frames from `start` on, then imagine `settings.steps` more.

    Raises:
        UserError: the trajectory's actions do not fit the predictor, or the steering cannot be replaced.
    """
    window = slice(start, start + settings.context + settings.steps)
    first_imagined = settings.context - 1  # transition t leads to frame t + 1
    real = trajectory.frames[window]
    actions = _fitting_actions(networks.predictor, trajectory, settings.actions)[window][:-1].copy()
    if settings.actions != "recorded":
        actions[first_imagined:, STEER] = STEERING[settings.actions]
    latents = torch.from_numpy(encode(networks.vae, real, networks.device)).to(networks.device)
    watched = latents[None, : settings.context]
    with torch.no_grad():
        future = networks.predictor(watched, torch.from_numpy(actions[None]).to(networks.device))[0, first_imagined:]
    pictures = decode(networks.vae, future)
    return Prediction(
        name=trajectory.name,
        start=start,
        steering=settings.actions,
        dt=trajectory.dt,
        real=real,
        reconstructed=to_frames(decode(networks.vae, latents)),
        labels=np.where(trajectory.labels == UNKNOWN, trajectory.visual_labels, trajectory.labels)[window],
        imagined=to_frames(pictures),
        latents=future.cpu().numpy(),
        actions=actions[first_imagined:],
        lanes={
            "a": _lanes(networks.classifier, future),
            "b": _lanes(networks.judge_latent, future),
            "c": _lanes(networks.judge_pixel, pictures),
        },
    )


def lane_name(label: int | np.int8) -> str:
    """The word for a label; `?` for an unknown one."""
    return "?" if label == UNKNOWN else CLASSES[label]


def _fitting_actions(predictor: Predictor, trajectory: Trajectory, wanted: str) -> Float32[np.ndarray, "time actions"]:
    """The drive's actions, if the predictor can read them and `wanted` steering can be put in."""
    names = ", ".join(ACTION_NAMES)
    if predictor.conditioning == "none":
        if wanted != "recorded":
            raise UserError(f"actions: expected 'recorded', because this predictor reads no actions, got {wanted!r}")
        return np.zeros((len(trajectory), predictor.action_size), np.float32)
    columns = trajectory.actions.shape[1]
    if columns != predictor.action_size:
        expected = f"expected {predictor.action_size} columns as in training"
        raise UserError(f"{trajectory.name}.npz: actions: {expected}, got {columns}")
    if wanted != "recorded" and columns != len(ACTION_NAMES):
        raise UserError(f"actions: expected 'recorded' for {columns} columns that are not {names}, got {wanted!r}")
    return trajectory.actions


@torch.no_grad()
def _lanes(judge: nn.Module, inputs: torch.Tensor) -> Int8[np.ndarray, " steps"]:
    return judge(inputs).argmax(-1).to(torch.int8).cpu().numpy()
