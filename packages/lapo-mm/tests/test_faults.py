"""Every fault that people make is found by the check that is there for it, and nothing is found in what is correct."""

import dataclasses

import pytest
import torch

from lapo_mm.algorithms import build
from lapo_mm.config import EncoderSettings, TrainSettings
from lapo_mm.diagnose.checks import MIN_STEPS, check
from lapo_mm.diagnose.contract import CRITIC, contract_of
from lapo_mm.diagnose.faults import CORRECT, FAULTS
from lapo_mm.diagnose.injections import edits
from lapo_mm.diagnose.self_test import MAX_SECONDS
from lapo_mm.diagnose.steps import parts, random_batch, watched
from lapo_mm.diagnose.trials import try_all
from lapo_mm.models.shapes import Shapes

torch.set_num_threads(1)

FOUND_BY = {
    1: {"reach", "movement"},
    2: {"movement"},
    3: {"ownership", "movement"},
    4: {"ownership"},
    5: {"reach", "movement"},
    6: {"reach"},
    7: {"ownership", "reach", "movement"},
    8: {"ownership"},
    9: {"reach"},
    10: {"ownership", "reach", "movement"},
    11: {"hygiene"},
    12: {"movement", "hygiene"},
    13: {"movement"},
    14: {"reach"},  # a fused Adam does not tell autograd that it has changed the weights, so nothing is raised
    15: {"ownership", "movement", "targets"},
    16: {"ownership"},
    17: {"targets"},
    18: {"targets"},
    19: {"ownership", "movement"},
    20: {"ownership", "movement"},
    21: {"ownership", "movement"},
    22: {"movement"},
    23: {"targets"},
    24: {"ownership"},
    25: {"ownership", "movement"},
    26: {"reach", "movement"},
    27: {"reach", "movement"},
    28: {"signal"},
    29: {"reach", "signal"},
    30: {"reach", "signal"},
    31: {"movement"},
    32: {"hygiene"},
    33: {"movement"},
    34: {"targets"},
    35: {"hygiene"},
}
NOTICED_BY_METHOD_1 = {1, 2, 3, 5, 10, 19, 20, 21, 22, 29, 31}
NOTICED_BY_METHOD_2 = {5, 10, 29, 31}
SMALL = TrainSettings(
    hidden_sizes=(16, 16), encoder=EncoderSettings(channels=(4, 8), image_features=8, state_features=4)
)


@pytest.fixture(scope="module")
def tried():
    return try_all(seed=0)


@pytest.fixture(scope="module")
def trials(tried):
    return {trial.name: trial for trial in tried[0]}


@pytest.mark.parametrize("number", FAULTS, ids=lambda number: FAULTS[number].name)
def test_a_fault_is_found_by_the_checks_that_are_there_for_it(number, trials):
    trial = trials[f"{number} {FAULTS[number].name}"]
    assert set(trial.finders) >= FOUND_BY[number]
    assert trial.is_right
    assert trial.answers.is_updated == (number not in NOTICED_BY_METHOD_1)
    assert trial.answers.gets_gradient == (number not in NOTICED_BY_METHOD_2)


@pytest.mark.parametrize("case", CORRECT, ids=lambda case: case.name)
def test_what_is_correct_is_left_in_peace(case, trials):
    assert list(map(str, trials[case.name].violations)) == []


def test_of_the_first_18_faults_method_1_passes_13_and_method_2_passes_16(trials):
    first = [trials[f"{number} {FAULTS[number].name}"].answers for number in range(1, 19)]
    assert sum(one.is_updated for one in first) == 13
    assert sum(one.gets_gradient for one in first) == 16


def test_the_request_s_methods_pass_its_own_fix_and_method_2_its_own_bug(trials):
    fix, bug = (trials[name].answers for name in ("wiring critic", "wiring vae"))
    assert (fix.is_configured, fix.gets_gradient, fix.is_updated) == (True, True, True)
    assert (bug.is_configured, bug.gets_gradient, bug.is_updated) == (False, True, False)
    assert trials["bc"].answers is None


def test_trying_everything_takes_no_longer_than_it_may(tried):
    assert tried[1] <= MAX_SECONDS


def algorithm(shapes=None, **changes):
    torch.manual_seed(0)
    built = build(shapes or Shapes(image=(3, 16, 16), state=5, action=2), dataclasses.replace(SMALL, **changes))
    built.start_training()
    return built


def record_of(one):
    return watched(one, [random_batch(one, 32, 0, number) for number in range(MIN_STEPS)], seed=0)


def violations(one, contract=None):
    return list(map(str, check(record_of(one), contract or contract_of(one.settings))))


@pytest.mark.parametrize(
    "changes",
    [
        {"weighting": "exp"},
        {"bounded_decoder": False},
        {"doubleq_min": 0.7},
        {"tau": 1.0},
        {"encoder": dataclasses.replace(SMALL.encoder, shift_px=2, modality_dropout=0.1)},
        {"encoder": dataclasses.replace(SMALL.encoder, fusion="sum")},
        {"encoder": dataclasses.replace(SMALL.encoder, fusion="gated")},
    ],
    ids=str,
)
def test_settings_do_not_change_the_verdict(changes):
    assert violations(algorithm(**changes)) == []


@pytest.mark.parametrize(
    "shapes", [Shapes(state=5), Shapes(image=(1, 16, 16), action=3), Shapes(lidar=(8, 2), state=3)], ids=str
)
@pytest.mark.parametrize("wiring", ["critic", "separate"])
def test_modalities_do_not_change_the_verdict(shapes, wiring):
    assert violations(algorithm(shapes, wiring=wiring)) == []


def test_each_wiring_is_a_fault_to_the_contract_of_another():
    names = {"critic", "vae", "both", "none"}
    for wiring in names:
        record = record_of(algorithm(wiring=wiring))
        for other in names - {wiring}:
            contract = contract_of(dataclasses.replace(SMALL, wiring=other))
            assert check(record, contract), f"{wiring} judged as {other}"


def test_every_parameter_of_an_algorithm_is_watched():
    for changes in ({"wiring": "separate"}, {"algorithm": "bc"}, {"algorithm": "td3bc"}, {"algorithm": "iql"}):
        one = algorithm(**changes)
        seen = {id(tensor) for module in parts(one).values() for tensor in module.parameters()}
        assert seen == {id(tensor) for tensor in one.parameters()}


def test_a_modality_that_is_blind_is_told_from_its_neighbours():
    one = algorithm()
    one.obs_encoder.state_encoder.requires_grad_(False)
    found = violations(one, CRITIC)
    assert found
    assert all("obs_encoder.state_encoder" in line for line in found if not line.startswith("targets"))
    assert any(
        line.startswith("reach: critic loss on obs_encoder.state_encoder: expected a gradient") for line in found
    )


def test_a_line_that_is_no_longer_there_cannot_be_edited():
    one = algorithm()
    with pytest.raises(ValueError, match=r"Lapo\.update: expected 'self\.no_such_line' once, got it 0 times"):
        edits(("update", "self.no_such_line", "pass"))(one)


def test_an_edit_stays_with_the_algorithm_that_was_edited():
    one, other = algorithm(), algorithm()
    edits(("update", "self.follow()", "pass"))(one)
    assert violations(one)
    assert violations(other) == []
