"""A real scenario, for users who may have one: `OPV2V_ROOT=/data/opv2v/test/2021_08_18_19_48_05 pytest`.

Real OPV2V files are under terms that forbid passing them on, so nobody else can run this.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from opv2v_stage2.config import CheckDataSettings, EvaluateSettings, PredictSettings
from opv2v_stage2.data.check_data import check_data
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.evaluate import evaluate
from opv2v_stage2.metrics.columns import read_rows
from opv2v_stage2.predict import predict

torch.set_num_threads(1)
ROOT = os.environ.get("OPV2V_ROOT")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ROOT, reason="OPV2V_ROOT is not set: it names a folder of real OPV2V data"),
]


@pytest.fixture(scope="module")
def split():
    """The test split, or the first one there is."""
    splits = open_tree(Path(ROOT), skip_invalid=True).splits
    return "test" if "test" in splits else next(iter(splits))


def test_check_data_finds_no_error_in_it(tmp_path):
    check_data(CheckDataSettings(data_dir=Path(ROOT), report=tmp_path / "check.html"))
    assert (tmp_path / "check.html").stat().st_size > 0


def test_it_is_evaluated_with_an_oracle_that_is_exact(tiny_run, split, tmp_path):
    settings = EvaluateSettings(run_dir=tiny_run, data_dir=Path(ROOT), split=split, output_dir=tmp_path, device="cpu")
    evaluate(replace(settings, sample_size=2, pose_noise_m=(0.0,), num_bootstrap=10, skip_invalid=True))
    for row in read_rows(tmp_path / "oracle" / "single_metrics.csv"):
        assert row["depth_mae"] == pytest.approx(0, abs=1e-4)


def test_it_is_predicted(tiny_run, split, tmp_path):
    settings = PredictSettings(run_dir=tiny_run, data_dir=Path(ROOT), split=split, output_dir=tmp_path, device="cpu")
    predict(replace(settings, num_frames=1, skip_invalid=True))
    assert {path.suffix for path in tmp_path.iterdir()} >= {".ply", ".html", ".png", ".json"}
