"""Other layouts: episodes are cut where they were, ends of recordings are no ends of tasks, and nothing is made up."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from drivelab_shared.errors import UserError
from lapo_mm.data.episodes import Episode
from lapo_mm.data.importers import import_episodes
from lapo_mm.data.minari_files import read_episodes, write_dataset
from lapo_mm.data.spaces import SINGLE

STEPS = 12
"""Of the flat file: episodes of 4 (terminal), 5 (cut) and 3 steps (the file ends)."""


def flat(path: Path, **changes: object) -> Path:
    """A flat file in which observation t is t, and the next one t + 0.5 where another episode follows."""
    time = np.arange(STEPS, dtype=np.float32)
    after = time + 1
    after[[3, 8, 11]] = (3.5, 8.5, 11.5)
    arrays = {
        "observations": np.stack([time, -time], axis=1),
        "next_observations": np.stack([after, -after], axis=1),
        "actions": np.linspace(-0.5, 0.5, STEPS, dtype=np.float32)[:, None],
        "rewards": time,
        "terminals": time == 3,
        "timeouts": time == 8,
        "infos/qpos": time,
        **changes,
    }
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
    return path


def times(episode: Episode) -> list[float]:
    return episode.observations[SINGLE][:, 0].tolist()


def ends(episode: Episode) -> tuple[bool, bool]:
    assert not episode.terminations[:-1].any()
    assert not episode.truncations[:-1].any()
    return bool(episode.terminations[-1]), bool(episode.truncations[-1])


TERMINATED, TRUNCATED = (True, False), (False, True)


@pytest.mark.parametrize("changes", [{}, {"timeouts": None}])
def test_a_flat_file_with_next_observations_comes_apart_whole(tmp_path: Path, changes: dict, capsys) -> None:
    """Without timeouts, a next observation that the next row does not start from says where an episode was cut."""
    info, episodes = import_episodes(flat(tmp_path / "hopper-medium-v2.hdf5", **changes))
    found = list(episodes)
    assert [times(one) for one in found] == [[0, 1, 2, 3, 3.5], [4, 5, 6, 7, 8, 8.5], [9, 10, 11, 11.5]]
    assert [ends(one) for one in found] == [TERMINATED, TRUNCATED, TRUNCATED]
    assert [one.rewards.tolist() for one in found] == [[0, 1, 2, 3], [4, 5, 6, 7, 8], [9, 10, 11]]
    assert info.dataset_id == "hopper-medium-v2"
    assert info.env_spec is None
    assert info.observation_space == spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert info.action_space == spaces.Box(-1, 1, (1,), np.float32)
    assert capsys.readouterr().err == ""


def test_without_next_observations_a_cut_episode_loses_its_last_step_and_says_so(tmp_path: Path, capsys) -> None:
    """What followed is unknown, and its value would count; after a terminal step nothing counts, so that one stays."""
    info, episodes = import_episodes(flat(tmp_path / "a b.hdf5", next_observations=None))
    found = list(episodes)
    assert [times(one) for one in found] == [[0, 1, 2, 3, 3], [4, 5, 6, 7, 8], [9, 10, 11]]
    assert [ends(one) for one in found] == [TERMINATED, TRUNCATED, TRUNCATED]
    assert [one.rewards.tolist() for one in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [9, 10]]
    expected = "Nothing says what the last step of 2 episodes led to, so it is left out."
    assert expected in info.description
    assert expected in capsys.readouterr().err
    assert info.dataset_id == "a-b-v0"


def test_the_last_episode_is_kept_whether_it_ends_with_a_flag_or_not(tmp_path: Path) -> None:
    last = np.arange(STEPS) == STEPS - 1
    _, flagged = import_episodes(flat(tmp_path / "a.hdf5", timeouts=last | (np.arange(STEPS) == 8)))
    _, terminal = import_episodes(flat(tmp_path / "b.hdf5", terminals=last | (np.arange(STEPS) == 3)))
    assert [len(one) for one in flagged] == [4, 5, 3]
    assert [ends(one) for one in terminal] == [TERMINATED, TRUNCATED, TERMINATED]


def test_a_terminal_that_is_a_timeout_too_is_a_terminal(tmp_path: Path) -> None:
    _, episodes = import_episodes(flat(tmp_path / "a.hdf5", timeouts=np.isin(np.arange(STEPS), (3, 8))))
    assert [ends(one) for one in episodes] == [TERMINATED, TRUNCATED, TRUNCATED]


def test_an_episode_of_one_step_that_led_nowhere_is_gone(tmp_path: Path) -> None:
    timeouts = np.isin(np.arange(STEPS), (8, 9))
    _, episodes = import_episodes(flat(tmp_path / "a.hdf5", timeouts=timeouts, next_observations=None))
    assert [times(one) for one in episodes] == [[0, 1, 2, 3, 3], [4, 5, 6, 7, 8], [10, 11]]


def test_observations_may_be_a_group_with_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS, 3, 8, 9), dtype=np.uint8)
    changes = {"observations": None, "next_observations": None, "observations/camera": images}
    changes["observations/speed"] = np.arange(STEPS, dtype=np.float64)[:, None]
    info, episodes = import_episodes(flat(tmp_path / "a.hdf5", **changes))
    assert info.observation_space == spaces.Dict(
        camera=spaces.Box(0, 255, (3, 8, 9), np.uint8), speed=spaces.Box(-np.inf, np.inf, (1,), np.float64)
    )
    np.testing.assert_array_equal(next(episodes).observations["camera"][:4], images[:4], strict=True)
    assert next(episodes).observations["speed"].ravel().tolist() == [4, 5, 6, 7, 8]


def test_actions_beyond_one_are_bounded_by_themselves(tmp_path: Path) -> None:
    actions = np.linspace(-2, 0.5, STEPS, dtype=np.float32)[:, None]
    info, _ = import_episodes(flat(tmp_path / "a.hdf5", actions=actions))
    assert info.action_space == spaces.Box(-2, 0.5, (1,), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "actions: expected an array, got none"),
        ({"rewards": np.zeros(5)}, "rewards: expected 12 rows as in actions, got 5"),
        ({"next_observations": np.zeros((3, 2))}, "next_observations: expected 12 rows as in actions, got 3"),
        ({"terminals": np.arange(STEPS)}, "terminals: expected true and false, or 0 and 1"),
        ({"timeouts": None, "next_observations": None}, "timeouts: expected this key, or next_observations"),
        ({"observations": np.zeros((STEPS, 2), int)}, "observation: expected floats or, for images, uint8, got int64"),
        ({"actions": np.zeros(STEPS)}, r"actions: expected floats \[N, A\], got float64 \[12\]"),
        ({"actions": np.float64(3)}, r"actions: expected a row per step, got \[\]"),
        (
            {"observations": h5py.ExternalLink("/etc/other.hdf5", "/x")},
            "observations: .* a link, which is never followed",
        ),
    ],
)
def test_a_flat_file_that_cannot_be_used_is_one_line(tmp_path: Path, changes: dict, message: str) -> None:
    path = flat(tmp_path / "a.hdf5", **changes)
    with pytest.raises(UserError, match=f"{path}: {message}") as error:
        list(import_episodes(path)[1])
    assert "\n" not in str(error.value)


# --- npz --------------------------------------------------------------------------------------------------------------


def drive(steps: int, frames: int, seed: int = 0, **changes: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {
        "observations/camera": rng.integers(0, 256, (frames, 8, 9, 3), dtype=np.uint8),
        "obs_speed": rng.normal(size=(frames, 2)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "rewards": rng.normal(size=steps),
        "terminals": np.arange(steps) == steps - 1,
        **changes,
    }
    return {key: array for key, array in arrays.items() if array is not None}


def folder_of(folder: Path, *drives: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for index, arrays in enumerate(drives):
        np.savez(folder / f"episode{index + 8}.npz", **arrays)
    return folder


def test_a_folder_of_npz_files_is_read_in_natural_order(tmp_path: Path, capsys) -> None:
    never = np.zeros(6, bool)
    drives = [drive(6, 7, 0), drive(6, 7, 1, terminals=never), drive(6, 6, 2), drive(6, 6, 3, terminals=never)]
    info, episodes = import_episodes(folder_of(tmp_path / "drives", *drives))
    found = list(episodes)
    assert [len(one) for one in found] == [6, 6, 6, 5]
    assert [ends(one) for one in found] == [TERMINATED, TRUNCATED, TERMINATED, TRUNCATED]
    for one, arrays in zip(found, drives, strict=True):
        np.testing.assert_array_equal(one.actions, arrays["actions"][: len(one)], strict=True)
        frames = len(arrays["obs_speed"])
        np.testing.assert_array_equal(one.observations["speed"][:frames], arrays["obs_speed"], strict=True)
        np.testing.assert_array_equal(one.observations["camera"][:frames], arrays["observations/camera"], strict=True)
    assert {len(one.observations["speed"]) for one in found} == {6, 7}
    assert sorted(info.observation_space.spaces) == ["camera", "speed"]
    assert "the last step of 1 episode led to" in capsys.readouterr().err


def test_terminations_are_kept_apart_from_truncations(tmp_path: Path) -> None:
    last, never = np.arange(6) == 5, np.zeros(6)
    drives = [
        drive(6, 7, 0, terminals=None, terminations=last, truncations=never),
        drive(6, 7, 1, terminals=None, terminations=never, truncations=last),
    ]
    _, episodes = import_episodes(folder_of(tmp_path / "drives", *drives))
    assert [ends(one) for one in episodes] == [TERMINATED, TRUNCATED]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, r"actions: expected floats \[T, A\], got none"),
        ({"rewards": np.zeros(4)}, "expected an action and a reward per step, got 6 actions and 4 rewards"),
        ({"obs_speed": np.zeros((5, 2))}, r"observations: expected 7 rows, .* got 5 and 7"),
        ({"obs_speed": np.zeros((7, 3), np.float32)}, "observations: expected .* as in episode8.npz"),
        ({"obs_speed": None, "observations/camera": None}, "observations: expected observations, .* got none"),
        ({"terminals": None}, "terminals: expected terminals, or terminations and truncations, got neither"),
        ({"terminals": np.ones(6)}, "terminals: expected one episode per file, got an end in step 0"),
        ({"terminals": np.full(6, 2)}, "terminals: expected 6 times true or false"),
        ({"rewards": np.array([None] * 6)}, "expected an npz archive of plain arrays, got: Object arrays"),
    ],
)
def test_an_npz_file_that_cannot_be_used_is_one_line(tmp_path: Path, changes: dict, message: str) -> None:
    folder = folder_of(tmp_path / "drives", drive(6, 7, 0), drive(6, 7, 1, **changes))
    with pytest.raises(UserError, match=f"{folder / 'episode9.npz'}: {message}") as error:
        list(import_episodes(folder)[1])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not an archive"])
def test_a_broken_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    folder = folder_of(tmp_path / "drives", drive(6, 7))
    (folder / "episode9.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"expected an npz archive of plain arrays, got: .+"):
        import_episodes(folder)


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    folder = folder_of(tmp_path / "drives", drive(6, 7))
    monkeypatch.setattr("lapo_mm.data.importers.npz.MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"got: 0\.0 GiB, more than 0"):
        import_episodes(folder)


def test_a_source_that_is_neither_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(UserError, match="source: expected npz files, one per episode, got none"):
        import_episodes(tmp_path / "empty")
    with pytest.raises(
        UserError, match="source: expected a D4RL-style HDF5 file or a folder of npz files, got neither"
    ):
        import_episodes(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"text.txt: expected a whole HDF5 file, got: .+"):
        import_episodes(tmp_path / "text.txt")


def test_what_was_imported_can_be_written_and_read(tmp_path: Path) -> None:
    info, episodes = import_episodes(folder_of(tmp_path / "drives", drive(6, 7, 0), drive(6, 7, 1)))
    write_dataset(tmp_path / "drives-v0", info, episodes)
    found = list(read_episodes(tmp_path / "drives-v0"))
    np.testing.assert_array_equal(found[1].observations["camera"], drive(6, 7, 1)["observations/camera"], strict=True)
