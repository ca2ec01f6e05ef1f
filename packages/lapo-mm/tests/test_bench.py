"""Bench in small: the plain step learns what ours learns, and the tables hold every variant."""

from dataclasses import replace

import pytest
import torch

from drivelab_shared import results
from drivelab_shared.seeding import seed_step
from lapo_mm.algorithms.lapo import Lapo
from lapo_mm.bench import bench
from lapo_mm.bench.plain import PlainLapo, SharedFeaturesLapo
from lapo_mm.bench.steps import ready
from lapo_mm.config import BenchSettings, EncoderSettings
from lapo_mm.data.batches import Batches
from lapo_mm.data.store import open_store


@pytest.mark.parametrize("kind", [PlainLapo, SharedFeaturesLapo])
def test_the_plain_step_learns_what_ours_learns(tiny_settings, kind):
    """Up to the features that the plain one encodes anew after the critic's step: with a tiny rate, nearly the same.

    Adam's first step is the sign of the gradient, and where that is almost zero the sign may differ.
    """
    still = EncoderSettings(channels=(4,), image_features=8, state_features=4)
    settings = replace(tiny_settings, encoder=still, critic_lr=1e-5, vae_lr=1e-5, actor_lr=1e-5)
    store = open_store(settings.data_dir, settings.cache_dir)
    batch = Batches(store, "cpu").fetch(store.steps_of("train")[:32])
    weights = []
    for one in (Lapo, kind):
        algorithm = ready(one, store, settings)
        seed_step(0, 1)
        algorithm.update(batch, lambda name, loss: loss.backward())
        weights.append(algorithm.state_dict())
    ours, theirs = (torch.cat([tensor.flatten().double() for tensor in one.values()]) for one in weights)
    known = torch.isfinite(ours)
    assert ((ours - theirs)[known].abs() > 1e-6).double().mean() < 0.01


def test_bench_measures_every_variant(reacher_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bench(BenchSettings(data_dir=reacher_data, batch_size=16, steps=1, repeats=2, output_dir=tmp_path / "bench"))
    tables = {table.table: table for table in results.read(tmp_path / "bench" / "results.json")}
    assert list(tables) == ["steps", "data"]
    rows = {(row.row, row.metric) for row in tables["steps"].rows}
    for name in ("plain step", "ours, channels last", "iql", "td3bc", "bc"):
        assert (name, "gradient steps per CPU-second") in rows
    assert any("side by side" in row.row for row in tables["data"].rows)
