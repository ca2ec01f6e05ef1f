"""A trained run opened again: its networks and the data to try them on."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from drivelab_shared.errors import UserError
from drivelab_shared.modules import freeze
from drivelab_shared.networks import weights_hash
from drivelab_shared.settings import load
from latent_predictor.config import RunReader, TrainSettings
from latent_predictor.data.store import Store, open_store
from latent_predictor.latents import cached_latents
from latent_predictor.models import Predictor, Vae
from latent_predictor.stages import require_same_latents
from latent_predictor.storage import load_network

PREDICTORS = ("lstm",)
"""Kinds of network that can be models/predictor."""


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """Networks, frozen, on `device`; absent ones are None."""

    folder: Path
    settings: TrainSettings
    vae: Vae
    classifier: nn.Module
    judge_latent: nn.Module | None
    """None where another VAE than the run's was given: it reads the latents of that one alone."""
    judge_pixel: nn.Module
    predictor: Predictor
    twin: Predictor | None
    oracle: nn.Module | None
    store: Store
    latents: np.ndarray
    device: torch.device


def open_trained(run: Path, device: torch.device, settings: RunReader) -> TrainedRun:
    """The networks of a run and its data, with what the settings replace.

    Raises:
        UserError: something is missing or does not fit.
    """
    trained = load(TrainSettings, run / "settings.yaml")
    store = open_store(
        settings.data_dir or trained.data_dir,
        trained.cache_dir,
        npz_files=settings.npz_files or (trained.npz_files if settings.data_dir is None else ()),
        labels=trained.labels if settings.data_dir is None else "auto",
        skip_invalid=settings.skip_invalid or trained.skip_invalid,
        require=() if settings.data_dir else ("train", "val", "test"),
    )

    def network(name: str, *kinds: str, path: Path | None = None) -> nn.Module:
        return freeze(load_network(path or run, *kinds, name=name).module.to(device))

    def optional(name: str, *kinds: str) -> nn.Module | None:
        return network(name, *kinds) if (run / "models" / name).is_dir() else None

    vae_path, classifier_path, predictor_path = (
        getattr(settings, f"{name}_path", None) for name in ("vae_model", "classifier", "predictor")
    )
    vae = network("vae", "vae", path=vae_path)
    classifier = network("classifier", "latent_mlp", "latent_cnn", path=classifier_path)
    predictor = network("predictor", *PREDICTORS, path=predictor_path)
    require_same_latents(classifier_path or run, classifier, vae)
    _require_fit(predictor_path or run, predictor, vae, store)
    is_own_vae = vae_path is None or weights_hash(vae) == weights_hash(network("vae", "vae"))
    if not is_own_vae:
        _require_beside(vae_path, classifier_path=classifier_path, predictor_path=predictor_path)
        print(f"judge b is left out: it reads latents of the VAE of {run}, and {vae_path} is another", file=sys.stderr)
    return TrainedRun(
        folder=run,
        settings=trained,
        vae=vae,
        classifier=classifier,
        judge_latent=network("judge_latent", "latent_cnn") if is_own_vae else None,
        judge_pixel=network("judge_pixel", "pixel_cnn"),
        predictor=predictor,
        twin=None if predictor_path else optional("twin", *PREDICTORS),
        oracle=optional("oracle", "oracle") if store.state is not None else None,
        store=store,
        latents=cached_latents(vae, store, trained.cache_dir, device),
        device=device,
    )


def _require_beside(vae_path: Path, **paths: Path | None) -> None:
    """The run's own networks read the latents of its own VAE; of another one of the same size they can say nothing."""
    for name, path in paths.items():
        if path is None:
            expected = f"expected one for the latents of {vae_path}, which is not the VAE of the run"
            raise UserError(f"{name}: {expected}, got none")


def _require_fit(path: Path, predictor: Predictor, vae: Vae, store: Store) -> None:
    if predictor.latent_size != vae.latent_size:
        raise UserError(f"{path}: latent_size: expected {vae.latent_size} as in the VAE, got {predictor.latent_size}")
    if predictor.uses_actions and predictor.action_size != store.action_size:
        expected = f"expected {predictor.action_size} columns as in training"
        raise UserError(f"{store.data_dir}: actions: {expected}, got {store.action_size}")
