"""Evaluate: imagine held-out drives open loop and let three judges read the lane, beside the baselines."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from drivelab_shared import engine, results, runs
from drivelab_shared.errors import UserError
from latent_predictor.config import EvaluateSettings
from latent_predictor.data.store import Store
from latent_predictor.imagine import Windows, imagine
from latent_predictor.latents import decode, encode, statistics, to_frames, to_pictures
from latent_predictor.scores import Method, Scores
from latent_predictor.stages import oracle_logits
from latent_predictor.tables import evaluation_tables, headline_metrics
from latent_predictor.trained import TrainedRun, open_trained

PACKAGE = "latent-predictor"


def evaluate(settings: EvaluateSettings) -> None:
    """Write scores, results.json and report.html, and print the headline.

    Raises:
        UserError: there is no such run, or the data do not fit it.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    evaluate_run(run, device, settings)


def evaluate_run(run: Path, device: torch.device, settings: EvaluateSettings | None = None) -> None:
    """`evaluate` for a run that may still be marked as running."""
    from latent_predictor.evaluation_report import write_report  # here: it needs matplotlib

    settings = settings or EvaluateSettings()
    trained = open_trained(run, device, settings)
    windows = windows_of(trained.store, settings)
    scores = score(trained, windows, settings)
    output = settings.output_dir or (run if settings.run_dir is None else run / "evaluate")
    output.mkdir(parents=True, exist_ok=True)
    scores.save(output / "scores.npz")
    tables = evaluation_tables(
        [scores], [trained.settings.seed], trained.store.dt, settings.num_bootstrap, settings.seed
    )
    results.write(output / "results.json", tables)
    write_report(output / "report.html", tables, scores, trained, windows, run)
    print(results.plain(tables[0], *headline_metrics(tables[0])))
    print(f"report: {output / 'report.html'}")


def windows_of(store: Store, settings: EvaluateSettings) -> Windows:
    """The windows that the settings ask for.

    Raises:
        UserError: the trajectories are too short for one.
    """
    windows = Windows.of(store, settings.split, settings.context, max(settings.horizons), settings.window_stride)
    if not len(windows.starts):
        frames = settings.context + max(settings.horizons)
        raise UserError(f"{store.data_dir}: expected trajectories of at least {frames} frames, got shorter ones")
    return windows


def score(trained: TrainedRun, windows: Windows, settings: EvaluateSettings) -> Scores:
    """Every method's answer on every window, at every horizon."""
    store, horizons = trained.store, settings.horizons
    rows = np.stack([windows.rows(h) for h in horizons], axis=1)
    real = torch.from_numpy(trained.latents[rows]).to(trained.device)
    latents = dict(_imagined(trained, windows, settings)) | {
        "copy last": torch.from_numpy(trained.latents[windows.rows(0)]).to(trained.device)[:, None],
        "constant mean": _constant_mean(trained, real),
    }
    methods = {"real": _real(trained, rows, real), "reconstruction": _reconstruction(trained, rows, real)}
    methods |= {name: _judged(trained, rows, real, predicted) for name, predicted in latents.items()}
    methods |= {
        name: Method({"label": lanes.astype(np.int8)}) for name, lanes in _namers(trained, windows, horizons).items()
    }
    return Scores(tuple(horizons), windows.groups, np.array(store.judge_labels[rows]), methods)


def _imagined(trained: TrainedRun, windows: Windows, settings: EvaluateSettings) -> Mapping[str, Tensor]:
    """Latents [windows, horizons, latent] of the predictor, of its twin, and with somebody else's future actions."""
    steps = [h - 1 for h in settings.horizons]
    futures = {
        "predictor": imagine(trained.predictor, trained.latents, trained.store, windows, trained.device)[:, steps]
    }
    if trained.twin is not None:
        futures["no-action twin"] = imagine(trained.twin, trained.latents, trained.store, windows, trained.device)[
            :, steps
        ]
    swapped = windows.swapped(settings.seed)
    if swapped is not None and trained.store.action_size:
        future = imagine(trained.predictor, trained.latents, trained.store, windows, trained.device, future_of=swapped)
        futures["swapped actions"] = future[:, steps]
    return futures


def _constant_mean(trained: TrainedRun, real: Tensor) -> Tensor:
    # The training split's mean where the data have one; a folder that was only brought for evaluation has its own.
    has_train = any(span.split == "train" for span in trained.store.trajectories)
    mean, _ = statistics(trained.latents, trained.store.indices("train" if has_train else "all"))
    return mean.to(trained.device).expand(len(real), 1, -1)


@torch.no_grad()
def _judged(trained: TrainedRun, rows: np.ndarray, real: Tensor, predicted: Tensor) -> Method:
    """A method that has latents: judges a and b read them, judge c reads their pictures.

    A prediction that is the same at every horizon, [windows, 1, latent], is decoded once.
    """
    pictures = [decode(trained.vae, latents) for latents in predicted.unbind(1)] * (rows.shape[1] // predicted.shape[1])
    columns = zip(predicted.expand_as(real).unbind(1), pictures, strict=True)
    answers = [_answers(trained, latents, shown) for latents, shown in columns]
    return Method(
        classes=_by_judge(answers),
        error=(predicted - real).square().mean(-1).cpu().numpy(),
        psnr=np.stack(
            [_psnr(to_frames(shown), trained.store.frames[rows[:, i]]) for i, shown in enumerate(pictures)], 1
        ),
        std=predicted.expand_as(real).std(dim=0, correction=0).mean(-1).cpu().numpy(),
    )


def _real(trained: TrainedRun, rows: np.ndarray, real: Tensor) -> Method:
    """The upper line: real latents for judges a and b, real pictures for judge c."""
    frames = [to_pictures(trained.store.frames[column], trained.device) for column in rows.T]
    answers = [_answers(trained, latents, shown) for latents, shown in zip(real.unbind(1), frames, strict=True)]
    return Method(_by_judge(answers), std=real.std(dim=0, correction=0).mean(-1).cpu().numpy())


def _reconstruction(trained: TrainedRun, rows: np.ndarray, real: Tensor) -> Method:
    """Through the decoder, and for judges a and b back through the encoder: what the VAE alone costs."""
    method = _judged(trained, rows, real, real)
    again = [encode(trained.vae, to_frames(decode(trained.vae, latents)), trained.device) for latents in real.unbind(1)]
    latents = torch.from_numpy(np.stack(again, axis=1)).to(trained.device)
    answers = [_of_latents(trained, column) for column in latents.unbind(1)]
    method.classes.update(_by_judge(answers))
    return dataclasses.replace(method, error=(latents - real).square().mean(-1).cpu().numpy())


def _by_judge(answers: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """From a list over horizons to one array per judge."""
    return {judge: np.stack([answer[judge] for answer in answers], axis=1) for judge in answers[0]}


@torch.no_grad()
def _answers(trained: TrainedRun, latents: Tensor, pictures: Tensor) -> dict[str, np.ndarray]:
    return _of_latents(trained, latents) | {"c": _lanes(trained.judge_pixel(pictures))}


@torch.no_grad()
def _of_latents(trained: TrainedRun, latents: Tensor) -> dict[str, np.ndarray]:
    judges = {"a": trained.classifier, "b": trained.judge_latent}
    return {name: _lanes(judge(latents)) for name, judge in judges.items() if judge is not None}


def _lanes(logits: Tensor) -> np.ndarray:
    return logits.argmax(-1).to(torch.int8).cpu().numpy()


def _psnr(frames: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of 8-bit pictures, dB."""
    error = np.square(frames.astype(np.float64) - real).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-3))


@torch.no_grad()
def _namers(trained: TrainedRun, windows: Windows, horizons: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Baselines that name the lane without predicting a latent."""
    store, shape = trained.store, (len(windows.starts), len(horizons))
    train = [span for span in store.trajectories if span.split == "train"]
    rows = store.indices("train" if train else "all")
    counts = np.bincount(store.judge_labels[rows][store.judge_labels[rows] >= 0], minlength=3)
    last = np.maximum(store.judge_labels[windows.rows(0)], 0)
    namers = {
        "majority class": np.full(shape, counts.argmax()),
        "label stays": np.repeat(last[:, None], len(horizons), axis=1),
    }
    if trained.oracle is not None:
        logits, _ = oracle_logits(
            trained.oracle, store, windows.starts, windows.context, windows.horizon, trained.device
        )
        namers["state oracle"] = logits.argmax(-1).cpu().numpy()[:, [h - 1 for h in horizons]]
    return namers
