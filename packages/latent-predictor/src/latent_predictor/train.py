"""Train: frames -> VAE -> latents -> frozen lane classifier and judges -> predictor -> a run folder with a report."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from drivelab_shared.errors import UserError
from drivelab_shared.job import run_job
from drivelab_shared.modules import num_parameters
from drivelab_shared.networks import Network, save_network, weights_hash
from drivelab_shared.runs import Run
from latent_predictor.config import TrainSettings
from latent_predictor.data.make_data import ensure_data
from latent_predictor.data.store import Store, open_store, window_starts
from latent_predictor.fit import Moment, Schedule, fit
from latent_predictor.latents import statistics
from latent_predictor.losses import lane_cross_entropy, predictor_loss
from latent_predictor.models import Predictor, Vae
from latent_predictor.stages import (
    Session,
    classifier_noise_std,
    latents_of,
    num_steps,
    require_labels,
    train_classifier,
    train_judges,
    train_oracle,
    train_vae,
)
from latent_predictor.storage import load_network

PACKAGE = "latent-predictor"
VALIDATION_HORIZONS = (1, 5, 10, 20)
VALIDATION_CONTEXT = 10
MAX_VALIDATION_WINDOWS = 128
"""They are imagined at once after every epoch, and memory must not grow with the data."""


def train(settings: TrainSettings) -> None:
    """Train as the settings say; the run folder holds everything that the other verbs need.

    Raises:
        UserError: the data or a setting is wrong.
    """
    run_job(
        PACKAGE,
        settings,
        settings.run_dir,
        prepare=lambda: ensure_data(settings.data_dir),
        stages=lambda run, stop: _train_stages(Session(settings, run, stop, _open_store(settings, run))),
    )


def _open_store(settings: TrainSettings, run: Run) -> Store:
    with run.accelerator.main_process_first():
        store = open_store(
            settings.data_dir,
            settings.cache_dir,
            npz_files=settings.npz_files,
            labels=settings.labels,
            skip_invalid=settings.skip_invalid,
        )
    run.require("data", store.fingerprint, "the data have changed: start a new run")
    return store


def _train_stages(session: Session) -> None:
    settings, run = session.settings, session.run
    # What the last stages need is refused before the first one.
    require_labels(session.store)
    starts = training_starts(session)
    vae = train_vae(session)
    latents = latents_of(session, vae)
    classifier = train_classifier(session, vae, latents)
    _, pixel_judge = train_judges(session, vae, latents)
    train_oracle(session)
    training = PredictorTraining(session, starts, vae, latents, classifier, pixel_judge)
    predictor = training.run("predictor", use_actions=settings.use_actions)
    if settings.twin and settings.conditioning != "none" and session.store.action_size:
        training.run("twin", use_actions=False)
    if run.accelerator.is_main_process:
        if settings.save_dir:
            _save_for_request(settings, predictor)
        if settings.evaluate:
            from latent_predictor.evaluate import evaluate_run  # here: reports need matplotlib

            evaluate_run(run.folder, session.device)
    run.accelerator.wait_for_everyone()


def training_starts(session: Session) -> np.ndarray:
    """First rows of all training windows.

    Raises:
        UserError: the trajectories are too short for one.
    """
    # The first of these frames is only an input: `window` transitions connect window + 1 frames.
    settings, frames = session.settings, session.settings.window + 1
    starts = window_starts(session.store, "train", frames, settings.window_stride)
    if not len(starts):
        found = f"expected training trajectories of {frames} frames, got shorter ones"
        raise UserError(f"{session.store.data_dir}: {found}")
    return starts


class PredictorTraining:
    """The main stage, run once for the predictor and once for its no-action twin."""

    def __init__(
        self,
        session: Session,
        starts: np.ndarray,
        vae: Vae,
        latents: np.ndarray,
        classifier: nn.Module,
        pixel_judge: nn.Module,
    ) -> None:
        self.session, self.starts, self.vae, self.latents = session, starts, vae, latents
        self.classifier, self.pixel_judge = classifier, pixel_judge
        self.classifier_noise_std = classifier_noise_std(session, vae)
        store = session.store
        self.horizon = min(
            max(VALIDATION_HORIZONS), min(span.length for span in store.spans("val")) - VALIDATION_CONTEXT
        )
        starts = window_starts(store, "val", VALIDATION_CONTEXT + self.horizon, 20)
        self.val_starts = starts[:: math.ceil(len(starts) / MAX_VALIDATION_WINDOWS)]

    def run(self, stage: str, *, use_actions: bool) -> Network:
        """Train and save as models/<stage> of the run."""
        settings, session = self.session.settings, self.session
        is_given = settings.predictor_path is not None and stage == "predictor"
        network = self._given() if is_given else self._build(use_actions)
        batch_size = min(settings.batch_size, len(self.starts))
        steps = settings.steps or num_steps(len(self.starts), batch_size, settings.epochs)
        schedule = Schedule(
            steps=steps,
            lr=settings.lr,
            lr_schedule=settings.lr_schedule,
            clip_norm=settings.clip_norm,
            checkpoint_every=settings.checkpoint_every,
            keep=settings.keep,
            log_every=settings.log_every,
            seed=settings.seed,
        )
        fit(
            session.run, session.stop, stage, network.module, self._loss,
            len(self.starts), batch_size, schedule, self._validate, select=settings.select,
        )  # fmt: skip
        network.facts.update(
            vae=weights_hash(self.vae),
            dt=self.session.store.dt,
            parameters=num_parameters(network.module),
            steps=steps,
            transitions=steps * batch_size * settings.window,
        )
        if session.run.accelerator.is_main_process:
            save_network(session.run.folder / "models" / stage, network)
        return network

    def _given(self) -> Network:
        settings, session = self.session.settings, self.session
        network = load_network(settings.predictor_path, settings.predictor, name="predictor")
        _require_fit(settings, network.module, self.vae, session.store)
        return network

    def _build(self, use_actions: bool) -> Network:
        settings, store = self.session.settings, self.session.store
        network = self.session.fresh(
            settings.predictor,
            stream=10,
            seed=settings.seed,
            latent_size=self.vae.latent_size,
            action_size=store.action_size,
            hidden_size=settings.hidden_size,
            bottleneck=settings.bottleneck,
            conditioning=settings.conditioning if use_actions else "none",
            action_embedding=settings.action_embedding,
            residual=settings.residual_prediction,
            zero_init_head=settings.zero_init_head,
            dropout=settings.dropout,
        )
        rows = store.indices("train")
        if settings.whiten_latents:
            network.module.normalise("latent", *statistics(self.latents, rows))
        if settings.standardise_actions:
            network.module.normalise("action", *statistics(store.actions, rows))
        return network

    def _loss(self, network: nn.Module, batch: np.ndarray, at: Moment) -> Mapping[str, Tensor]:
        settings, store = self.session.settings, self.session.store
        real, actions, labels = window_batch(
            self.latents, store, self.starts[batch], settings.window, self.session.device
        )
        predictor = self.session.run.accelerator.unwrap_model(network)
        predictions = network(
            real[:, : settings.forced_steps],
            actions,
            noise_std=settings.input_noise_std,
            sampling_probability=settings.scheduled_sampling_max * at.done if settings.scheduled_sampling else 0.0,
        )
        targets = real[:, 1:]
        if settings.target_jitter_scale:
            targets = targets + settings.target_jitter_scale * predictor.latent_std * torch.randn_like(targets)
        losses = predictor_loss(
            predictions,
            targets,
            labels,
            scale=predictor.latent_std,
            classifier=self.classifier,
            lambda_cls=settings.lambda_cls,
            noise_std=self.classifier_noise_std,
        )
        return losses | gradient_norms(losses, predictions) if at.is_logged else losses

    def _validate(self, network: Predictor) -> Mapping[str, float]:
        """Open loop on the validation split, with its own real actions: what a person would look at, not the loss."""
        store = self.session.store
        length = VALIDATION_CONTEXT - 1 + self.horizon
        real, actions, labels = window_batch(self.latents, store, self.val_starts, length, self.session.device)
        predictions = network(real[:, :VALIDATION_CONTEXT], actions)
        figures = {"mse": float(((predictions - real[:, 1:]) / network.latent_std).square().mean())}
        figures["ce"] = float(lane_cross_entropy(self.classifier(predictions.flatten(0, 1)), labels.flatten()))
        figures["total"] = figures["mse"] + self.session.settings.lambda_cls * figures["ce"]
        on_pixels = []
        for h in [h for h in VALIDATION_HORIZONS if h <= self.horizon]:
            at = VALIDATION_CONTEXT - 2 + h
            target, known = labels[:, at].long(), labels[:, at] >= 0
            by_classifier = self.classifier(predictions[:, at]).argmax(-1) == target
            by_pixels = self.pixel_judge(self.vae.decode(predictions[:, at])).argmax(-1) == target
            figures[f"accuracy_h{h}"] = float(by_classifier[known].float().mean())
            figures[f"pixel_accuracy_h{h}"] = float(by_pixels[known].float().mean())
            on_pixels.append(figures[f"pixel_accuracy_h{h}"])
        return figures | {"pixel_accuracy": float(np.mean(on_pixels))}


def window_batch(
    latents: np.ndarray, store: Store, starts: np.ndarray, length: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Windows of `length` transitions.

    Returns:
        latents [batch, length + 1, latent]; actions [batch, length, action], `actions[:, t]` leading from latent t to
        t+1; labels [batch, length] of the latents 1 .. length, that is, of the targets.
    """
    rows = starts[:, None] + np.arange(length + 1)
    real = torch.from_numpy(latents[rows]).to(device)
    actions = torch.from_numpy(store.actions[rows[:, :-1]]).to(device)
    return real, actions, torch.from_numpy(store.labels[rows[:, 1:]]).to(device)


def gradient_norms(losses: Mapping[str, Tensor], predictions: Tensor) -> dict[str, Tensor]:
    """Size of each term's gradient at the predictions, before its weight: says which term really steers."""
    terms = {name: value for name, value in losses.items() if name != "loss" and value.requires_grad}
    return {
        f"grad_{name}": torch.autograd.grad(value, predictions, retain_graph=True)[0].norm()
        for name, value in terms.items()
    }


def _require_fit(settings: TrainSettings, predictor: Predictor, vae: Vae, store: Store) -> None:
    for name, expected, found in (
        ("latent_size", vae.latent_size, predictor.latent_size),
        ("action_size", store.action_size, predictor.action_size),
    ):
        if expected != found:
            raise UserError(f"{settings.predictor_path}: {name}: expected {expected}, got {found}")


def _save_for_request(settings: TrainSettings, network: Network) -> None:
    """What scripts around the request's own code look for: a plain state dict, with its description beside it."""
    settings.save_dir.mkdir(parents=True, exist_ok=True)
    torch.save(network.module.state_dict(), settings.save_dir / "best_model.pt")
    (settings.save_dir / "config.json").write_text(network.description())
