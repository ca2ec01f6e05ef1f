"""The request's training loop as its notes describe it: the baseline that everything here is measured against.

Batch 4, windows of 16 transitions, and at every step the frozen VAE encodes each window twice: the observations, and
the next observations as targets. Teacher forcing, mean squared error + lambda * cross entropy through the frozen
classifier, Adam. Frames come from the mapped cache, so no loader slows it down: what is slow is the recipe itself.

Source: the double encoding is also that of ctallec/world-models:trainmdrnn.py.
"""

import time
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from latent_predictor.bench.ticks import Tick
from latent_predictor.config import TrainSettings
from latent_predictor.data.store import Store, window_starts
from latent_predictor.latents import to_pictures
from latent_predictor.losses import UNKNOWN
from latent_predictor.models import LstmPredictor, Vae


def train_as_requested(
    vae: Vae,
    classifier: torch.nn.Module,
    store: Store,
    settings: TrainSettings,
    steps: int,
    encode: Literal["twice", "once"] | np.ndarray = "twice",
) -> tuple[LstmPredictor, list[Tick]]:
    """The request's predictor after so many steps, and the start of each step; the last one is the end.

    Args:
        vae: frozen.
        classifier: frozen.
        store: of the training frames.
        settings: those of configs/original.yaml.
        steps: optimizer steps.
        encode: `once` encodes the frames of a window together, the first thing anybody would improve. Latents of all
            rows of the store stand in for encoding: they are the same numbers, so the same network comes out.
    """
    torch.manual_seed(settings.seed)
    network = LstmPredictor(
        vae.latent_size,
        store.action_size,
        hidden_size=settings.hidden_size,
        bottleneck=0,
        conditioning="concat",
        action_embedding=0,
        residual=settings.residual_prediction,
        zero_init_head=False,
        dropout=0.0,
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr)
    starts = window_starts(store, "train", settings.window + 1, settings.window)
    batch_size = min(settings.batch_size, len(starts))
    rng = np.random.default_rng(settings.seed)
    order = np.empty(0, dtype=np.int64)
    ticks = []
    for _ in range(steps):
        ticks.append(Tick(time.process_time(), batch_size * settings.window))
        if len(order) < batch_size:
            order = rng.permutation(len(starts))
        batch, order = order[:batch_size], order[batch_size:]
        rows = starts[batch][:, None] + np.arange(settings.window + 1)
        actions = torch.from_numpy(store.actions[rows[:, :-1]])
        labels = torch.from_numpy(store.labels[rows[:, 1:]]).long()
        observed, target = _inputs_and_targets(vae, store, rows, encode)
        predicted = network(observed, actions)
        mse = functional.mse_loss(predicted, target)
        ce = functional.cross_entropy(classifier(predicted.flatten(0, 1)), labels.flatten(), ignore_index=UNKNOWN)
        loss = mse + settings.lambda_cls * ce
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
    ticks.append(Tick(time.process_time(), 0))
    return network.eval(), ticks


@torch.no_grad()
def _inputs_and_targets(
    vae: Vae, store: Store, rows: Int64[np.ndarray, "batch frames"], encode: str | np.ndarray
) -> tuple[Float[Tensor, "batch time latent"], Float[Tensor, "batch time latent"]]:
    if isinstance(encode, np.ndarray):
        latents = torch.from_numpy(encode[rows])
    else:
        frames = to_pictures(store.frames[rows.reshape(-1)]).unflatten(0, rows.shape)
        if encode == "twice":
            return _encode(vae, frames[:, :-1]), _encode(vae, frames[:, 1:])
        latents = _encode(vae, frames)
    return latents[:, :-1], latents[:, 1:]


def _encode(vae: Vae, frames: Float[Tensor, "batch time 3 64 64"]) -> Float[Tensor, "batch time latent"]:
    return vae.encode(frames.flatten(0, 1))[0].unflatten(0, frames.shape[:2])
