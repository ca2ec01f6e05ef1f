"""Settings: what is shipped parses, what the request names is there, and help is instant."""

from pathlib import Path

import pytest

from drivelab_shared.settings import parse
from lapo_mm.cli import CONFIGS, main
from lapo_mm.config import TrainSettings

NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def parsed(*arguments: str) -> TrainSettings:
    return parse(TrainSettings, arguments, prog="lapo-mm train", configs=CONFIGS)


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_config_parses(name):
    assert parsed("--config", name).steps >= 1


def test_the_settings_that_the_request_names_can_be_set_by_their_names():
    names = [
        "critic_lr",
        "vae_lr",
        "actor_lr",
        "kl_beta",
        "tau",
        "gamma",
        "expectile",
        "max_latent_action",
        "doubleq_min",
    ]
    arguments = [word for name in names for word in (f"--{name}", "0.5")]
    settings = parsed(*arguments)
    assert [getattr(settings, name) for name in names] == [0.5] * len(names)


def test_the_original_has_the_bug_and_the_values_of_the_released_code():
    original = parsed("--config", "original")
    assert (original.wiring, original.gamma, original.tau, original.critic_lr) == ("vae", 0.99, 0.005, 2e-4)
    assert not original.bounded_decoder
    assert parsed("--config", "original", "--wiring", "critic").wiring == "critic"


def test_quick_is_trained_beside_the_row_without_which_its_score_means_nothing():
    assert parsed("--config", "quick").baselines == ("blind",)
    assert parsed("--config", "quick", "--baselines", "--seed", "3").baselines == ()


@pytest.mark.parametrize("arguments", [["train", "--wiring", "critik"], ["train", "--tau", "2"], ["trian"]])
def test_a_wrong_word_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) if "critik" in arguments else pytest.MonkeyPatch.context():
        assert main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_default_data_are_where_minari_would_look_for_them():
    assert TrainSettings().data_dir == Path("data/drivelab/reacher-distractor-mixed-v0")
