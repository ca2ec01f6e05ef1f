"""What test_engine starts under torchrun: train, resume, be refused, be stopped. Each process writes what it saw."""

import hashlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from drivelab_shared import checkpoint, engine
from drivelab_shared.checkpoint import Parts
from drivelab_shared.engine import StopSignal
from drivelab_shared.errors import UserError
from drivelab_shared.runs import Run, open_run
from drivelab_shared.seeding import StepSampler, seed_step

PACKAGE, SEED = "drivelab-shared", 3


@dataclass(frozen=True)
class Settings:
    """None that matter."""

    resume: str | None = None


def main() -> None:
    accelerator = engine.start("cpu")
    run = open_run(PACKAGE, Settings(), accelerator, run_dir=Path("run"))
    seen = {
        "rank": accelerator.process_index,
        "world": accelerator.num_processes,
        "run": str(run.folder),
        "whole": train(run, "whole", 4),
        "half": train(run, "parts", 2),
        "rest": train(run, "parts", 4),
        "refusal": refusal(accelerator),
        "asked_to_stop": stop(accelerator),
    }
    run.finish("preempted")
    Path(f"seen-{seen['rank']}.json").write_text(json.dumps(seen))


def train(run: Run, stage: str, steps: int) -> dict:
    """A new network up to that many steps, from the latest checkpoint of the stage if there is one."""
    accelerator, folder = run.accelerator, run.folder / "checkpoints" / stage
    seed_step(SEED, 0, stream=9)
    inputs, network = torch.randn(40, 3), nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
    network, optimizer = accelerator.prepare(network, torch.optim.AdamW(network.parameters(), lr=0.05))
    parts = Parts({"net": network}, {"optimizer": optimizer})
    latest = checkpoint.latest(accelerator, folder)
    start = checkpoint.load(accelerator, latest, parts)["step"] if latest else 0
    sampler = StepSampler(len(inputs), 8, accelerator.process_index, accelerator.num_processes, SEED)
    for step in range(start, steps):
        seed_step(SEED, step, accelerator.process_index, stream=1)
        optimizer.zero_grad()
        loss = network(inputs[sampler.batch(step)]).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        run.log(step + 1, "train", {"loss": loss.item()}, stage)
    checkpoint.save(accelerator, folder, steps, parts, {})
    return {
        "start": start,
        "batches": [sampler.batch(step).tolist() for step in range(start, steps)],
        "weights": hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest(),
    }


def refusal(accelerator: Accelerator) -> str:
    """What starting a second run in the same folder is answered with."""
    try:
        open_run(PACKAGE, Settings(), accelerator, run_dir=Path("run"))
    except UserError as problem:
        return str(problem)
    return ""


def stop(accelerator: Accelerator) -> list[bool]:
    """Whether to stop, asked before and after the second process alone was told to."""
    with StopSignal() as stop:
        before = stop.agreed(accelerator)
        if accelerator.process_index == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return [before, stop.agreed(accelerator)]


if __name__ == "__main__":
    main()
