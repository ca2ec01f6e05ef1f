"""The flat arrays: the same numbers as in the file, episodes that never run into one another, made once per content."""

import dataclasses
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from drivelab_shared.errors import UserError
from lapo_mm.data import store as store_module
from lapo_mm.data.episodes import DatasetInfo, Episode
from lapo_mm.data.minari_files import MAIN_FILE, write_dataset
from lapo_mm.data.splits import splits
from lapo_mm.data.statistics import RETURN_QUANTILES, Statistics, mean_and_std
from lapo_mm.data.store import Store, open_store
from lapo_mm.models.shapes import Shapes


@pytest.fixture(scope="module")
def tiny_store(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tiny_dataset, tmp_path_factory.mktemp("cache"))


def write(folder: Path, info: DatasetInfo, episodes: list[Episode]) -> Path:
    write_dataset(folder / "drivelab" / "tiny-v0", info, episodes)
    return folder / "drivelab" / "tiny-v0"


def break_rewards(folder: Path, *indices: int) -> None:
    with h5py.File(folder / MAIN_FILE, "a") as file:
        for index in indices:
            file[f"episode_{index}/rewards"][3] = np.nan


def test_the_store_holds_what_the_episodes_hold(tiny_store: Store, tiny_episodes: list[Episode]) -> None:
    for span, episode in zip(tiny_store.episodes, tiny_episodes, strict=True):
        steps = slice(span.first_step, span.first_step + span.length)
        rows = tiny_store.rows[steps]
        for name, frames in episode.observations.items():
            now, then = tiny_store.observations[name][rows], tiny_store.observations[name][rows + 1]
            np.testing.assert_array_equal(now, frames[:-1], strict=True)
            np.testing.assert_array_equal(then, frames[1:], strict=True)
        np.testing.assert_array_equal(tiny_store.infos["sim"][rows + 1], episode.infos["sim"][1:], strict=True)
        np.testing.assert_array_equal(tiny_store.actions[steps], episode.actions, strict=True)
        np.testing.assert_array_equal(tiny_store.rewards[steps], np.float32(episode.rewards), strict=True)
        np.testing.assert_array_equal(tiny_store.terminals[steps], episode.terminations, strict=True)
        assert span.return_ == pytest.approx(episode.rewards.sum())
    assert [span.index for span in tiny_store.episodes] == list(range(12))
    assert {name: (len(a), a.dtype.name) for name, a in tiny_store.observations.items()} == {
        "image": (132, "uint8"),
        "state": (132, "float32"),
        "lidar": (132, "float32"),
    }
    assert tiny_store.shapes() == Shapes(image=(3, 16, 16), state=5, lidar=(8, 2), action=2)
    assert tiny_store.shapes(("state",)) == Shapes(state=5, action=2)


def test_a_truncated_episode_is_no_terminal(tiny_store: Store) -> None:
    ends = [tiny_store.terminals[span.first_step + span.length - 1] for span in tiny_store.episodes]
    assert [bool(end) for end in ends] == [index % 3 == 0 for index in range(12)]
    assert tiny_store.terminals.sum() == 4


def test_arrays_are_mapped_and_read_only(tiny_store: Store) -> None:
    arrays = [*tiny_store.observations.values(), tiny_store.actions, tiny_store.rewards, tiny_store.terminals]
    for array in [*arrays, *tiny_store.infos.values()]:
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_steps_are_those_of_the_split_and_the_best_episodes_stay_whole(tiny_store: Store) -> None:
    train, val = tiny_store.steps_of("train"), tiny_store.steps_of("val")
    assert sorted([*train, *val]) == list(range(120))
    spans = [span for span in tiny_store.episodes if span.split == "train"]
    assert len(spans) == 10
    best = sorted(spans, key=lambda span: span.return_)[-3:]
    expected = sorted(step for span in best for step in range(span.first_step, span.first_step + 10))
    assert tiny_store.steps_of("train", 0.3).tolist() == expected
    assert len(tiny_store.steps_of("val", 0.01)) == 10, "one episode at least"


def test_the_split_depends_on_the_number_of_episodes_alone() -> None:
    assert splits(460, 0.13) == splits(460, 0.13)
    assert splits(460, 0.13).count("val") == 60
    assert [splits(number, 0.13).count("val") for number in (2, 3, 12)] == [1, 1, 2]
    assert splits(2, 0.99).count("train") == 1
    drawn = np.array([index for index, split in enumerate(splits(1000, 0.5)) if split == "val"])
    assert abs(drawn.mean() - 500) < 30, "not the last ones"


def test_statistics_are_those_of_the_training_episodes(tiny_store: Store, tiny_episodes: list[Episode]) -> None:
    train = [tiny_episodes[span.index] for span in tiny_store.episodes if span.split == "train"]
    found = tiny_store.statistics
    for name in ("state", "lidar"):
        frames = np.concatenate([episode.observations[name] for episode in train]).astype(np.float64)
        np.testing.assert_allclose(getattr(found, f"{name}_mean"), frames.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(getattr(found, f"{name}_std"), frames.std(axis=0), rtol=1e-6)
    actions = np.concatenate([episode.actions for episode in train]).astype(np.float64)
    np.testing.assert_allclose(found.action_mean, actions.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.action_std, actions.std(axis=0), rtol=1e-6)
    assert (found.action_low, found.action_high) == ((-1.0, -1.0), (1.0, 1.0))
    rewards = np.concatenate([episode.rewards for episode in train])
    figures = (found.reward_min, found.reward_max, found.reward_mean, found.reward_std)
    np.testing.assert_allclose(figures, (rewards.min(), rewards.max(), rewards.mean(), rewards.std()), rtol=1e-6)
    returns = [episode.rewards.sum() for episode in train]
    np.testing.assert_allclose(found.return_quantiles, np.quantile(returns, RETURN_QUANTILES))


def test_statistics_survive_json_and_infinite_bounds(tiny_store: Store) -> None:
    endless = replace(tiny_store.statistics, action_low=(-np.inf, -1.0), action_high=(1.0, np.inf))
    text = json.dumps(endless.to_json(), allow_nan=False)
    assert Statistics.from_json(json.loads(text)) == endless
    with pytest.raises(ValueError, match="statistics: "):
        Statistics.from_json({"unexpected": 1})


def test_a_large_offset_does_not_swallow_a_small_spread() -> None:
    values = np.float32(1e6) + np.random.default_rng(0).integers(0, 3, (10_000, 1)).astype(np.float32)
    mean, std = mean_and_std(values, np.arange(5000, 10_000))
    part = values[5000:].astype(np.float64)
    np.testing.assert_allclose((mean, std), (part.mean(axis=0), part.std(axis=0)), rtol=1e-9)


def test_the_second_opening_converts_nothing(tiny_dataset: Path, tmp_path: Path, monkeypatch) -> None:
    first = open_store(tiny_dataset, tmp_path)
    monkeypatch.setattr(store_module, "survey", None)
    second = open_store(tiny_dataset, tmp_path)
    assert second.fingerprint == first.fingerprint
    assert second.statistics == first.statistics
    assert second.episodes == first.episodes


def test_the_fingerprint_follows_content_and_settings_and_not_the_clock(tmp_path, tiny_info, tiny_episodes) -> None:
    data, cache = write(tmp_path, tiny_info, tiny_episodes), tmp_path / "cache"
    first = open_store(data, cache)
    os.utime(data / MAIN_FILE, (time.time() - 60,) * 2)
    assert open_store(data, cache).fingerprint == first.fingerprint
    assert open_store(data, cache, modalities=("image", "state", "lidar")).fingerprint == first.fingerprint
    others = [open_store(data, cache, val_share=0.3), open_store(data, cache, modalities=("state",))]
    with h5py.File(data / MAIN_FILE, "a") as file:
        file["episode_0/rewards"][0] += 1
    others.append(open_store(data, cache))
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert others[-1].rewards[0] == pytest.approx(first.rewards[0] + 1)
    assert list(others[1].observations) == ["state"]


def test_an_unfinished_conversion_is_made_again(tiny_dataset: Path, tmp_path: Path) -> None:
    open_store(tiny_dataset, tmp_path)
    (folder,) = tmp_path.glob("episodes-*")
    (folder / "index.json").unlink()
    (folder / "actions.npy").write_bytes(b"")
    assert open_store(tiny_dataset, tmp_path).actions.shape == (120, 2)
    assert not list(tmp_path.glob(".converting-*"))


def test_invalid_episodes_stop_unless_they_are_skipped_and_move_no_other(
    tmp_path: Path, tiny_info, tiny_episodes, capsys: pytest.CaptureFixture
) -> None:
    data, cache = write(tmp_path, tiny_info, tiny_episodes), tmp_path / "cache"
    whole = open_store(data, cache)
    break_rewards(data, 2, 7)
    with pytest.raises(UserError, match=r"episode_2: rewards: expected finite .* \(and 1 more: run check-data\)"):
        open_store(data, cache)
    for _ in range(2):
        capsys.readouterr()
        found = open_store(data, cache, skip_invalid=True)
        left_out = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[:3:2] for line in left_out] == [["left out", "episode_2"], ["left out", "episode_7"]]
    assert len(found.left_out) == 2
    kept = {span.index: span.split for span in whole.episodes if span.index not in (2, 7)}
    assert {span.index: span.split for span in found.episodes} == kept
    assert found.actions.shape == (100, 2)
    for span in found.episodes:
        rows = found.rows[span.first_step : span.first_step + 10]
        np.testing.assert_array_equal(
            found.observations["state"][rows], tiny_episodes[span.index].observations["state"][:-1]
        )


def test_skipping_does_not_help_where_nothing_is_left(tmp_path: Path, tiny_info, tiny_episodes) -> None:
    data = write(tmp_path, tiny_info, tiny_episodes)
    break_rewards(data, *(index for index, split in enumerate(splits(12, 0.13)) if split == "val"))
    with pytest.raises(UserError, match="expected usable episodes for train and val, got none for val"):
        open_store(data, tmp_path / "cache", skip_invalid=True)


def test_infos_are_kept_where_all_episodes_have_them_under_any_name(tmp_path: Path, tiny_info, tiny_episodes) -> None:
    episodes = [replace(one, infos={**one.infos, "..": np.full((11, 2), 3)}) for one in tiny_episodes]
    episodes[1] = replace(episodes[1], infos={**episodes[1].infos, "sim": np.zeros((11, 3))})
    data = write(tmp_path, tiny_info, episodes)
    found = open_store(data, tmp_path / "cache")
    assert list(found.infos) == [".."], "sim has another shape in episode 1"
    np.testing.assert_array_equal(found.infos[".."], np.full((132, 2), 3), strict=True)
    assert not list(tmp_path.glob("*.npy"))


def test_observations_of_other_precision_and_one_array_are_read(tmp_path: Path, tiny_episodes: list[Episode]) -> None:
    info = DatasetInfo(
        dataset_id="vectors-v0",
        env_spec=None,
        observation_space=spaces.Box(-np.inf, np.inf, (5,), np.float64),
        action_space=spaces.Box(-1, 1, (2,), np.float32),
    )
    states = [episode.observations["state"].astype(np.float64) for episode in tiny_episodes]
    episodes = [replace(e, observations={"observation": s}) for e, s in zip(tiny_episodes, states, strict=True)]
    write_dataset(tmp_path / "vectors-v0", info, episodes)
    found = open_store(tmp_path / "vectors-v0", tmp_path / "cache")
    np.testing.assert_array_equal(found.observations["state"], np.float32(np.concatenate(states)), strict=True)
    assert found.shapes() == Shapes(state=5, action=2)
    assert found.statistics.lidar_mean == ()


def test_what_is_not_there_is_one_line(tiny_dataset: Path, tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data_dir: expected the folder of a Minari dataset, got nothing"):
        open_store(tmp_path / "nothing-v0", tmp_path)
    camera = dataclasses.replace(tiny_store, observations={"image": tiny_store.observations["image"]})
    with pytest.raises(
        UserError, match=f"{re.escape(str(tiny_dataset))}: modalities: expected some of image, got state"
    ):
        camera.shapes(("state",))
