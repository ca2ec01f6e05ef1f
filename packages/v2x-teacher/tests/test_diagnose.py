"""The rules that name a cause, the figures behind them worked out by hand, and runs that are broken in one way each."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from drivelab_shared import results
from drivelab_shared.errors import UserError
from drivelab_shared.networks import save_network
from v2x_teacher.config import DiagnoseSettings, HeadSettings
from v2x_teacher.diagnose import diagnose, noise, rehearsal
from v2x_teacher.diagnose.causes import RULES, Evidence, causes
from v2x_teacher.diagnose.layers import losing_layer, measure_layers
from v2x_teacher.diagnose.learning import measure_learning, reach_of
from v2x_teacher.diagnose.loss_in_metres import l2_bounds
from v2x_teacher.diagnose.predictions import measure_predictions
from v2x_teacher.diagnose.rehearsal import AS_TRAINED, TOGETHER, Rehearsal, _cure, rehearse, variants
from v2x_teacher.diagnose.resemblance import mean_cosine, measure_resemblance, relative_spread
from v2x_teacher.diagnose.sample import Sample, evenly
from v2x_teacher.diagnose.start import measure_start
from v2x_teacher.losses import huber, l2, mse, smooth_l1
from v2x_teacher.storage import load_teacher
from v2x_teacher.train import train
from v2x_teacher.trained import open_trained

HEALTHY = Evidence(
    impossible={"faster than 40 m/s": 2, "ends behind the vehicle": 1},
    num_samples=400,
    backbone_mode="eval",
    noise_ratio=9.5,  # of dropout that is never on
    spread=(0.96, 0.94),
    ade_m=1.68,
    train_ade_m=1.2,
    train_mean_ade_m=7.74,
    shuffled_ade_m=4.0,
    kinematic_ade_m=2.86,
    uses_ego=True,
    cosine=0.9995,  # before the standardiser
    standardises=True,
    clipped=0.001,
    losing_layer="MLP: GELU 1",
    losing_from=1.0,
    losing_to=0.9,
    dead_part=None,
    reach=0.9,
    needed=0.1,
    start_m=47.0,
    truth_m=49.0,
    head_lr=1e-3,
    progress={0.1: 0.05, 1.0: 0.15, 10.0: 0.16},
    cure=None,
)
COLLAPSED = {"spread": (0.0, 0.001), "ade_m": 7.67, "shuffled_ade_m": 7.67}

TRIGGERS = {
    "impossible_labels": [
        ({"impossible": {"faster than 40 m/s": 5}}, "labels are impossible: 5 of 400 samples (1%) faster than 40 m/s"),
        ({"impossible": {"a": 90, "ends behind the vehicle": 92}}, "92 of 400 samples (23%) ends behind"),
    ],
    "backbone_in_train_mode": [
        ({"backbone_mode": "train"}, "dropout noise is 9.5 times the signal, the difference between samples: the back"),
    ],
    "collapsed": [
        (
            COLLAPSED | {"standardises": False, "cure": ("standardised features alone", 0.74)},
            "collapsed: every sample gets the same trajectory; the features before the head already agree to 0.9995 in "
            "cosine: standardise them (`--head.standardise_features`); in the head, the difference between samples is "
            "lost in MLP: GELU 1, where the spread falls from 1 to 0.9 of the norm; in a short rehearsal, a spread of "
            "0.74 comes back with standardised features alone",
        ),
        (COLLAPSED, "collapsed: every sample gets the same trajectory; in the head, the difference between samples"),
    ],
    "out_of_reach": [
        (
            COLLAPSED | {"ade_m": 13.53, "reach": 3.2, "needed": 29.4},
            "an output's bias moves by 3.2 in all steps, the sum of the learning rates, and the mean target is 29 away",
        ),
    ],
    "dead_layer": [({"dead_part": "MLP: Linear 2"}, "no gradient reaches MLP: Linear 2")],
    "explodes": [({"spread": (37.0, 34.0)}, "predictions vary 37.0 (x) and 34.0 (y) times as much")],
    "outside_the_training_range": [({"clipped": 0.12}, "12% of them are at the standardiser's limit")],
    "no_better_than_the_mean": [({"ade_m": 7.7}, "ADE 7.70 m, and 7.74 m for the mean")],
    "ignores_turns": [({"spread": (0.63, 0.10)}, "reads the speed and ignores turns")],
    "blind_to_motion": [({"uses_ego": False, "ade_m": 5.27}, "off by 2.86 m and this model by 5.27 m")],
    "blind_to_pictures": [({"shuffled_ade_m": 1.69}, "does not look")],
    "wild_start": [({"start_m": 9000.0}, "predictions reach 9,000 m, and the truth 49 m")],
    "learning_rate": [
        ({"progress": {0.1: 0.30, 1.0: 0.15, 10.0: -9.0}}, "too high: in a short rehearsal a tenth of it (0.0001)"),
        ({"progress": {0.1: 0.01, 1.0: -0.2, 10.0: float("nan")}}, "lowers the loss and the one of this run does not"),
        ({"progress": {0.1: 0.001, 1.0: 0.01, 10.0: 0.1}}, "ten times as much (0.01) lowers the loss by 10.0 times"),
    ],
}

NEAR_MISSES = {
    "impossible_labels": {"impossible": {"faster than 40 m/s": 4}},
    "backbone_in_train_mode": {"backbone_mode": "train", "noise_ratio": 0.4},
    "collapsed": {"spread": (0.0, 0.06), "standardises": False},
    "out_of_reach": COLLAPSED | {"reach": 3.2, "needed": 29.4},  # it got to the mean in another way
    "dead_layer": {"progress": {0.1: 0.0, 1.0: 0.0, 10.0: 0.0}},
    "explodes": {"spread": (1.1, 1.9)},
    "outside_the_training_range": {"clipped": 0.019},
    "no_better_than_the_mean": {"ade_m": 7.5},
    "ignores_turns": {"spread": (0.15, 0.10)},
    "blind_to_motion": {"uses_ego": False, "kinematic_ade_m": None},
    "blind_to_pictures": {"shuffled_ade_m": 1.75},
    "wild_start": {"start_m": 400.0},
    "learning_rate": {"progress": {0.1: 0.17, 1.0: 0.15, 10.0: 0.4}},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_applies_where_it_should_and_only_there(rule):
    for changes, words in TRIGGERS[rule.__name__]:
        assert words in rule(replace(HEALTHY, **changes))
    assert rule(HEALTHY) is None
    assert rule(replace(HEALTHY, **NEAR_MISSES[rule.__name__])) is None


def test_without_a_cause_the_verdict_is_healthy_and_with_several_labels_come_first():
    assert list(causes(HEALTHY)) == ["healthy"]
    assert "0.96 (x) and 0.94 (y)" in causes(HEALTHY)["healthy"]
    found = causes(replace(HEALTHY, impossible={"a": 100}, backbone_mode="train", start_m=9000.0, **COLLAPSED))
    assert list(found) == ["impossible_labels", "backbone_in_train_mode", "collapsed", "wild_start"]


# --- figures ----------------------------------------------------------------------------------------------------------


def test_the_mean_cosine_is_that_over_all_pairs():
    vectors = np.random.default_rng(0).normal(0.5, 1, (7, 2, 3))
    flat = vectors.reshape(7, 6)
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    slow = [flat[i] @ flat[j] / np.linalg.norm(flat[i]) / np.linalg.norm(flat[j]) for i, j in pairs]
    assert mean_cosine(vectors) == pytest.approx(np.mean(slow))
    assert mean_cosine(np.ones((4, 3))) == pytest.approx(1)


def test_the_relative_spread_is_one_without_and_small_with_a_common_offset():
    assert relative_spread(np.array([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(1)
    # Standard deviation 1 around 10: norm sqrt(101).
    assert relative_spread(np.array([[11.0, 0.0], [9.0, 0.0]])) == pytest.approx(1 / np.sqrt(101))
    assert relative_spread(np.zeros((3, 2))) == 0


def test_the_losing_layer_is_the_one_with_the_largest_factor_and_never_the_trajectory():
    spreads = {"features": 0.5, "a": 0.4, "b": 0.004, "c": 0.1, "trajectory [m]": 1e-9}
    assert losing_layer(spreads) == ("b", 0.4, 0.004)
    assert losing_layer({"features": 0.0, "a": 0.0, "trajectory [m]": 0.0}) == ("a", 0.0, 0.0)


def test_the_request_s_log_in_metres_is_as_worked_out_by_hand():
    assert l2_bounds("smooth_l1", 66.19, 1.0) == pytest.approx((1.41421 * 66.19, 2 * 66.69), rel=1e-5)
    assert l2_bounds("mse", 450.0, 0.0) == (0.0, 30.0)
    assert l2_bounds("mse", 10.0, 0.0)[1] == pytest.approx(4.472, abs=1e-3)
    assert l2_bounds("huber", 20.0, 10.0) == l2_bounds("smooth_l1", 2.0, 10.0)
    with pytest.raises(ValueError, match="loss: expected smooth_l1"):
        l2_bounds("laplace_nll", 1.0, 0.0)


@pytest.mark.parametrize("size", [0.05, 1.0, 80.0])
def test_errors_lie_within_the_bounds_of_every_loss(size):
    errors = size * torch.from_numpy(np.random.default_rng(1).standard_t(3, (50, 45, 2)))
    mean_l2, zero = float(errors.norm(dim=-1).mean()), torch.zeros_like(errors)
    values = {
        ("smooth_l1", 1.0): smooth_l1(errors, zero, 1.0),
        ("huber", 10.0): huber(errors, zero, 10.0),
        ("mse", 0.0): mse(errors, zero),
        ("l2", 0.0): l2(errors, zero),
    }
    for (loss, beta), value in values.items():
        low, high = l2_bounds(loss, float(value), beta)
        assert low <= mean_l2 * (1 + 1e-5)
        assert high >= mean_l2 * (1 - 1e-5)


def test_the_reach_is_the_sum_of_the_learning_rates(tiny_settings):
    constant = replace(tiny_settings, lr_schedule="constant", head_lr=5e-3)
    assert reach_of(constant, 200) == pytest.approx(1.0)
    # A cosine to a tenth is on average a little more than 0.55 of its start.
    assert reach_of(replace(constant, lr_schedule="cosine", final_lr_share=0.1), 1000) == pytest.approx(2.75, abs=0.01)


def test_a_single_change_is_preferred_to_all_of_them_and_a_small_spread_is_no_cure():
    def ended(spread):
        return Rehearsal(1.0, (spread, 0.0), {})

    assert _cure({AS_TRAINED: ended(0.5), "a": ended(0.9)}) is None
    assert _cure({AS_TRAINED: ended(0.0), "a": ended(0.3), "b": ended(0.7), TOGETHER: ended(0.9)}) == ("b alone", 0.7)
    assert _cure({AS_TRAINED: ended(0.0), "a": ended(0.1), TOGETHER: ended(0.9)}) == (TOGETHER, 0.9)
    assert _cure({AS_TRAINED: ended(0.0), "a": ended(0.1), TOGETHER: ended(0.1)}) is None


def test_samples_are_spread_evenly_and_never_taken_twice():
    assert evenly(9, 5).tolist() == [0, 2, 4, 6, 8]
    assert evenly(3, 400).tolist() == [0, 1, 2]


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tiny_run, tmp_path_factory):
    return DiagnoseSettings(
        run_dir=tiny_run, output_dir=tmp_path_factory.mktemp("diagnosis"), num_samples=24, num_draws=2, device="cpu"
    )


def sample_of(settings):
    return Sample.of(open_trained(settings.run_dir, torch.device("cpu"), settings), settings)


@pytest.fixture(scope="module")
def sample(settings):
    return sample_of(settings)


def cells(section):
    return {(row.row, row.metric, row.at): row.value for row in section.table.rows}


@pytest.fixture
def brief(monkeypatch):
    """Rehearsals of a few steps."""
    monkeypatch.setattr(rehearsal, "NUM_STEPS", 10)


@pytest.mark.usefixtures("brief")
def test_a_run_gets_a_verdict_tables_and_pictures(settings, capsys):
    assert diagnose(settings) is None
    tables = results.read(settings.output_dir / "results.json")
    assert [table.table for table in tables] == [
        "causes", "predictions", "labels", "features", "layers", "noise", "learning", "rehearsals", "start",
        "loss_in_metres", "own_losses",
    ]  # fmt: skip
    assert tables[0].conclusions
    page = (settings.output_dir / "report.html").read_text()
    assert page.count("<img") == 3
    assert all(table.title.replace("'", "&#x27;") in page for table in tables[1:])
    printed = capsys.readouterr().out
    assert printed.startswith("Causes\n- ")
    assert "nan" not in printed


def test_noise_over_signal_is_that_of_the_features_that_the_backbone_makes(sample, monkeypatch):
    rng = np.random.default_rng(0)
    still = rng.normal(100, 0.5, (len(sample.few), 2, 128)).astype(np.float32)

    def encoded(trained, rows, mode, draw=0):
        return still if mode == "eval" else still + rng.normal(0, 2.0, still.shape)

    monkeypatch.setattr(noise, "encoded", encoded)
    assert noise.measure_noise(sample).facts["noise_ratio"] == pytest.approx(4, rel=0.03)


def test_dropout_drowns_what_a_text_model_says_and_hardly_touches_image_tokens(sample):
    run = sample.trained.settings
    texts = replace(sample.trained, settings=replace(run, head=replace(run.head, pooling="fixed")))
    assert noise.measure_noise(replace(sample, trained=texts)).facts["noise_ratio"] > 2
    assert 0 < noise.measure_noise(sample).facts["noise_ratio"] < 0.5


def test_predictions_are_compared_with_the_mean_trajectory_as_by_hand(sample):
    found, part = cells(measure_predictions(sample)), sample.held_out
    samples = sample.trained.inputs.samples
    mean = samples.truth[samples.mask("train")].mean(0)
    away = np.linalg.norm(part.predicted - mean, axis=-1).mean()
    assert found["teacher", "distance to the train mean [m]", "test"] == pytest.approx(away, rel=1e-5)
    ratio = part.predicted[..., 0].std(0).mean() / part.truth[..., 0].std(0).mean()
    assert found["teacher", "spread x [of the truth's]", "test"] == pytest.approx(ratio, rel=1e-4)
    assert found["train mean", "spread y [of the truth's]", "test"] == 0


def test_each_camera_has_its_own_cosine(sample):
    found = cells(measure_resemblance(sample))
    for index, name in enumerate(("vehicle's picture", "infrastructure's picture")):
        expected = mean_cosine(sample.train.features[:, index])
        assert found[name, "cosine, as they come", "train"] == pytest.approx(expected)


def test_the_spread_of_a_layer_is_that_of_its_output(sample):
    head, part = sample.trained.teacher.head, sample.train
    with torch.no_grad():
        features = head.features(torch.from_numpy(part.features))
        hidden = head.layers[0](torch.cat([features.flatten(1), head.ego(torch.from_numpy(part.ego))], dim=1))
    found = cells(measure_layers(sample))
    metric = "spread between samples [of the norm]"
    assert found["standardiser", metric, "train"] == pytest.approx(relative_spread(features.numpy()))
    assert found["MLP: Linear 1", metric, "train"] == pytest.approx(relative_spread(hidden.numpy()))


def test_a_head_that_starts_at_zero_starts_from_the_prior(sample):
    found, part = cells(measure_start(sample)), sample.train
    start = part.prior + (part.truth - part.prior).mean(0)
    assert found["PyTorch's own, last layer 0 (zero)", "highest [m]", None] == pytest.approx(start.max(), abs=1e-3)
    wild = found["normal, std 0.5 (original)", "highest [m]", None]
    assert found["normal, std 1.0 (the fix's first line alone)", "highest [m]", None] > wild > 3 * part.truth.max()


def test_one_split_is_enough(settings):
    alone = sample_of(replace(settings, split="train"))
    assert alone.parts == [alone.train]
    assert {row.at for row in measure_predictions(alone).table.rows} == {"train"}


def test_a_layer_without_a_gradient_is_found(sample, tmp_path):
    network = load_teacher(sample.trained.folder / "models" / "teacher", None)
    with torch.no_grad():
        network.module.head.layers[3].bias.fill_(-100)  # GELU is 0 from there on
    save_network(tmp_path / "models" / "teacher", network)
    section = measure_learning(replace(sample, trained=replace(sample.trained, folder=tmp_path)))
    assert section.facts["dead_part"] == "MLP: Linear 2"
    assert measure_learning(sample).facts["dead_part"] is None


@pytest.fixture(scope="module")
def collapsed_run(tiny_settings, tmp_path_factory):
    """The request's fixed recipe, its backbone in train mode, and a last layer that answers the same to everything."""
    folder = tmp_path_factory.mktemp("collapsed") / "run"
    head = HeadSettings(
        pooling="fixed", standardise_features=False, fusion="fixed", init="fixed", feature_dropout=0.0, use_ego=False,
        prior="none", targets="metres", loss="mse",
    )  # fmt: skip
    backbone = replace(tiny_settings.backbone, mode="train", views="joined")
    train(replace(tiny_settings, run_dir=folder, head=head, backbone=backbone, baselines=False, steps=1))
    network = load_teacher(folder / "models" / "teacher", None)
    torch.nn.init.zeros_(network.module.head.layers[-1].weight)
    save_network(folder / "models" / "teacher", network)
    return folder


@pytest.mark.usefixtures("brief")
def test_a_collapsed_run_is_told_its_causes_in_words(collapsed_run, settings, tmp_path, capsys):
    diagnose(replace(settings, run_dir=collapsed_run, output_dir=tmp_path))
    verdict = results.read(tmp_path / "results.json")[0]
    sentences = " ".join(verdict.conclusions)
    assert "**Dropout noise is" in sentences
    assert "the backbone is in train mode" in sentences
    assert "**Collapsed:** every sample gets the same trajectory; the features before the head" in sentences
    assert "lost in MLP: Linear 4" in sentences
    applies = {row.row for row in verdict.rows if row.value}
    assert applies >= {"backbone in train mode", "collapsed", "blind to motion"}
    assert "Collapsed: every sample" in capsys.readouterr().out


def test_rehearsals_of_a_run_in_train_mode_use_features_without_noise(collapsed_run, settings):
    sample = sample_of(replace(settings, run_dir=collapsed_run))
    still = sample.still
    assert not np.allclose(still.train.features, sample.train.features, atol=1e-2)
    assert mean_cosine(still.train.features) > mean_cosine(sample.train.features)
    assert "last decoder token" in {row.row for row in measure_resemblance(sample).table.rows}


def test_what_a_rehearsal_changes_is_what_its_name_says(collapsed_run, settings):
    run = sample_of(replace(settings, run_dir=collapsed_run)).trained.settings
    found = variants(run)
    assert found["a tenth of the learning rate"].head_lr == run.head_lr / 10
    assert found["batches of 32"].batch_size == 32
    changed = {
        field.name
        for field in dataclasses.fields(HeadSettings)
        if getattr(found[TOGETHER].head, field.name) != getattr(run.head, field.name)
    }
    assert changed == {"standardise_features", "targets", "init", "fusion"}


def test_a_rehearsal_learns_its_few_samples(sample):
    before, after = (rehearse(sample, replace(sample.trained.settings, head_lr=lr)) for lr in (1e-9, 1e-2))
    assert after.ade_m["train"] < 0.5 * before.ade_m["train"]
    assert after.progress > 10 * abs(before.progress)


def test_a_backbone_that_learns_is_diagnosed_too(tiny_settings, settings, tmp_path):
    learning = replace(
        tiny_settings, run_dir=tmp_path / "run", freeze_backbone=False, baselines=False, steps=2,
        head=replace(tiny_settings.head, pooling="fixed", standardise_features=False),
    )  # fmt: skip
    train(learning)
    sample = sample_of(replace(settings, run_dir=tmp_path / "run"))
    assert sample.backbone_mode == "learns"
    assert noise.measure_noise(sample).facts["noise_ratio"] > 0
    assert not sample.trained.teacher.backbone.training
    found = cells(measure_learning(sample))
    assert found["backbone", "gradient, end", None] > 0


def test_without_a_run_the_message_says_so(settings, tmp_path):
    with pytest.raises(UserError, match="expected a run"):
        diagnose(replace(settings, run_dir=tmp_path))
