"""Two gloo processes, as torchrun starts them: they finish, agree, and learn from the mean of both gradients."""

import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from drivelab_shared import runs
from drivelab_shared.seeding import seed_step
from drivelab_shared.settings import dump
from opv2v_stage2 import train as training
from opv2v_stage2.config import LabelSettings
from opv2v_stage2.data.store import open_store
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.fit import FORWARD, _groups, cosine
from opv2v_stage2.losses.terms import total_loss
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.train import Course

TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
    *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
]
KEEP_BOTH = """
import os, sys
from safetensors.torch import save_file
from opv2v_stage2 import cli, train

fit = train.fit

def fit_and_keep(run, stop, lesson, *rest):
    network = fit(run, stop, lesson, *rest)
    save_file(network.state_dict(), run.folder / f"{lesson.name}-{os.environ['RANK']}.safetensors")
    return network

if __name__ == "__main__":
    train.fit = fit_and_keep
    sys.exit(cli.main(sys.argv[1:]))
"""
"""`opv2v-stage2`, whose processes leave what each of them ends with."""


@pytest.fixture
def settings(tiny_settings):
    return replace(tiny_settings, batch_size=4, stage1_steps=3, stage2_steps=3)


def finish_with_two(settings, tmp_path):
    """The run folder."""
    (tmp_path / "settings.yaml").write_text(dump(replace(settings, run_dir=tmp_path / "run")))
    (tmp_path / "both.py").write_text(KEEP_BOTH)
    finished = subprocess.run(
        [*TORCHRUN, str(tmp_path / "both.py"), "train", "--config", str(tmp_path / "settings.yaml")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    manifest = runs.read_manifest(tmp_path / "run")
    assert (manifest["status"], manifest["world_size"]) == ("finished", 2)
    return tmp_path / "run"


def of_both(settings, monkeypatch):
    """The weights of each stage after steps along the mean gradient of both processes, worked out in this one."""
    tree, size = open_tree(settings.data_dir), (settings.model.width, settings.model.height)
    store = open_store(tree, "train", size, LabelSettings(), settings.cache_dir)
    courses = [Course(settings, store, None, torch.device("cpu"), rank, 2) for rank in range(2)]
    engine = SimpleNamespace(is_main_process=False, main_process_first=nullcontext)
    lessons, run = [], SimpleNamespace(accelerator=engine)

    def remember(_run, _stop, lesson, network, *_):
        lessons.append(lesson)
        return network

    def follow_the_mean(_run, _stop, lesson, network, *_):
        optimizer = torch.optim.AdamW(_groups(network, settings), lr=lesson.lr, betas=(0.9, 0.98))
        paces = [group["lr"] * lesson.lr for group in optimizer.param_groups]
        for step in range(lesson.steps):
            for group, pace in zip(optimizer.param_groups, paces, strict=True):
                group["lr"] = pace * cosine(step, lesson.steps)
            optimizer.zero_grad()
            for rank, draw in enumerate((lesson.draw, lessons[-1].draw)):
                seed_step(settings.seed, step, rank, FORWARD)
                batch = draw(step)
                seen = Reconstruction.of(network.train()(batch.views))
                (total_loss(seen, batch.targets, settings.loss, lesson.name)["loss"] / 2).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
            optimizer.step()
        return network.eval()

    def staged(stage, *model):
        for fit, course in ((remember, courses[1]), (follow_the_mean, courses[0])):
            monkeypatch.setattr(training, "fit", fit)
            network = stage(course, *model, run, None)
        return network

    first = staged(training._stage1)
    return {"stage1": first.state_dict(), "stage2": staged(training._stage2, first).state_dict()}


def flat(state) -> torch.Tensor:
    return torch.cat([state[name].flatten() for name in sorted(state)])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_end_with_the_same_weights_and_learn_from_the_mean_of_their_gradients(
    settings, tmp_path, monkeypatch
):
    run = finish_with_two(settings, tmp_path)
    expected = of_both(settings, monkeypatch)
    for stage in ("stage1", "stage2"):
        first, second = (load_file(run / f"{stage}-{rank}.safetensors") for rank in range(2))
        assert torch.equal(flat(first), flat(second))
        assert torch.equal(flat(first), flat(load_file(run / "models" / stage / "model.safetensors")))
        # Adam's first steps are signs of gradients: where one is almost zero, rounding decides.
        assert ((flat(first) - flat(expected[stage])).abs() > 1e-5).float().mean() < 0.02


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo")
def test_two_processes_finish_without_any_loss_of_poses(settings, tmp_path):
    """Then no gradient reaches the pose search, which both processes must know of."""
    loss = replace(settings.loss, pose_weight=0.0, coop_consistency_weight=0.0, scale_distill_weight=0.0)
    finish_with_two(replace(settings, loss=loss, single_share=0.5), tmp_path)
