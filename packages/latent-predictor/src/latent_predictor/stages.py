"""The stages before and beside the predictor: VAE, lane classifier, judges, oracle. Each is trained once and cached.

A stage's key covers everything its weights depend on, so two runs that agree on it share the work, and a run that
differs never picks up a stranger's network.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drivelab_shared.engine import StopSignal
from drivelab_shared.errors import UserError
from drivelab_shared.modules import freeze
from drivelab_shared.networks import Network, key_hash, save_network, weights_hash
from drivelab_shared.runs import Run
from drivelab_shared.seeding import seed_step
from latent_predictor.config import TrainSettings
from latent_predictor.data.store import Store, window_starts
from latent_predictor.fit import Moment, Schedule, fit
from latent_predictor.latents import CHUNK, cached_latents, posterior_std, statistics, to_pictures
from latent_predictor.losses import lane_cross_entropy, vae_loss
from latent_predictor.models import KINDS, StateOracle, Vae
from latent_predictor.models.oracle import STATE_FEATURES
from latent_predictor.storage import build, load_network

VERSION = 1
"""Part of every key: raise it when a change to the code changes what a stage learns."""
ORACLE_CONTEXT, ORACLE_HORIZON = 10, 20


@dataclass(frozen=True, eq=False)
class Session:
    """What all stages of one run share."""

    settings: TrainSettings
    run: Run
    stop: StopSignal
    store: Store

    @property
    def device(self) -> torch.device:
        """Of the engine."""
        return self.run.accelerator.device

    def schedule(self, steps: int, lr: float, **more: Any) -> Schedule:
        """The schedule of a stage: AdamW, cosine, under the stage's seed."""
        settings = self.settings
        common = {"checkpoint_every": settings.checkpoint_every, "keep": settings.keep, "log_every": settings.log_every}
        return Schedule(steps=steps, lr=lr, **{"seed": settings.stage_seed, "weight_decay": 1e-2} | common | more)

    def stage(self, name: str, key: Mapping[str, Any], train: Callable[[], Network]) -> nn.Module:
        """The stage's network, frozen: from the cache or trained now. The run keeps a copy as models/<name>."""
        accelerator = self.run.accelerator
        cached = self.settings.cache_dir / f"{name}-{key_hash({**key, 'version': VERSION})[:16]}"
        is_cached = (cached / "config.json").is_file()
        accelerator.wait_for_everyone()  # every process has looked before the first one writes
        network = load_network(cached, *KINDS) if is_cached else train()
        if accelerator.is_main_process:
            if not is_cached:
                save_network(cached, network)
            save_network(self.run.folder / "models" / name, network)
        accelerator.wait_for_everyone()
        return freeze(network.module.to(self.device))

    def given(self, name: str, path: Path, *kinds: str) -> nn.Module:
        """A network that the user brought, frozen, and kept with the run like a trained one."""
        network = load_network(path, *kinds, name=name)
        if self.run.accelerator.is_main_process:
            save_network(self.run.folder / "models" / name, network)
        return freeze(network.module.to(self.device))

    def fresh(self, kind: str, stream: int, seed: int | None = None, **arguments: Any) -> Network:
        """A network whose initial weights are a function of the seed and the stream."""
        seed_step(self.settings.stage_seed if seed is None else seed, 0, stream=100 + stream)
        return build(kind, **arguments)


def train_vae(session: Session) -> Vae:
    """The frame autoencoder, frozen."""
    settings, store = session.settings, session.store
    if settings.vae_model_path:
        return session.given("vae", settings.vae_model_path, "vae")
    rows = store.indices("train")

    def loss_of(network: nn.Module, batch: np.ndarray, _: Moment) -> Mapping[str, Tensor]:
        pictures = to_pictures(store.frames[np.sort(rows[batch])], session.device)
        return vae_loss(pictures, *network(pictures), kl_weight=settings.vae.kl_weight)

    def train() -> Network:
        network = session.fresh("vae", 0, latent_dim=settings.vae.latent_dim, widths=list(settings.vae.widths))
        steps = num_steps(len(rows), settings.vae.batch_size, settings.vae.epochs)
        module = network.module.to(memory_format=torch.channels_last)
        schedule = session.schedule(steps, settings.vae.lr)
        fit(session.run, session.stop, "vae", module, loss_of, len(rows), settings.vae.batch_size, schedule)
        return network

    key = {"vae": asdict(settings.vae), "seed": settings.stage_seed, "frames": store.frames_fingerprint}
    return session.stage("vae", key | _engine_key(settings), train)


def train_classifier(session: Session, vae: Vae, latents: np.ndarray) -> nn.Module:
    """Judge a, the classifier inside the loss: learns from the labels the user chose."""
    settings = session.settings
    if settings.classifier_path:
        classifier = session.given("classifier", settings.classifier_path, "latent_mlp", "latent_cnn")
        require_same_latents(settings.classifier_path, classifier, vae)
        return classifier
    return _train_judge(
        session, "classifier", "latent_mlp", 1, settings.judges.classifier_epochs, latents, session.store.labels,
        key={"vae": weights_hash(vae), "labels": session.store.fingerprint, "noise": settings.classifier_noise},
        noise_std=classifier_noise_std(session, vae), latent_dim=vae.latent_dim,
    )  # fmt: skip


def train_judges(session: Session, vae: Vae, latents: np.ndarray) -> tuple[nn.Module, nn.Module]:
    """Judges b (latents) and c (pictures): learn from the best labels there are, never meet a predictor's loss."""
    settings, store = session.settings, session.store
    judge_b = _train_judge(
        session, "judge_latent", "latent_cnn", 2, settings.judges.latent_epochs, latents, store.judge_labels,
        key={"vae": weights_hash(vae), "frames": store.frames_fingerprint}, latent_dim=vae.latent_dim,
    )  # fmt: skip
    judge_c = _train_judge(
        session, "judge_pixel", "pixel_cnn", 3, settings.judges.pixel_epochs, store.frames, store.judge_labels,
        key={"frames": store.frames_fingerprint},
    )  # fmt: skip
    return judge_b, judge_c


def _train_judge(
    session: Session,
    name: str,
    kind: str,
    stream: int,
    epochs: int,
    inputs: np.ndarray,
    labels: np.ndarray,
    key: Mapping[str, Any],
    noise_std: Tensor | None = None,
    **arguments: Any,
) -> nn.Module:
    judges, store = session.settings.judges, session.store
    rows = {split: _labelled(store.indices(split), labels) for split in ("train", "val")}

    def batch_of(indices: np.ndarray) -> tuple[Tensor, Tensor]:
        chosen = inputs[indices]
        tensor = (
            to_pictures(chosen, session.device) if chosen.ndim == 4 else torch.from_numpy(chosen).to(session.device)
        )
        return tensor, torch.from_numpy(labels[indices]).to(session.device)

    def loss_of(network: nn.Module, batch: np.ndarray, _: Moment) -> Mapping[str, Tensor]:
        tensor, target = batch_of(np.sort(rows["train"][batch]))
        if noise_std is not None:
            tensor = tensor + noise_std * torch.randn_like(tensor)
        return {"loss": lane_cross_entropy(network(tensor), target)}

    def validate(network: nn.Module) -> Mapping[str, float]:
        right = 0
        for i in range(0, len(rows["val"]), CHUNK):  # piece by piece, so that memory does not grow with the data
            tensor, target = batch_of(rows["val"][i : i + CHUNK])
            right += int((network(tensor).argmax(-1) == target).sum())
        return {"accuracy": right / max(len(rows["val"]), 1)}

    def train() -> Network:
        network = session.fresh(kind, stream, **arguments)
        steps = num_steps(len(rows["train"]), judges.batch_size, epochs)
        schedule = session.schedule(steps, judges.lr, seed=session.settings.stage_seed + stream)
        fit(
            session.run, session.stop, name, network.module, loss_of,
            len(rows["train"]), judges.batch_size, schedule, validate,
        )  # fmt: skip
        return network

    key = {
        **key,
        "kind": kind,
        "epochs": epochs,
        "judges": [judges.batch_size, judges.lr],
        "seed": session.settings.stage_seed,
    }
    return session.stage(name, key | _engine_key(session.settings), train)


def train_oracle(session: Session) -> StateOracle | None:
    """The state oracle, or None where the data hold no state or it is switched off."""
    store, judges = session.store, session.settings.judges
    if store.state is None or store.track_ahead is None or not judges.oracle_steps or not store.action_size:
        return None
    window = ORACLE_CONTEXT + ORACLE_HORIZON
    starts = window_starts(store, "train", window, 1)

    def loss_of(network: nn.Module, batch: np.ndarray, _: Moment) -> Mapping[str, Tensor]:
        logits, labels = oracle_logits(network, store, starts[batch], ORACLE_CONTEXT, ORACLE_HORIZON, session.device)
        return {"loss": lane_cross_entropy(logits, labels)}

    def train() -> Network:
        network = session.fresh("oracle", 4, action_size=store.action_size, num_tiles_ahead=store.track_ahead.shape[1])
        rows = store.indices("train")
        parts = [statistics(part, rows) for part in (store.state[:, STATE_FEATURES], store.actions, store.track_ahead)]
        network.module.normalise(*(torch.cat(values) for values in zip(*parts, strict=True)))
        schedule = session.schedule(judges.oracle_steps, judges.lr, clip_norm=1.0)
        fit(session.run, session.stop, "oracle", network.module, loss_of, len(starts), judges.batch_size, schedule)
        return network

    key = {"frames": store.frames_fingerprint, "steps": judges.oracle_steps, "judges": [judges.batch_size, judges.lr]}
    key |= {"seed": session.settings.stage_seed}
    return session.stage("oracle", key | _engine_key(session.settings), train)


def oracle_logits(
    oracle: nn.Module, store: Store, starts: np.ndarray, context: int, horizon: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Logits [batch, horizon, 3] of the frames after the context, and their labels."""
    frames = starts[:, None] + np.arange(context + horizon)
    states = torch.from_numpy(store.state[frames[:, :context]][..., STATE_FEATURES]).to(device)
    actions = torch.from_numpy(store.actions[frames[:, :-1]]).to(device)
    ahead = torch.from_numpy(store.track_ahead[frames[:, context - 1]]).to(device)
    return oracle(states, actions, ahead), torch.from_numpy(store.judge_labels[frames[:, context:]]).to(device)


def require_labels(store: Store) -> None:
    """Refuse drives that no judge can learn from, before anything is learned.

    Raises:
        UserError: there is no label in the training split.
    """
    rows = store.indices("train")
    if not all(len(_labelled(rows, labels)) for labels in (store.labels, store.judge_labels)):
        raise UserError(f"{store.data_dir}: labels: expected training drives whose lane is known, got none")


def latents_of(session: Session, vae: Vae) -> np.ndarray:
    """Latents of all frames. One process computes them, the others wait."""
    with session.run.accelerator.main_process_first():
        return cached_latents(vae, session.store, session.settings.cache_dir, session.device)


def classifier_noise_std(session: Session, vae: Vae) -> Tensor | None:
    """Noise per latent dimension on what the classifier of the loss reads; None without any."""
    scale = session.settings.classifier_noise
    return scale * posterior_std(vae, session.store, session.device) if scale else None


def require_same_latents(path: Path, network: nn.Module, vae: Vae) -> None:
    """Refuse a classifier of other latents, naming both sizes.

    Raises:
        UserError: the sizes differ.
    """
    if network.latent_dim != vae.latent_dim:
        raise UserError(f"{path}: latent_dim: expected {vae.latent_dim} as in the VAE, got {network.latent_dim}")


def num_steps(num_samples: int, batch_size: int, epochs: int) -> int:
    """Optimizer steps of so many passes; the incomplete last batch of a pass is dropped."""
    return max(num_samples // min(batch_size, num_samples), 1) * epochs


def _labelled(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return rows[labels[rows] >= 0]


def _engine_key(settings: TrainSettings) -> dict[str, Any]:
    """What else decides the last bit of a weight."""
    return {"precision": settings.precision, "threads": settings.threads, "torch": torch.__version__}
