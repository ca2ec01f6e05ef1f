"""The verb: a dataset that is the same whoever makes it, and is never written over."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from drivelab_shared.errors import UserError
from lapo_mm import envs
from lapo_mm.config import DATA_DIR, AblateSettings, MakeDataSettings
from lapo_mm.data import make_data as verb
from lapo_mm.data.episodes import DatasetInfo, Episode
from lapo_mm.data.make_data import ensure_data, make_data
from lapo_mm.data.make_data.reacher import ReacherBehaviour
from lapo_mm.data.make_data.recipes import RECIPES
from lapo_mm.data.make_data.recording import record, reference_returns
from lapo_mm.data.make_data.summary import Tally
from lapo_mm.data.minari_files import MAIN_FILE, read_episodes, read_info


def tiny(folder: Path, **changes: object) -> MakeDataSettings:
    settings = {"data_dir": folder, "num_episodes": 3, "reference_episodes": 4, "workers": 1}
    return MakeDataSettings(**{**settings, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "drivelab" / "reacher-distractor-mixed-v0"
    make_data(tiny(folder))
    return folder


def test_the_dataset_holds_the_episodes_of_its_seed(made: Path) -> None:
    env = gymnasium.make(envs.REACHER)
    episodes = list(read_episodes(made))
    assert len(episodes) == 3
    for index, found in enumerate(episodes):
        expected = record(env, ReacherBehaviour, 0, index)
        assert found.seed == expected.seed
        for name in ("actions", "rewards", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        for part in ("observations", "infos"):
            for key, array in getattr(expected, part).items():
                np.testing.assert_array_equal(getattr(found, part)[key], array)


def test_the_dataset_knows_its_environment_its_references_and_its_name(made: Path) -> None:
    info = read_info(made)
    assert info.dataset_id == "drivelab/reacher-distractor-mixed-v0"
    env = gymnasium.make(EnvSpec.from_json(info.env_spec))
    assert env.observation_space == info.observation_space
    assert env.action_space == info.action_space
    returns = [reference_returns(env.unwrapped, ReacherBehaviour, 0, index) for index in range(4)]
    assert (info.references.random, info.references.expert) == tuple(np.mean(returns, axis=0))
    assert "means over 4 episodes, seed 0" in info.references.source


def test_what_was_made_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_data(tiny(tmp_path / "mine-v3", seed=1))
    printed = capsys.readouterr()
    for text in ("3 episodes, 150 steps", "MB", "CPU-s", "return: mean -", "score: mean", "modes: target", "noise"):
        assert text in printed.out
    assert printed.err == ""
    assert read_info(tmp_path / "mine-v3").dataset_id.endswith("mine-v3")


@pytest.mark.slow
def test_two_processes_make_the_same_bytes_as_one(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "drivelab" / made.name
    make_data(tiny(folder, workers=2))
    assert (folder / MAIN_FILE).read_bytes() == (made / MAIN_FILE).read_bytes()
    assert read_info(folder) == read_info(made)


def test_a_folder_that_exists_is_never_written_to(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    with pytest.raises(UserError, match="data_dir: expected a new folder"):
        make_data(tiny(made, seed=1))
    ensure_data(made)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_a_folder_without_a_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data_dir: expected a name that ends in its version"):
        make_data(tiny(tmp_path / "reacher"))


def test_a_place_that_cannot_be_written_to_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="data_dir: expected a folder to write to, got Not a directory"):
        make_data(tiny(tmp_path / "file" / "drivelab" / "mine-v0"))


def test_an_import_keeps_all_but_the_name(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "import_episodes", lambda source: (read_info(source), read_episodes(source)))
    make_data(tiny(tmp_path / "theirs-v1", source=made))
    found, expected = read_info(tmp_path / "theirs-v1"), read_info(made)
    assert found.dataset_id.endswith("theirs-v1")
    assert found.references == expected.references
    assert len(list(read_episodes(tmp_path / "theirs-v1"))) == 3
    assert "modes" not in capsys.readouterr().out


def test_missing_data_are_made_as_their_folder_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MakeDataSettings] = []
    monkeypatch.setattr(verb, "make_data", made.append)
    for name in RECIPES:
        ensure_data(tmp_path / f"{name}-v0")
    assert [(one.data_dir.name, one.dataset) for one in made] == [(f"{name}-v0", name) for name in RECIPES]
    assert [one.num_episodes for one in made] == [None] * 3


@pytest.mark.parametrize("name", ["grasping-v0", "reacher-distractor", "carracing-mixd-v0"])
def test_data_that_nobody_can_make_are_a_user_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"data_dir: expected .*carracing-mixed-v0.*, got no such folder") as caught:
        ensure_data(tmp_path / name)
    assert ("did you mean" in str(caught.value)) == (name != "grasping-v0")


def test_the_default_folders_are_those_of_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (DATA_DIR, AblateSettings().carracing_data_dir):
        assert folder.name.removesuffix("-v0") in RECIPES
        assert folder.parent.name == "drivelab"


def episode_with(rewards: list[float], modes: list[int]) -> Episode:
    num = len(rewards)
    return Episode(
        observations={"state": np.zeros((num + 1, 1), np.float32)},
        actions=np.zeros((num, 1), np.float32),
        rewards=np.array(rewards),
        terminations=np.zeros(num, bool),
        truncations=np.arange(num) == num - 1,
        infos={"mode": np.array([*modes, modes[-1]])},
    )


def test_the_tally_counts_modes_that_are_never_seen_too(tmp_path: Path) -> None:
    tally = Tally(("good", "bad", "unseen"))
    episodes = [episode_with([1.0, 2.0, 3.0], [0, 1, 1]), episode_with([4.0], [0])]
    assert list(tally.over(episodes)) == episodes
    text = tally.text(tmp_path, None)
    assert "2 episodes, 4 steps, 0.0 MB" in text
    assert "return: mean 5.00, from 4.00 to 6.00" in text
    assert "modes: good 50.0%, bad 50.0%, unseen 0.0%" in text
    assert "score" not in text


def test_slow_environments_have_fewer_reference_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def work(settings: MakeDataSettings, num_references: int, num_episodes: int) -> object:
        asked.append((num_references, num_episodes))
        return iter([(0.0, 1.0), (0.0, 3.0)])

    pytest.importorskip("Box2D")
    written: list[DatasetInfo] = []

    def write(folder: Path, info: DatasetInfo, episodes: object) -> None:
        written.append(info)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(verb, "_work", work)
    monkeypatch.setattr(verb, "write_dataset", write)
    with pytest.raises(UserError, match="No space left"):
        make_data(MakeDataSettings(data_dir=tmp_path / "carracing-mixed-v0", dataset="carracing-mixed"))
    assert asked == [(50, 100)]
    assert (written[0].references.random, written[0].references.expert) == (0.0, 2.0)
