"""Imagination: latency of a step, rate in batches, and whole rollouts against a loop over one window at a time."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from drivelab_shared.results import Row, Table
from drivelab_shared.timing import Timings, Work, interleave, timed
from latent_predictor.bench.workbench import Workbench
from latent_predictor.imagine import Windows, imagine
from latent_predictor.latents import decode
from latent_predictor.models import Predictor, Vae
from latent_predictor.trained import TrainedRun

CONTEXT, STEPS = 10, 20
BATCH, PLAIN_WINDOWS = 256, 8
"""Windows that are imagined at once by us, and one after the other by the plain loop."""
NUM_SINGLE, NUM_BATCHED = 200, 10
"""Steps per repeat that are timed with batch 1 and with a full batch."""

STEP_1, STEP_BATCH = "one step, batch 1", f"one step, batch {BATCH}"
PLAIN, OURS = "one window after the other", f"{BATCH} windows at once (ours)"
PLAIN_DECODED, OURS_DECODED = f"{PLAIN}, decoded", f"{OURS}, decoded"


def bench_imagination(bench: Workbench) -> list[Table]:
    """Frames per CPU-second of the run's own predictor."""
    timings = interleave("imagination", _works(bench.trained), bench.settings.repeats)
    latency = timings.milliseconds(STEP_1)
    rows = [Row(name, "frames per CPU-second", **vars(timings.rate(name))) for name in timings.by_name]
    rows += [Row(STEP_1, "CPU time per frame [ms]", **vars(latency))]
    pairs = {STEP_BATCH: STEP_1, OURS: PLAIN, OURS_DECODED: PLAIN_DECODED}
    for ours, plain in pairs.items():
        rows.append(Row(ours, "times its plain counterpart", **vars(timings.times(ours, plain))))
    title = f"Imagination, rollouts of {CONTEXT} real and {STEPS} imagined frames"
    return [bench.table("imagination", title, rows, _conclusions(timings, bench.trained.store.dt))]


def _works(trained: TrainedRun) -> dict[str, Work]:
    windows = _windows(trained, BATCH)
    few = _windows(trained, PLAIN_WINDOWS)
    latents = torch.from_numpy(trained.latents[windows.rows(0)])
    actions = torch.from_numpy(trained.store.actions[windows.rows(0)])

    def ours(is_decoded: bool) -> int:
        futures = imagine(trained.predictor, trained.latents, trained.store, windows, trained.device)
        if is_decoded:
            decode(trained.vae, futures.flatten(0, 1))
        return len(windows.starts) * STEPS

    def plain(is_decoded: bool) -> int:
        for i in range(len(few.starts)):
            real = torch.from_numpy(trained.latents[few.context_rows()[i]])
            acts = torch.from_numpy(trained.store.actions[few.action_rows()[i]])
            plain_rollout(trained.predictor, trained.vae if is_decoded else None, real, acts)
        return len(few.starts) * STEPS

    return {
        STEP_1: timed(partial(_steps, trained.predictor, latents[:1], actions[:1], NUM_SINGLE)),
        STEP_BATCH: timed(partial(_steps, trained.predictor, latents, actions, NUM_BATCHED)),
        PLAIN: timed(partial(plain, False)),
        OURS: timed(partial(ours, False)),
        PLAIN_DECODED: timed(partial(plain, True)),
        OURS_DECODED: timed(partial(ours, True)),
    }


@torch.no_grad()
def plain_rollout(
    predictor: Predictor,
    vae: Vae | None,
    real: Float[Tensor, "context latent"],
    actions: Float[Tensor, "transitions action"],
) -> Float[Tensor, "steps latent"]:
    """The loop that a first version would have: one window, one frame at a time, each decoded as it comes."""
    actions = (actions - predictor.action_mean) / predictor.action_std
    memory, found = None, []
    for t in range(len(actions)):
        latent = real[t] if t < len(real) else found[-1]
        inputs = (latent - predictor.latent_mean) / predictor.latent_std
        output, memory = predictor.step(inputs[None], actions[t][None], memory)
        latent = (latent if predictor.residual else predictor.latent_mean) + predictor.latent_std * output[0]
        found.append(latent)
        if vae is not None and t >= len(real) - 1:
            vae.decode(latent[None])
    return torch.stack(found[len(real) - 1 :])


def _windows(trained: TrainedRun, number: int) -> Windows:
    """So many windows, repeated where the data hold fewer."""
    windows = Windows.of(trained.store, "all", CONTEXT, STEPS, 1)
    starts = torch.arange(number).numpy() * 7 % len(windows.starts)
    return Windows(windows.starts[starts], windows.groups[starts], CONTEXT, STEPS)


@torch.no_grad()
def _steps(predictor: Predictor, latents: Tensor, actions: Tensor, number: int) -> int:
    """Steps that feed on each other, as a planner or a simulator would take them."""
    memory = None
    for _ in range(number):
        outputs, memory = predictor.step(latents, actions, memory)
    return number * len(outputs)


def _conclusions(timings: Timings, dt: float) -> list[str]:
    latency, batched = timings.milliseconds(STEP_1), timings.times(STEP_BATCH, STEP_1)
    whole, decoded = timings.times(OURS, PLAIN), timings.times(OURS_DECODED, PLAIN_DECODED)
    return [
        f"**{BATCH} windows imagined at once give {whole.shown('times')} as many frames per CPU-second as one window "
        f"after the other**, and {decoded.shown('times')} with decoding, most of whose cost is the decoder's.",
        f"One step takes {latency.shown('ms', 2)} of CPU time for one car, {1000 * dt / latency.value:.0f} times "
        f"faster than real time; in batches of {BATCH} a frame is {batched.shown('times')} cheaper.",
    ]
