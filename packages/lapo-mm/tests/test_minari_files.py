"""Minari's layout: what we write, Minari reads bit by bit; what Minari writes, we read; what is hostile is refused."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from drivelab_shared.errors import UserError
from lapo_mm.data import hdf5, inspection, jpeg
from lapo_mm.data.episodes import DatasetInfo, Episode
from lapo_mm.data.metadata import dataset_id
from lapo_mm.data.minari_files import MAIN_FILE, read_episodes, read_info, write_dataset
from lapo_mm.data.spaces import SINGLE, from_json, leaf, leaves, to_json


def same(found: Episode, expected: Episode) -> None:
    for name in ("actions", "rewards", "terminations", "truncations"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
    for name in ("observations", "infos"):
        arrays, others = getattr(found, name), getattr(expected, name)
        assert arrays.keys() == others.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, others[key], strict=True)
    assert found.seed == expected.seed


def edit(folder: Path, **changes: object) -> None:
    """Change metadata.json; None takes a key away."""
    path = folder / "data" / "metadata.json"
    metadata = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in metadata.items() if value is not None}))


@pytest.fixture
def copy(tmp_path: Path, tiny_info: DatasetInfo, tiny_episodes: list[Episode]) -> Path:
    """Four of the episodes, to be damaged."""
    folder = tmp_path / "drivelab" / "tiny-v0"
    write_dataset(folder, tiny_info, tiny_episodes[:4])
    return folder


# --- what we write ----------------------------------------------------------------------------------------------------


def test_a_dataset_comes_back_as_it_was(tiny_dataset: Path, tiny_info: DatasetInfo, tiny_episodes: list) -> None:
    assert read_info(tiny_dataset) == tiny_info
    for found, expected in zip(read_episodes(tiny_dataset), tiny_episodes, strict=True):
        same(found, expected)


def test_minari_reads_what_we_write_bit_by_bit(
    tiny_dataset: Path, tiny_info: DatasetInfo, tiny_episodes: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tiny_dataset.parents[1]))
    dataset = minari.load_dataset("drivelab/tiny-v0")
    assert (dataset.total_episodes, dataset.total_steps, dataset.id) == (12, 120, "drivelab/tiny-v0")
    assert dataset.observation_space == tiny_info.observation_space
    assert dataset.action_space == tiny_info.action_space
    for found, expected in zip(dataset.iterate_episodes(), tiny_episodes, strict=True):
        same(replace(expected, **{k: getattr(found, k) for k in ("observations", "actions", "rewards")}), expected)
        np.testing.assert_array_equal(found.terminations, expected.terminations, strict=True)
        np.testing.assert_array_equal(found.truncations, expected.truncations, strict=True)
        np.testing.assert_array_equal(found.infos["sim"], expected.infos["sim"], strict=True)
    assert [one["seed"] for one in dataset.storage.get_episode_metadata([0, 5])] == [100, 105]
    assert minari.get_normalized_score(dataset, np.array([-8.0, 2.0, 0.0])).tolist() == [0.0, 1.0, 0.8]
    assert list(minari.list_local_datasets()) == ["drivelab/tiny-v0"]
    assert minari.namespace.list_local_namespaces() == ["drivelab"]


def test_large_pictures_are_neither_lossy_for_us_nor_for_minari(
    tmp_path: Path, tiny_episodes: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Height before width before channels, from 32 pixels up: what Minari would encode by default."""
    minari = pytest.importorskip("minari")
    rng = np.random.default_rng(0)
    info = DatasetInfo(
        dataset_id="pictures-v3",
        env_spec=None,
        observation_space=spaces.Box(0, 255, (32, 40, 3), np.uint8),
        action_space=spaces.Box(-1, 1, (2,), np.float32),
    )
    pictures = rng.integers(0, 256, (11, 32, 40, 3), dtype=np.uint8)
    pictures[:, :16] = 7  # so that it is worth compressing
    write_dataset(tmp_path / "pictures-v3", info, [replace(tiny_episodes[0], observations={SINGLE: pictures})])
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    np.testing.assert_array_equal(minari.load_dataset("pictures-v3")[0].observations, pictures, strict=True)
    (ours,) = read_episodes(tmp_path / "pictures-v3")
    np.testing.assert_array_equal(ours.observations[SINGLE], pictures, strict=True)
    with h5py.File(tmp_path / "pictures-v3" / MAIN_FILE) as file:
        assert file["episode_0/observations"].compression == "gzip"
        assert file["episode_0/actions"].compression is None


def test_the_keys_of_goal_environments_are_read_and_written(tmp_path: Path, tiny_episodes, monkeypatch) -> None:
    """`observation` is also what a single array is called here."""
    minari = pytest.importorskip("minari")
    box = spaces.Box(-9, 9, (5,), np.float32)
    info = DatasetInfo(
        dataset_id="goals-v0",
        env_spec=None,
        observation_space=spaces.Dict(desired_goal=box, observation=box),
        action_space=spaces.Box(-1, 1, (2,), np.float32),
    )
    state = tiny_episodes[0].observations["state"]
    episode = replace(tiny_episodes[0], observations={"desired_goal": -state, "observation": state})
    write_dataset(tmp_path / "goals-v0", info, [episode])
    same(next(read_episodes(tmp_path / "goals-v0")), episode)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    np.testing.assert_array_equal(minari.load_dataset("goals-v0")[0].observations["observation"], state)


def test_nothing_is_left_where_writing_fails(tmp_path: Path, tiny_info: DatasetInfo, tiny_episodes: list) -> None:
    def failing():
        yield tiny_episodes[0]
        raise RuntimeError("the simulator fell over")

    with pytest.raises(RuntimeError, match="fell over"):
        write_dataset(tmp_path / "drivelab" / "tiny-v0", tiny_info, failing())
    assert list((tmp_path / "drivelab").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.full(10, np.nan)}, "rewards: expected finite numbers, got 10 NaN"),
        (
            {"infos": {}, "actions": np.full((10, 2), np.inf, np.float32)},
            "actions: expected finite numbers, got 20 NaN",
        ),
        ({"terminations": np.arange(10) == 3}, "got one in step 3"),
    ],
)
def test_an_episode_that_could_not_be_read_is_not_written(
    tmp_path: Path, tiny_info: DatasetInfo, tiny_episodes: list, changes: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path / "drivelab" / "tiny-v0", tiny_info, [replace(tiny_episodes[0], **changes)])
    assert not (tmp_path / "drivelab" / "tiny-v0").exists()


def test_a_folder_that_exists_or_has_another_name_is_refused(tiny_dataset: Path, tiny_info, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tiny-v0: data_dir: expected a new folder \(data are never overwritten\)"):
        write_dataset(tiny_dataset, tiny_info, [])
    with pytest.raises(UserError, match="expected a folder that ends in drivelab/tiny-v0"):
        write_dataset(tmp_path / "other" / "tiny-v0", tiny_info, [])
    with pytest.raises(ValueError, match="expected at least one, got none"):
        write_dataset(tmp_path / "drivelab" / "tiny-v0", tiny_info, [])


def test_an_id_is_the_end_of_the_path() -> None:
    assert dataset_id(Path("/data/drivelab/reacher-v0")) == "drivelab/reacher-v0"
    assert dataset_id(Path("/d/reacher-v12")) == "reacher-v12", "Minari refuses namespaces of one letter"
    assert dataset_id(Path("/my data/reacher-v12")) == "reacher-v12"
    with pytest.raises(UserError, match=r"data_dir: expected a name that ends in its version, .* got reacher"):
        dataset_id(Path("/data/reacher"))


# --- what Minari writes -----------------------------------------------------------------------------------------------


def encoded(frame: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def foreign(folder: Path, pictures: np.ndarray, padded: bool) -> np.ndarray:
    """A dataset as Minari 0.5.4 lays it out, key by key; returns the pictures as JPEG leaves them."""
    box = {"type": "Box", "dtype": "uint8", "shape": [32, 32, 3]}
    box |= {"low": np.zeros((32, 32, 3), int).tolist(), "high": np.full((32, 32, 3), 255).tolist()}
    speed = {"type": "Box", "dtype": "float64", "shape": [2], "low": [-np.inf, -1.0], "high": [np.inf, 1.0]}
    action = {"type": "Box", "dtype": "float32", "shape": [1], "low": [-1.0], "high": [1.0]}
    metadata = {
        "total_episodes": 1,
        "total_steps": 3,
        "data_format": "hdf5",
        "jpeg_encoding": True,
        "observation_space": json.dumps(
            {"type": "Dict", "subspaces": {"camera": box, "goal": {"type": "Dict", "subspaces": {"speed": speed}}}}
        ),
        "action_space": json.dumps(action),
        "env_spec": json.dumps(
            {"id": "Somewhere-v3", "entry_point": "somewhere:Env", "kwargs": {}, "additional_wrappers": []}
        ),
        "dataset_id": "someone/camera-v1",
        "author": ["Someone", "Else"],
        "author_email": ["someone@example.org"],
        "algorithm_name": "SAC",
        "code_permalink": "https://example.org",
        "minari_version": "0.5.4",
        "dataset_size": 0.1,
        "ref_min_score": -1.5,
        "ref_max_score": 3,
        "num_episodes_average_score": 100,
    }
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata))
    strings = [encoded(frame) for frame in pictures]
    with h5py.File(folder / "data" / "main_data.hdf5", "w", track_order=True) as file:
        group = file.create_group("episode_0")
        group.attrs.update({"id": 0, "total_steps": 3, "seed": 42, "options/wind": 3.0})
        if padded:
            length = max(map(len, strings))
            rows = np.stack([np.pad(string, (0, length - len(string))) for string in strings])
            group.create_dataset("observations/camera", data=rows, chunks=True)
        else:
            array = group.create_dataset("observations/camera", (4,), h5py.vlen_dtype(np.uint8), chunks=True)
            for index, string in enumerate(strings):
                array[index] = string
        for key, values in {
            "observations/goal/speed": np.arange(8.0).reshape(4, 2) / 10,
            "actions": np.zeros((3, 1), np.float32),
            "rewards": np.array([0.0, 1.0, 2.0]),
            "terminations": np.array([False, False, True]),
            "truncations": np.array([False, False, False]),
            "infos/lives": np.array([3, 3, 2, 2]),
            "infos/other/deep": np.zeros(4),
            "infos/final": np.zeros(1),
        }.items():
            group.create_dataset(key, data=values, chunks=True, maxshape=(None, *values.shape[1:]))
    return np.stack([np.asarray(Image.open(io.BytesIO(string.tobytes()))) for string in strings])


@pytest.mark.parametrize("padded", [True, False])
def test_a_dataset_of_minari_is_read_and_its_jpegs_are_decoded(tmp_path: Path, padded: bool) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    folder = tmp_path / "someone" / "camera-v1"
    expected = foreign(folder, pictures, padded)
    info = read_info(folder)
    assert (info.dataset_id, info.author, info.algorithm_name) == ("someone/camera-v1", "Someone, Else", "SAC")
    assert json.loads(info.env_spec)["id"] == "Somewhere-v3"
    assert vars(info.references) == {"random": -1.5, "expert": 3.0, "source": "as the dataset says, 100 episodes"}
    (episode,) = read_episodes(folder)
    np.testing.assert_array_equal(episode.observations["camera"], expected, strict=True)
    assert np.abs(expected.astype(int) - pictures).max() > 50, "this is what the warning is about"
    np.testing.assert_array_equal(episode.observations["goal/speed"][3], [0.6, 0.7])
    assert episode.seed == 42
    assert {key: values.tolist() for key, values in episode.infos.items()} == {"lives": [3, 3, 2, 2]}
    with h5py.File(folder / MAIN_FILE) as file:
        _, problems = inspection.inspect(file["episode_0"], info, "file", 0)
    assert [str(problem) for problem in problems] == [f"file: episode_0: observations/camera: {inspection.LOSSY}"]


@pytest.mark.parametrize("padded", [True, False])
def test_minari_agrees_that_this_is_its_layout(tmp_path: Path, padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    folder = tmp_path / "someone" / "camera-v1"
    expected = foreign(folder, np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8), padded)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    theirs = minari.load_dataset("someone/camera-v1")[0]
    np.testing.assert_array_equal(theirs.observations["camera"], expected, strict=True)
    np.testing.assert_array_equal(theirs.observations["goal"]["speed"][3], [0.6, 0.7])


class Corridor(gymnasium.Env):
    """A picture and a vector; ends after 5 steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {"camera": spaces.Box(0, 255, (32, 32, 3), np.uint8), "speed": spaces.Box(-9, 9, (2,), np.float32)}
        )
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), {"time": self.time}

    def step(self, action):
        self.time += 1
        return self._observe(), float(self.time), self.time == 5, False, {"time": self.time}

    def _observe(self):
        return {"camera": self.np_random.integers(0, 256, (32, 32, 3), np.uint8), "speed": np.zeros(2, np.float32)}


@pytest.mark.parametrize("jpeg_encoding", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_what_minaris_own_collector_records_is_read(
    tmp_path: Path, jpeg_encoding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("jax", reason="the collector needs Minari's extra `create`")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    collector = minari.DataCollector(Corridor(), record_infos=True, jpeg_encoding=jpeg_encoding)
    for seed in range(2):
        collector.reset(seed=seed)
        for _ in range(5):
            collector.step(collector.action_space.sample())
    theirs = collector.create_dataset("collected/corridor-v0")
    for found, expected in zip(read_episodes(tmp_path / "collected" / "corridor-v0"), theirs, strict=True):
        np.testing.assert_array_equal(found.observations["camera"], expected.observations["camera"], strict=True)
        np.testing.assert_array_equal(found.actions, expected.actions, strict=True)
        assert found.terminations.tolist() == [False] * 4 + [True]
        assert found.infos["time"].tolist() == list(range(6))


# --- spaces -----------------------------------------------------------------------------------------------------------


def test_spaces_come_back_from_their_text() -> None:
    low = np.array([[-np.inf, 0], [1, 2]], np.float32)
    space = spaces.Dict(
        {"deep": spaces.Dict({"x": spaces.Box(low, low + 3)}), "image": spaces.Box(0, 255, (4, 5, 3), np.uint8)}
    )
    assert from_json(to_json(space)) == space
    assert list(leaves(space)) == ["deep/x", "image"]
    assert leaf({"deep": {"x": 1}}, "deep/x") == 1
    assert leaf({"deep/x": 2}, "deep/x") == 2
    assert leaves(spaces.Box(0, 1, (2,))).keys() == {SINGLE}


def test_our_text_is_minaris_text() -> None:
    serialization = pytest.importorskip("minari.serialization")
    space = spaces.Dict({"image": spaces.Box(0, 255, (2, 3, 1), np.uint8), "v": spaces.Box(-np.inf, 2.5, (2,))})
    assert to_json(space) == serialization.serialize_space(space)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected a space as JSON text, got None"),
        ("{", "expected a space as JSON text"),
        ('{"type": "Discrete", "n": 3}', "expected a Box or a Dict of Boxes, got 'Discrete'"),
        ('{"type": "Dict", "subspaces": {"a": 3}}', "expected a space, got 3"),
        ('{"type": "Box", "shape": [2, -1], "dtype": "uint8"}', "expected the shape of a Box"),
        ('{"type": "Box", "shape": [99999, 99999], "dtype": "uint8", "low": 0, "high": 1}', "at most"),
        ('{"type": "Box", "shape": [2], "dtype": "object", "low": 0, "high": 1}', "expected a Box of numbers"),
        ('{"type": "Box", "shape": [2], "dtype": "float32", "low": [0, 0, 0], "high": 1}', "expected bounds of a"),
        ('{"type": "Box", "shape": [2], "dtype": "float32", "low": NaN, "high": 1}', "low <= high"),
        ('{"type": "Box", "shape": [2], "dtype": "uint8", "low": 0, "high": 256}', "expected bounds of a uint8 Box"),
        ('{"type": "Dict", "subspaces": {"a": ' * 50_000, "without end|JSON text"),
    ],
)
def test_text_that_is_no_space_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(text)


# --- damage and malice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_format": "arrow"}, "data_format: expected hdf5, got 'arrow'"),
        ({"observation_space": None}, "observation_space: expected a space, got none"),
        ({"observation_space": '{"type": "Text"}'}, "observation_space: expected a Box or a Dict of Boxes, got 'Text'"),
        ({"action_space": '{"type": "Discrete"}'}, "action_space: expected a Box or a Dict"),
        ({"action_space": to_json(spaces.Box(0, 1, (2, 2)))}, "action_space: expected a Box of floats with one dim"),
        ({"dataset_id": 3}, "dataset_id: expected text, got 3"),
        ({"ref_min_score": 2.0}, "expected two different numbers"),
        ({"ref_min_score": float("nan")}, "expected two different numbers"),
    ],
)
def test_metadata_that_cannot_be_used_is_one_line(copy: Path, changes: dict, message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(UserError, match=f"data/metadata.json: .*{re.escape(message)}") as error:
        read_info(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "expected JSON"), (b"\xff", "expected JSON"), (b"[]", "expected an object"), (None, "expected this file")],
)
def test_a_metadata_file_that_is_none_is_one_line(copy: Path, content: bytes | None, message: str) -> None:
    path = copy / "data" / "metadata.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_info(copy)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data_dir: expected the folder of a Minari dataset, got nothing of that name"):
        read_info(tmp_path / "nothing-v0")


@pytest.mark.parametrize("content", [b"", b"not HDF5", "half"])
def test_a_file_that_is_truncated_or_something_else_is_one_line(copy: Path, content: bytes | str) -> None:
    path = copy / MAIN_FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "half" else content)
    with pytest.raises(UserError, match=r"main_data.hdf5: expected a whole HDF5 file, got: .+"):
        list(read_episodes(copy))
    path.unlink()
    with pytest.raises(UserError, match=r"main_data.hdf5: expected an HDF5 file, got none"):
        list(read_episodes(copy))


def with_array(copy: Path, name: str, make) -> None:
    with h5py.File(copy / MAIN_FILE, "a") as file:
        del file[name]
        make(file)


def secret(tmp_path: Path) -> Path:
    """A file that the dataset must not be able to show."""
    path = tmp_path / "secret.hdf5"
    with h5py.File(path, "w") as file:
        file["rewards"] = np.arange(10.0)
    return path


@pytest.mark.parametrize("kind", ["external link", "soft link", "external data", "virtual"])
def test_arrays_that_lie_elsewhere_are_never_opened(copy: Path, tmp_path: Path, kind: str) -> None:
    other, name = str(secret(tmp_path)), "episode_1/rewards"

    def make(file: h5py.File) -> None:
        if kind == "external link":
            file[name] = h5py.ExternalLink(other, "rewards")
        elif kind == "soft link":
            file[name] = h5py.SoftLink("/episode_0/rewards")
        elif kind == "external data":
            file.create_dataset(name, (10,), "f8", external=[(other, 0, 80)])
        else:
            layout = h5py.VirtualLayout((10,), "f8")
            layout[:] = h5py.VirtualSource(other, "rewards", (10,))
            file.create_virtual_dataset(name, layout)

    with_array(copy, name, make)
    with pytest.raises(UserError, match=r"episode_1: rewards: expected an array in this file, got .* never"):
        list(read_episodes(copy))


def test_a_link_to_an_episode_of_another_file_is_no_episode(copy: Path, tmp_path: Path) -> None:
    with_array(copy, "episode_1", lambda file: file.__setitem__("episode_1", h5py.ExternalLink("x.hdf5", "/")))
    assert len(list(read_episodes(copy))) == 3


def test_sizes_are_checked_before_anything_is_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes can declare an array of terabytes."""

    def huge(file: h5py.File) -> None:
        file.create_dataset("episode_0/rewards", (1 << 40,), "f8", chunks=(1 << 20,))
        del file["episode_0/actions"]
        file.create_dataset("episode_0/actions", (1 << 40, 2), "f4", chunks=(1 << 20, 2))

    with_array(copy, "episode_0/rewards", huge)
    with pytest.raises(UserError, match=r"actions: expected at most 2 GiB, got 8192.0"):
        list(read_episodes(copy))


def test_a_jpeg_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "someone" / "camera-v1"
    foreign(folder, np.zeros((4, 32, 32, 3), np.uint8), padded=False)
    bomb = encoded(np.zeros((32, 32, 3), np.uint8)).copy()
    start = bomb.tobytes().index(b"\xff\xc0") + 5
    bomb[start : start + 4] = 0xFF
    with h5py.File(folder / MAIN_FILE, "a") as file:
        file["episode_0/observations/camera"][2] = bomb
    with pytest.raises(UserError, match=r"expected a JPEG of \[32, 32, 3\] in row 2, got"):
        list(read_episodes(folder))
    with h5py.File(folder / MAIN_FILE, "a") as file:
        file["episode_0/observations/camera"][2] = np.frombuffer(b"\x89PNG not a jpeg", np.uint8)
    with pytest.raises(UserError, match="in row 2, got something else"):
        list(read_episodes(folder))


def test_numbers_that_are_objects_or_text_are_refused(copy: Path) -> None:
    with_array(copy, "episode_0/actions", lambda file: file.create_dataset("episode_0/actions", data=[["a", "b"]] * 10))
    with pytest.raises(UserError, match="actions: expected numbers, got object"):
        list(read_episodes(copy))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file, name: file.create_dataset(name, data=h5py.Empty("f8")), r"expected \[10\], got \[\]"),
        (lambda file, name: file.create_dataset(name, data=np.zeros(10, "f4,i4")), "expected numbers, got"),
        (lambda file, name: file.create_dataset(name, data=1.0), r"expected \[10\], got \[\]"),
        (lambda file, name: file.create_group(name), "expected an array, got a group"),
    ],
)
def test_arrays_of_odd_kinds_are_one_line(copy: Path, make, message: str) -> None:
    with_array(copy, "episode_0/rewards", lambda file: make(file, "episode_0/rewards"))
    with_array(copy, "episode_0/infos", lambda file: file.__setitem__("episode_0/infos", h5py.SoftLink("/episode_1")))
    with pytest.raises(UserError, match=f"episode_0: rewards: {message}"):
        list(read_episodes(copy))


def test_damaged_numbers_are_one_line(tmp_path: Path, tiny_info: DatasetInfo, tiny_episodes: list) -> None:
    folder = tmp_path / "drivelab" / "tiny-v0"
    black = {**tiny_episodes[0].observations, "image": np.zeros((11, 3, 16, 16), np.uint8)}
    write_dataset(folder, tiny_info, [replace(tiny_episodes[0], observations=black)])
    with h5py.File(folder / MAIN_FILE) as file:
        array = file["episode_0/observations/image"]
        offset = array.id.get_chunk_info(0).byte_offset
    content = bytearray((folder / MAIN_FILE).read_bytes())
    content[offset : offset + 8] = b"\xff" * 8
    (folder / MAIN_FILE).write_bytes(content)
    with pytest.raises(UserError, match="observations/image: expected numbers, got damaged ones"):
        list(read_episodes(folder))


def test_a_picture_in_rows_of_bytes_is_not_taken_for_pixels() -> None:
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        raw = file.create_dataset("raw", data=np.zeros((3, 8, 8, 3), np.uint8))
        rows = file.create_dataset("rows", data=np.zeros((3, 50), np.uint8))
        assert not jpeg.is_encoded(raw, (8, 8, 3))
        assert jpeg.is_encoded(rows, (8, 8, 3))
        assert not jpeg.is_encoded(rows, (50,)), "a vector of bytes"
        assert hdf5.read(raw, slice(1, 2)).shape == (1, 8, 8, 3)
