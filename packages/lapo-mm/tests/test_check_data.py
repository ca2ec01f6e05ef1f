"""check-data: one run names every fault with its episode, is silent where none is, and says what modalities tell."""

import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from drivelab_shared.errors import UserError
from drivelab_shared.stats import Interval
from lapo_mm.cli import main
from lapo_mm.config import CheckDataSettings
from lapo_mm.data.check_data import check_data
from lapo_mm.data.check_data.glances import as_rgb, look
from lapo_mm.data.check_data.usefulness import ALL, usefulness
from lapo_mm.data.check_data.views import views
from lapo_mm.data.episodes import Episode
from lapo_mm.data.minari_files import MAIN_FILE, write_dataset
from lapo_mm.data.problems import Problem, grouped
from lapo_mm.data.roles import assign_roles
from lapo_mm.data.spaces import to_json
from lapo_mm.data.splits import splits
from lapo_mm.data.survey import Facts, survey

NUM_EPISODES, STEPS = 45, 6
HELD_OUT = [index for index, split in enumerate(splits(NUM_EPISODES, 0.13)) if split == "val"]
Damage = Callable[[h5py.File], None]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, tiny_info, make_episode) -> Path:
    """Nobody may write into it."""
    folder = tmp_path_factory.mktemp("clean") / "drivelab" / "tiny-v0"
    write_dataset(folder, tiny_info, (make_episode(index, STEPS) for index in range(NUM_EPISODES)))
    return folder


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Path:
    """To be damaged."""
    return Path(shutil.copytree(clean, tmp_path / "drivelab" / "tiny-v0"))


def check(folder: Path, capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and printed lines."""
    capsys.readouterr()
    code = main(["check-data", "--data_dir", str(folder), "--report", str(folder / "page.html"), *arguments])
    return code, capsys.readouterr().out.splitlines()


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing and probing take longer than what is looked at here."""
    shares = {"state": {"reward": Interval(0.5, 0.4, 0.6, 7)}}
    monkeypatch.setattr("lapo_mm.data.check_data._write", lambda findings, settings: None)
    monkeypatch.setattr("lapo_mm.data.check_data.findings.usefulness", lambda glances: shares)


# --- one file with every fault ----------------------------------------------------------------------------------------

DAMAGES: list[tuple[str, str, Callable[[h5py.Group], object]]] = []
"""Level, what the message says, and how it is done to an episode of its own."""


def damage(level: str, message: str) -> Callable:
    def add(inject: Callable[[h5py.Group], object]) -> Callable:
        DAMAGES.append((level, message, inject))
        return inject

    return add


def put(group: h5py.Group, name: str, array: object) -> None:
    if name in group:
        del group[name]
    group[name] = array


def edit(name: str, change: Callable[[np.ndarray], object]) -> Callable[[h5py.Group], None]:
    """Replaces an array by what `change` makes of it."""
    return lambda group: put(group, name, change(group[name][()]))


def at(index: object, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = value
        return array

    return change


damage("error", "actions: expected an array, got none")(lambda group: group.__delitem__("actions"))
damage("error", "observations/lidar: expected an array, got none")(
    lambda group: group.__delitem__("observations/lidar")
)
damage("error", "actions: expected [T, 2], got [6, 3]")(edit("actions", lambda a: np.zeros((STEPS, 3))))
damage("error", "actions: expected finite numbers, got 1 NaN or infinite, first in row 2")(
    edit("actions", at((2, 1), np.inf))
)
damage("error", "actions: expected numbers, got bool")(edit("actions", lambda a: a > 0))
damage("error", "actions: expected [T, 2], got [0, 2]")(edit("actions", lambda a: a[:0]))
damage("error", "rewards: expected finite numbers, got 2 NaN")(edit("rewards", at(slice(2, 4), np.nan)))
damage("error", "rewards: expected [6], got [5]")(edit("rewards", lambda a: a[:-1]))
damage("error", "rewards: expected finite numbers, got 1 NaN or infinite, first in row 0")(
    edit("rewards", at(0, 1e300))
)
damage("error", "observations/state: expected finite numbers, got 5 NaN")(edit("observations/state", at(3, np.nan)))
damage("error", "observations/state: expected 7 rows, one more than there are actions, got as many")(
    edit("observations/state", lambda a: a[:-1])
)
damage("error", "observations/state: expected [7, 5], got [8, 5]")(
    edit("observations/state", lambda a: np.zeros((8, 5)))
)
damage("error", "observations/state: expected float32 as in observation_space, got int64")(
    edit("observations/state", lambda a: a.astype(np.int64))
)
damage("error", "observations/image: expected uint8 as in observation_space, got float32")(
    edit("observations/image", lambda a: np.float32(a / 255))
)
damage("error", "observations/image: expected [7, 3, 16, 16], got [7, 16, 16, 3]")(
    edit("observations/image", lambda a: a.transpose(0, 2, 3, 1))
)
damage("error", "observations/lidar: expected an array, got a group")(
    lambda group: (group.__delitem__("observations/lidar"), group.create_group("observations/lidar"))
)
damage("error", "terminations: expected true and false, or 0 and 1, got float64 with other values")(
    edit("terminations", lambda a: a * 1.0)
)
damage("error", "truncations: expected [6], got [6, 1]")(edit("truncations", lambda a: a[:, None]))
damage("error", "expected flags in the last of 6 steps only, got one in step 2")(edit("truncations", at(2, True)))
damage("error", "expected flags in the last of 6 steps only, got one in step 0")(edit("terminations", at(0, True)))
damage("error", "rewards: expected an array in this file, got a link, which is never followed")(
    lambda group: (group.__delitem__("rewards"), group.__setitem__("rewards", h5py.SoftLink("/episode_0/rewards")))
)
damage("warning", "terminations, truncations: both in the last step; it counts as terminated")(
    lambda group: (put(group, "terminations", np.arange(STEPS) == 5), put(group, "truncations", np.arange(STEPS) == 5))
)
damage("warning", "expected one of them in the last step, got none; it counts as truncated")(
    lambda group: (put(group, "terminations", np.zeros(STEPS, bool)), put(group, "truncations", np.zeros(STEPS, bool)))
)
damage("warning", "actions: expected them inside action_space, got 2 outside")(edit("actions", at(slice(1, 3), 1.5)))
damage("warning", "observations/lidar: expected numbers inside observation_space, got 1 outside")(
    edit("observations/lidar", at((0, 0, 0), -1))
)
damage("warning", "image: expected it to change, got the same throughout the episode")(
    edit("observations/image", np.zeros_like)
)
damage("warning", "total_steps: expected 6, got 99")(lambda group: group.attrs.__setitem__("total_steps", 99))


def without_numbers(text: str) -> str:
    return re.sub(r"\d+", "#", text)


def test_every_fault_of_a_file_is_named_with_its_episode_in_one_run(copy: Path, capsys, without_page) -> None:
    spare = iter(index for index in range(NUM_EPISODES) if index not in HELD_OUT)
    expected: list[tuple[str, object, str]] = []
    with h5py.File(copy / MAIN_FILE, "a") as file:
        for level, message, inject in DAMAGES:
            index = next(spare)
            inject(file[f"episode_{index}"])
            expected.append((level, index, message))
        original, twin, leak = next(spare), next(spare), HELD_OUT[-1]
        for other in (twin, leak):
            del file[f"episode_{other}"]
            file.copy(f"episode_{original}", f"episode_{other}")
        expected.append(("warning", twin, f"the same observations and actions as episode_{original}"))
        expected.append(("error", leak, f"as episode_{original}, one in train and one in val: a leak"))
        file["notes"], file["episode_007"] = 3, 3
        expected.append(("warning", "notes", "expected episodes only, got notes, left unread"))
        expected.append(("error", "", "expected episode_<number> with arrays in this file, got 1 of another kind"))
    metadata = json.loads((copy / "data" / "metadata.json").read_text())
    metadata |= {"total_episodes": 77, "dataset_id": "other/tiny-v0"}
    metadata["action_space"] = to_json(spaces.Box(-1, np.float32([1, np.inf])))
    (copy / "data" / "metadata.json").write_text(json.dumps(metadata))
    expected.append(("error", "metadata.json", "total_episodes: expected 45 as in data/main_data.hdf5, got 77"))
    expected.append(("warning", "metadata.json", "dataset_id: expected [namespace/]name-v<number> as the folder ends"))
    expected.append(("warning", "metadata.json", "action_space: expected finite bounds, got infinite ones"))
    code, lines = check(copy, capsys)
    assert code == 2
    unnamed = [
        (level, where, message)
        for level, where, message in expected
        # Faults of one kind share a line, which quotes the first and names the episodes of the others.
        if not any(
            line.startswith(f"{level}: ")
            and without_numbers(message) in without_numbers(line)
            and re.search(rf"\b(episode_)?{where}\b", line)
            for line in lines
        )
    ]
    assert unnamed == [], "\n".join(lines)
    assert len(expected) > 30


def test_a_hole_in_the_numbers_is_named(copy: Path, capsys: pytest.CaptureFixture, without_page) -> None:
    with h5py.File(copy / MAIN_FILE, "a") as file:
        del file["episode_7"]
    code, lines = check(copy, capsys)
    assert code == 2
    assert any(line.endswith("main_data.hdf5: expected episode_0 to episode_44, got none for 7") for line in lines)
    assert any("total_episodes: expected 44 as in data/main_data.hdf5, got 45" in line for line in lines)


def test_steps_that_metadata_count_otherwise_are_named(copy: Path, capsys: pytest.CaptureFixture, without_page) -> None:
    set_metadata(total_steps=9)(copy / MAIN_FILE)
    code, lines = check(copy, capsys)
    assert code == 2
    assert lines[0].endswith("metadata.json: total_steps: expected 270 as in data/main_data.hdf5, got 9")
    assert check(copy, capsys, "--skip_invalid")[0] == 0


@pytest.mark.parametrize("skip_invalid", [False, True])
def test_what_skip_invalid_leaves_out_is_listed(copy: Path, capsys, without_page, skip_invalid: bool) -> None:
    with h5py.File(copy / MAIN_FILE, "a") as file:
        for index in (3, 4, 9):
            file[f"episode_{index}/rewards"][2] = np.nan
    code, lines = check(copy, capsys, *(["--skip_invalid"] if skip_invalid else []))
    assert code == (0 if skip_invalid else 2)
    listed = [line for line in lines if "rewards: expected finite" in line]
    assert len(listed) == 1, "one line for one kind"
    assert listed[0].startswith("left out: " if skip_invalid else "error: ")
    assert "episode_3: rewards" in listed[0]
    assert listed[0].endswith("; the same in 2 more: 4, 9")
    assert any("42 usable episodes of 45, 252 steps" in line for line in lines)


# --- files and metadata that leave nothing to look at -----------------------------------------------------------------


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def set_metadata(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path = path.with_name("metadata.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


FATAL = [
    (Path.unlink, "main_data.hdf5: expected an HDF5 file, got none"),
    (lambda path: path.write_bytes(b"text"), "main_data.hdf5: expected a whole HDF5 file"),
    (cut_in_half, "main_data.hdf5: expected a whole HDF5 file"),
    (lambda path: path.with_name("metadata.json").unlink(), "metadata.json: expected this file, got none"),
    (lambda path: path.with_name("metadata.json").write_text("{"), "metadata.json: expected JSON"),
    (set_metadata(data_format="parquet"), "metadata.json: data_format: expected hdf5, got 'parquet'"),
    (set_metadata(observation_space=to_json(spaces.Box(0, 1, (3, 3)))), "expected an image (uint8 [C, H, W]"),
    (set_metadata(action_space='{"type": "Discrete"}'), "metadata.json: action_space: expected a Box"),
    (set_metadata(action_space=to_json(spaces.Box(-1, 1, (3,)))), "expected usable episodes for train and val"),
    (lambda path: shutil.rmtree(path.parents[1]), "data_dir: expected the folder of a Minari dataset, got nothing"),
]


@pytest.mark.parametrize(("change", "message"), FATAL)
def test_what_leaves_nothing_is_an_error_that_cannot_be_skipped(copy: Path, capsys, change, message: str) -> None:
    change(copy / MAIN_FILE)
    with pytest.raises(UserError) as error:
        check_data(CheckDataSettings(data_dir=copy, skip_invalid=True, report=copy / "page.html"))
    assert "\n" not in str(error.value)
    assert message in capsys.readouterr().out + str(error.value)


def test_both_files_are_looked_at_even_if_one_is_broken(copy: Path, capsys: pytest.CaptureFixture) -> None:
    (copy / MAIN_FILE).write_bytes(b"")
    (copy / "data" / "metadata.json").write_text("{")
    code, lines = check(copy, capsys)
    assert code == 2
    assert [bool(re.search(r"metadata.json|main_data.hdf5", line)) for line in lines] == [True, True]


def test_one_episode_is_too_few(tmp_path: Path, tiny_info, tiny_episodes, capsys) -> None:
    write_dataset(tmp_path / "drivelab" / "tiny-v0", tiny_info, tiny_episodes[:1])
    code, lines = check(tmp_path / "drivelab" / "tiny-v0", capsys)
    assert code == 2
    assert "expected at least 2 episodes, one per split, got 1" in lines[0]


# --- suspicions about the whole ---------------------------------------------------------------------------------------


def warnings_of(folder: Path, info, episodes, capsys) -> list[str]:
    write_dataset(folder / "drivelab" / "tiny-v0", info, episodes)
    code, lines = check(folder / "drivelab" / "tiny-v0", capsys)
    assert code == 0
    return [line.removeprefix(f"warning: {folder}/drivelab/tiny-v0/") for line in lines if line.startswith("warning")]


def test_a_clean_dataset_has_no_problems_and_its_page_shows_it(clean: Path, tmp_path: Path, capsys) -> None:
    settings = CheckDataSettings(data_dir=clean, report=tmp_path / "check.html")
    check_data(settings)
    out = capsys.readouterr().out
    assert not re.search(r"^(error|warning|left out)", out, re.MULTILINE)
    assert "drivelab/tiny-v0: 45 usable episodes of 45, 270 steps" in out
    assert "modalities: image from image [3, 16, 16], state from state [5], lidar from lidar [8, 2]" in out
    ended = sum(index % 3 == 0 for index in HELD_OUT)
    assert [line.split() for line in out.splitlines() if re.match(r"(train|val|all) +\d", line)] == [
        ["train", "39", "234", "6", f"{15 - ended}", f"{24 + ended}", "0"],
        ["val", "6", "36", "6", f"{ended}", f"{6 - ended}", "0"],
        ["all", "45", "270", "6", "15", "30", "0"],
    ]
    page = (tmp_path / "check.html").read_text()
    for part in ("What to conclude", "None.", "made up", "episode 11", "Histogram of the returns"):
        assert part in page
    assert not (clean / "check.html").exists()


def test_what_never_changes_is_named(tmp_path: Path, tiny_info, make_episode, capsys, without_page) -> None:
    def dull(episode: Episode) -> Episode:
        state = episode.observations["state"] * np.float32([1, 0, 1, 0, 1])
        image = np.full_like(episode.observations["image"], 7)
        actions = episode.actions * np.float32([1, 0])
        observations = {**episode.observations, "state": state, "image": image}
        return replace(episode, observations=observations, actions=actions, rewards=np.full(STEPS, -1.0))

    found = warnings_of(tmp_path, tiny_info, (dull(make_episode(index, STEPS)) for index in range(40)), capsys)
    assert found == [
        "data/main_data.hdf5: image: expected it to change, got the same in every episode: it tells nothing",
        "data/main_data.hdf5: state: expected all numbers to change, got 2 of 5 that never do",
        "data/main_data.hdf5: rewards: expected them to vary, got -1 throughout: there is nothing to prefer",
        "data/main_data.hdf5: actions: expected number 1 to vary, got 0 throughout",
    ]


def test_a_dataset_without_any_flag_is_suspicious(
    tmp_path: Path, tiny_info, make_episode, capsys, without_page
) -> None:
    never = np.zeros(STEPS, bool)
    episodes = (replace(make_episode(index, STEPS), terminations=never, truncations=never) for index in range(40))
    found = warnings_of(tmp_path, tiny_info, episodes, capsys)
    assert any("expected some, got none in any episode: all count as truncated" in line for line in found)


def test_few_validation_episodes_are_mentioned(tiny_dataset: Path, tmp_path: Path, capsys, without_page) -> None:
    check_data(CheckDataSettings(data_dir=tiny_dataset))
    assert "expected at least 5 validation episodes, for intervals, got 2" in capsys.readouterr().out


def test_jpeg_is_named_as_a_loss(tmp_path: Path, tiny_info, make_episode, capsys, without_page) -> None:
    box = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    info = replace(tiny_info, observation_space=spaces.Dict(camera=box))
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (40, STEPS + 1, 32, 32, 3), dtype=np.uint8)
    episodes = (replace(make_episode(i, STEPS), observations={"camera": pictures[i]}) for i in range(40))
    write_dataset(tmp_path / "drivelab" / "tiny-v0", info, episodes)
    with h5py.File(tmp_path / "drivelab" / "tiny-v0" / MAIN_FILE, "a") as file:
        for index in range(40):
            del file[f"episode_{index}/observations/camera"]
            array = file.create_dataset(f"episode_{index}/observations/camera", (STEPS + 1,), h5py.vlen_dtype(np.uint8))
            for row, picture in enumerate(pictures[index]):
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, format="JPEG")
                array[row] = np.frombuffer(buffer.getvalue(), np.uint8)
    code, lines = check(tmp_path / "drivelab" / "tiny-v0", capsys)
    assert code == 0
    assert sum("stored as JPEG, so these are not the pictures that were seen" in line for line in lines) == 1
    assert "observations/camera: JPEG has lost what sharp edges said, by up to 227 of 255 grey levels" in lines


def test_unused_modalities_do_not_matter(copy: Path, capsys, without_page) -> None:
    with h5py.File(copy / MAIN_FILE, "a") as file:
        for index in range(NUM_EPISODES):
            del file[f"episode_{index}/observations/lidar"]
    assert check(copy, capsys, "--modalities", "image", "state")[0] == 0
    assert check(copy, capsys)[0] == 2


def test_names_from_files_cannot_write_to_the_terminal() -> None:
    assert str(Problem("a\x1b[31m", "b\nc", episode=3)) == "a?[31m: episode_3: b?c"
    problems = [Problem("f", f"got {value} NaN", episode=index) for index, value in enumerate((1, -2.5, "3e-05"))]
    assert grouped([*problems, Problem("f", "else")]) == [
        "f: episode_0: got 1 NaN; the same in 2 more: 1, 2",
        "f: else",
    ]


# --- usefulness -------------------------------------------------------------------------------------------------------


def disc(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a disc, and where it is."""
    centre = rng.uniform(-0.7, 0.7, 2)
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    return (255 * np.clip(3 - 10 * np.hypot(x - centre[0], y - centre[1]), 0, 1)).astype(np.uint8)[None], centre


@pytest.fixture(scope="module")
def told_by_the_image() -> dict:
    """Reward: minus the distance between a disc that only the image shows and a point that only the state has."""
    space = spaces.Dict(image=spaces.Box(0, 255, (1, 24, 24), np.uint8), state=spaces.Box(-9, 9, (2,), np.float32))
    roles, glances = assign_roles(space, "test"), []
    for index in range(120):
        rng = np.random.default_rng(index)
        pictures, centres = zip(*(disc(rng) for _ in range(11)), strict=True)
        points = rng.uniform(-0.7, 0.7, (11, 2)).astype(np.float32)
        rewards = -np.linalg.norm(np.array(centres) - points, axis=1)[:10]
        ends = np.arange(10) == 9
        episode = Episode(
            observations={"image": np.stack(pictures), "state": points},
            actions=(2 * points[:10] + rng.normal(size=(10, 2)) * 0.2).astype(np.float32),
            rewards=rewards,
            terminations=ends,
            truncations=~ends & False,
        )
        facts = Facts(index, "val" if index % 4 == 0 else "train", 10, float(rewards.sum()), True, False, "", {})
        glances.append(look(facts, episode, roles, 10, keep_stills=False))
    return {"glances": glances, "found": usefulness(glances)}


def test_the_probe_finds_what_only_both_modalities_tell_together(told_by_the_image: dict) -> None:
    found = told_by_the_image["found"]
    alone, together = [found[name]["reward"] for name in ("image", "state")], found[ALL]["reward"]
    assert all(one.value < 0.35 for one in alone)
    assert together.value > 0.6
    assert together.low > max(one.high for one in alone)
    assert together.n == 30


def test_the_probe_knows_what_the_behaviour_looked_at(told_by_the_image: dict) -> None:
    found = told_by_the_image["found"]
    assert found["state"]["action"].value > 0.9
    assert found["image"]["action"].value < 0.05


def test_what_is_noise_or_constant_explains_nothing(told_by_the_image: dict) -> None:
    found = told_by_the_image["found"]["state"]["all rewards to come"]
    assert found.value < 0.1
    flat = [
        replace(glance, samples=replace(glance.samples, targets={"reward": np.ones((10, 1))}))
        for glance in told_by_the_image["glances"]
    ]
    assert np.isnan(usefulness(flat)["state"]["reward"].value)


def test_two_episodes_are_enough_to_answer(told_by_the_image: dict) -> None:
    found = usefulness(told_by_the_image["glances"][:2])
    assert np.isfinite(found[ALL]["reward"].value)
    assert np.isnan(found[ALL]["reward"].low)


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 96, 96), (4, 30, 64), (3, 25, 1)])
def test_images_of_any_size_have_views(shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)
    pixels, moments = views("image", images)
    assert len(pixels) == 5
    assert pixels.shape[1] <= shape[0] * 24 * 24 * 4
    assert moments.shape == (5, 48)
    assert np.isfinite(moments).all()


def test_pictures_are_shown_in_colour_or_as_their_newest_grey() -> None:
    images = np.arange(2 * 4 * 2 * 2, dtype=np.uint8).reshape(2, 4, 2, 2)
    np.testing.assert_array_equal(as_rgb(images)[..., 1], images[:, 3])
    np.testing.assert_array_equal(as_rgb(images[:, :3]), images[:, :3].transpose(0, 2, 3, 1))


def test_the_survey_reads_every_episode_once(tiny_dataset: Path, tiny_episodes: list[Episode]) -> None:
    seen = []
    found = survey(tiny_dataset, visit=lambda found, facts, episode: seen.append((facts.index, found.num_episodes)))
    assert seen == [(index, 12) for index in range(12)]
    assert found.problems == []
    assert [facts.return_ for facts in found.facts] == [pytest.approx(e.rewards.sum()) for e in tiny_episodes]
