"""Every frame's latent, computed once per VAE and data set and mapped from disk."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from drivelab_shared.arrays import write_rows
from drivelab_shared.networks import key_hash, weights_hash
from latent_predictor.data.store import Store
from latent_predictor.models import Vae

CHUNK = 256


def to_pictures(frames: np.ndarray, device: torch.device | str = "cpu") -> Float[Tensor, "batch 3 64 64"]:
    """uint8 [batch, 64, 64, 3] as floats in [0, 1], channels first in meaning and last in memory (faster on CPUs)."""
    pictures = torch.from_numpy(np.array(frames)).to(device).permute(0, 3, 1, 2)
    return pictures.float().div_(255)


def to_frames(pictures: Float[Tensor, "batch 3 64 64"]) -> np.ndarray:
    """The way back, rounded: uint8 [batch, 64, 64, 3]."""
    return pictures.float().mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def encode(vae: Vae, frames: np.ndarray, device: torch.device | str) -> Float32[np.ndarray, "batch latent"]:
    """Posterior means, chunk by chunk."""
    chunks = [vae.encode(to_pictures(frames[i : i + CHUNK], device))[0] for i in range(0, len(frames), CHUNK)]
    return torch.cat(chunks).float().cpu().numpy()


@torch.no_grad()
def decode(vae: Vae, latents: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch 3 64 64"]:
    """Pictures in [0, 1], chunk by chunk."""
    return torch.cat([vae.decode(latents[i : i + CHUNK]) for i in range(0, len(latents), CHUNK)])


def cached_latents(
    vae: Vae, store: Store, cache_dir: Path, device: torch.device | str
) -> Float32[np.ndarray, "rows latent"]:
    """Latents of all frames of the store, mapped. The key covers the VAE's weights and the bytes of the frames."""
    key = key_hash({"vae": weights_hash(vae), "frames": store.frames_fingerprint, "of": "posterior mean, float32"})
    path = cache_dir / f"latents-{key[:16]}.npy"
    if not path.exists():
        blocks = (encode(vae, store.frames[i : i + CHUNK], device) for i in range(0, len(store.frames), CHUNK))
        write_rows(path, blocks, num_rows=len(store.frames), row_shape=(vae.latent_size,))
    return np.load(path, mmap_mode="r")


def statistics(rows: np.ndarray, indices: np.ndarray) -> tuple[Float[Tensor, " size"], Float[Tensor, " size"]]:
    """Mean and standard deviation per column over the given rows, read in chunks and added up in double precision."""
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for i in range(0, len(indices), CHUNK):
        chunk = rows[indices[i : i + CHUNK]].astype(np.float64)
        total += chunk.sum(0)
        squares += np.square(chunk).sum(0)
    mean = total / len(indices)
    std = np.sqrt(np.maximum(squares / len(indices) - mean**2, 0))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()


@torch.no_grad()
def posterior_std(vae: Vae, store: Store, device: torch.device | str) -> Float[Tensor, " latent"]:
    """The encoder's own uncertainty per latent dimension, root mean square over up to 2,048 training frames.

    The decoder was trained on latents that were shaken this much, so it cannot show anything finer.
    """
    rows = store.indices("train")
    frames = store.frames[rows[:: max(1, len(rows) // 2048)]]
    variances = [vae.encode(to_pictures(frames[i : i + CHUNK], device))[1].exp() for i in range(0, len(frames), CHUNK)]
    return torch.cat(variances).mean(0).sqrt()


def num_active(std: Float[Tensor, " size"], threshold: float = 0.1) -> int:
    """Latent dimensions that move."""
    return int((std > threshold).sum())


def device_of(module: nn.Module) -> torch.device:
    """Where the module's weights are."""
    return next(module.parameters()).device
