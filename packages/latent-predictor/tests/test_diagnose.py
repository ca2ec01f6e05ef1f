"""The diagnosis of the tiny run, and of networks that are made to fail in one way each."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from drivelab_shared import results
from drivelab_shared.errors import UserError
from drivelab_shared.stats import group_draws
from latent_predictor.config import DiagnoseSettings
from latent_predictor.diagnose import diagnose
from latent_predictor.diagnose.actions import measure_actions
from latent_predictor.diagnose.contract import violations
from latent_predictor.diagnose.growth import measure_growth
from latent_predictor.diagnose.reconstruction import measure_reconstruction
from latent_predictor.diagnose.resemblance import measure_resemblance
from latent_predictor.diagnose.sample import Sample, imagine_with
from latent_predictor.diagnose.stability import measure_stability
from latent_predictor.imagine import Windows
from latent_predictor.models import Predictor, Vae
from latent_predictor.trained import open_trained

STEPS = 8


@pytest.fixture(scope="module")
def settings(tiny_run, tmp_path_factory):
    output = tmp_path_factory.mktemp("diagnosis")
    return DiagnoseSettings(run_dir=tiny_run, output_dir=output, num_windows=8, steps=STEPS, device="cpu")


@pytest.fixture(scope="module")
def sample(settings):
    return Sample.of(open_trained(settings.run_dir, torch.device("cpu"), settings), settings)


def cells(section):
    return {(row.row, row.metric, row.at): row for row in section.table.rows}


def with_networks(sample, **networks):
    """The same windows, seen by other networks; what they imagine is computed again."""
    changed = replace(sample, trained=replace(sample.trained, **networks))
    return replace(changed, imagined=imagine_with(changed.trained, changed.windows, np.array))


def test_a_sound_run_passes_and_gets_tables_pictures_and_conclusions(settings, capsys):
    assert diagnose(settings) == 0
    tables = results.read(settings.output_dir / "results.json")
    names = ["reconstruction", "latent_space", "growth", "resemblance", "actions", "stability"]
    assert [table.table for table in tables] == names
    assert all(table.conclusions for table in tables)
    page = (settings.output_dir / "report.html").read_text()
    assert all(table.title in page for table in tables)
    assert page.count("<img") > 10
    assert "nan" not in capsys.readouterr().out


def test_the_psnr_of_reconstructions_and_of_the_mean_picture_is_as_worked_out_frame_by_frame(sample):
    trained, rows = sample.trained, sample.frames.rows
    mean = np.rint(trained.store.frames[trained.store.indices("train")].mean(0))
    by_hand = {"reconstruction": [], "mean picture": []}
    for row in rows:
        real = trained.store.frames[row].astype(float)
        picture = trained.vae.decode(torch.from_numpy(trained.latents[[row]]))[0].permute(1, 2, 0)
        decoded = np.rint(255 * picture.numpy())
        for name, frame in (("reconstruction", decoded), ("mean picture", mean)):
            by_hand[name].append(10 * np.log10(255**2 / np.square(frame - real).mean()))
    found = cells(measure_reconstruction(sample))
    for name, values in by_hand.items():
        assert found[name, "PSNR [dB]", None].value == pytest.approx(np.mean(values), abs=0.01)


def test_the_first_imagined_step_is_a_step_from_real_latents_so_nothing_has_accumulated(sample):
    found = cells(measure_growth(sample))
    assert found["open loop", "MSE / one step", 1].value == pytest.approx(1, abs=1e-5)
    copied, mean = (
        (torch.from_numpy(sample.trained.latents[sample.windows.rows(0)]) - sample.real[:, -1]).square().mean(),
        (sample.mean - sample.real[:, -1]).square().mean(),
    )
    assert found["copy last", "MSE / constant mean", STEPS].value == pytest.approx(float(copied / mean), rel=1e-4)


def test_actions_that_are_not_changed_give_the_same_future(sample):
    assert torch.equal(imagine_with(sample.trained, sample.windows, np.array), sample.imagined)


def test_windows_that_do_not_fit_a_drive_are_the_users_mistake(settings):
    long = replace(settings, steps=31)
    with pytest.raises(UserError, match="expected trajectories of at least 41 frames"):
        Sample.of(open_trained(settings.run_dir, torch.device("cpu"), long), long)


def test_a_sound_run_breaks_no_contract(sample):
    assert violations(sample) == []


def test_latents_of_another_vae_break_a_contract(sample):
    stale = replace(sample, trained=replace(sample.trained, latents=sample.trained.latents + 1))
    assert [sentence.split(":")[0] for sentence in violations(stale)] == ["cached latents"]


class Fake(Predictor):
    """A predictor whose `forward` says what it imagines."""

    def __init__(self):
        super().__init__(latent_size=64, action_size=3, residual=False)

    def step(self, inputs, actions, memory):
        raise NotImplementedError


class LooksAhead(Fake):
    """Every prediction is the sum of all actions, later ones included."""

    def forward(self, real, actions):
        return actions.sum((1, 2))[:, None, None].expand(len(real), actions.shape[1], real.shape[2])


def test_a_predictor_that_reads_later_actions_breaks_a_contract(sample):
    assert [s.split(":")[0] for s in violations(with_networks(sample, predictor=LooksAhead()))] == ["causality"]


def test_a_broken_contract_ends_with_1_and_is_named(tiny_run, settings, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("latent_predictor.diagnose.violations", lambda _: ["causality: it sees the future"])
    monkeypatch.setattr("latent_predictor.diagnose.SECTIONS", (measure_stability,))
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    assert diagnose(replace(settings, run_dir=run, output_dir=None)) == 1
    assert capsys.readouterr().err == f"{run}: causality: it sees the future\n"
    assert "it sees the future" in (run / "diagnose" / "report.html").read_text()


class Steered(Fake):
    """Latents that say where the car is: every step moves it by the steering."""

    def forward(self, real, actions):
        return actions[..., :1].cumsum(1).expand(*actions.shape[:2], real.shape[2])


class Shows(Vae):
    """A decoder that paints the first number of the latent."""

    def decode(self, latents):
        return (0.5 + latents[:, :1] / 20).clamp(0, 1)[:, :, None, None].expand(len(latents), 3, 64, 64)


class Reads(nn.Module):
    """A judge of pictures that reads that number: below 0 is left, above 0 is right."""

    def forward(self, pictures):
        offset = pictures.mean((1, 2, 3)) - 0.5
        return torch.stack([-offset, torch.full_like(offset, 1e-3), offset], dim=-1)


@pytest.fixture
def obedient(sample):
    # Gas and brake do nothing, steering does everything.
    return with_networks(sample, predictor=Steered(), vae=Shows(), judge_pixel=Reads())


def test_a_car_that_follows_its_steering_is_said_to_obey(obedient):
    section = measure_actions(obedient)
    assert section.table.conclusions[0].startswith("**The imagined car obeys its steering**")
    found = cells(section)
    assert found["steering left", "read as left [%], judge c", STEPS].value == 100
    assert found["steering right", "read as right [%], judge c", STEPS].value == 100
    assert found["steer one std higher", "latent moved by [std]", STEPS].value > 0
    assert found["gas one std higher", "latent moved by [std]", STEPS].value == 0


def test_a_car_that_ignores_its_actions_is_said_not_to_obey(sample):
    class Ignores(Steered):
        def forward(self, real, actions):
            return super().forward(real, torch.zeros_like(actions))

    section = measure_actions(with_networks(sample, predictor=Ignores(), vae=Shows(), judge_pixel=Reads()))
    assert section.table.conclusions[0].startswith("**The imagined car does not obey its steering**")
    assert cells(section)["steer one std higher", "latent moved by [std]", STEPS].value == 0


def test_a_predictor_without_actions_has_no_such_section(sample):
    assert measure_actions(with_networks(sample, predictor=sample.trained.twin)) is None


def drawn(sample, shift):
    """40 windows of 4 drives, real and imagined latents from one distribution; `shift` is added to one dimension."""
    torch.manual_seed(0)
    groups = np.repeat(np.arange(4), 10)
    windows = Windows(np.arange(40), groups, 10, STEPS)
    real, imagined = torch.randn(2, 40, STEPS, 16)
    imagined[..., 3] += shift
    return replace(
        sample, windows=windows, draws=group_draws(4), real=real, imagined=imagined, mean=real[0, 0], std=real[0, 0]
    )


@pytest.mark.parametrize(("shift", "low", "high"), [(10.0, 95, 100), (0.0, 30, 70)])
def test_imagined_latents_are_told_from_real_ones_only_where_there_is_something_to_tell(sample, shift, low, high):
    section = measure_resemblance(drawn(sample, shift))
    found = cells(section)
    for step in (1, 4, STEPS):
        assert low <= found["real against imagined", "told apart [%]", step].value <= high
        assert 30 <= found["control: real against real", "told apart [%]", step].value <= 70
    assert ("leave a mark" in section.table.conclusions[0]) == (shift > 0)


def with_metrics(sample, folder, lines):
    folder.mkdir()
    text = "\n".join(json.dumps({"stage": "predictor", "step": i + 1} | line) for i, line in enumerate(lines))
    (folder / "metrics.jsonl").write_text(text + '\n{"step": 99, "half a li')
    return replace(sample, trained=replace(sample.trained, folder=folder))


def training(losses):
    return [
        {"split": "train", "loss": loss, "mse": loss, "ce": 1.0, "grad_mse": 1.0, "grad_ce": 2.0} for loss in losses
    ]


def test_a_smooth_training_is_called_stable(sample, tmp_path):
    sample = replace(sample, trained=replace(sample.trained, settings=replace(sample.trained.settings, lambda_cls=0.1)))
    section = measure_stability(with_metrics(sample, tmp_path / "run", training(np.linspace(2, 1, 40))))
    assert section.table.conclusions[0].startswith("**Training was stable**")
    # The gradient of the lane loss is 2, its weight 0.1, and the gradient of the MSE is 1.
    assert "0.20 times that of the MSE: the MSE steers" in section.table.conclusions[2]


def test_a_spike_and_a_loss_that_is_not_finite_are_called_by_their_name(sample, tmp_path):
    lines = training([1.0] * 20 + [5.0] + [1.0] * 19)
    lines[30] |= {"loss": None, "nonfinite": ["loss"]}
    conclusion = measure_stability(with_metrics(sample, tmp_path / "run", lines)).table.conclusions[0]
    assert conclusion.startswith("**Training was not stable**: 1 of 40 logged lines")
    assert "1 losses exceed 2 times" in conclusion


def test_validation_that_turns_round_is_noticed(sample, tmp_path):
    lines = training(np.linspace(2, 1, 20))
    lines += [{"split": "val", "mse": mse, "ce": 1.0, "total": mse, "pixel_accuracy": 0.5} for mse in (1, 0.5, 0.6)]
    section = measure_stability(with_metrics(sample, tmp_path / "run", lines))
    assert "best after epoch 2 of 3 and rose by 20 %" in section.table.conclusions[-1]


def test_a_run_without_metrics_has_no_such_section(sample, tmp_path):
    assert measure_stability(replace(sample, trained=replace(sample.trained, folder=tmp_path))) is None
