"""The environment behind a dataset: found again by its id, and never by an entry point from somebody else's file."""

import json
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from drivelab_shared.errors import UserError
from lapo_mm.data.episodes import DatasetInfo
from lapo_mm.data.recover import recover_environment


def info_of(tiny_info: DatasetInfo, env: gymnasium.Env, **changes: object) -> DatasetInfo:
    return replace(tiny_info, env_spec=json.dumps(json.loads(env.spec.to_json()) | changes))


@pytest.fixture
def pendulum() -> gymnasium.Env:
    return gymnasium.make("Pendulum-v1", g=3.0, max_episode_steps=7)


def test_an_environment_comes_back_with_arguments_wrappers_and_length(tiny_info, pendulum: gymnasium.Env) -> None:
    info = info_of(tiny_info, gymnasium.wrappers.FlattenObservation(pendulum))
    env = recover_environment(info)
    assert isinstance(env, gymnasium.wrappers.FlattenObservation)
    assert env.unwrapped.g == 3.0
    env.reset(seed=0)
    assert [env.step(env.action_space.sample())[3] for _ in range(7)] == [False] * 6 + [True]
    assert recover_environment(info, g=5.0).unwrapped.g == 5.0
    assert recover_environment(info).unwrapped.g == 3.0


def test_the_same_seed_gives_the_same_episode(tiny_info: DatasetInfo, pendulum: gymnasium.Env) -> None:
    info = info_of(tiny_info, pendulum)
    first, second = (recover_environment(info).reset(seed=4)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_fields_that_older_versions_wrote_do_not_matter(tiny_info: DatasetInfo, pendulum: gymnasium.Env) -> None:
    info = info_of(tiny_info, pendulum, autoreset=False, apply_api_compatibility=False, order_enforce=True)
    assert recover_environment(info).unwrapped.g == 3.0


def test_an_entry_point_from_the_file_is_never_called(tiny_info, pendulum: gymnasium.Env, tmp_path: Path) -> None:
    attack = {"entry_point": "pathlib:Path.touch", "vector_entry_point": "os:system"}
    env = recover_environment(info_of(tiny_info, pendulum, **attack))
    assert type(env.unwrapped).__name__ == "PendulumEnv"
    with pytest.raises(UserError, match="Mine-v0, which is not registered"):
        recover_environment(
            info_of(tiny_info, pendulum, id="Mine-v0", entry_point="os:mkdir", kwargs={"path": str(tmp_path / "made")})
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "entry_point",
    ["os:system", "gymnasium.wrappers.rendering:RecordVideo", "gymnasium.wrappers.x:load_env_creator", "os:TimeLimit"],
)
def test_wrappers_that_are_not_gymnasiums_or_write_files_are_not_made(tiny_info, pendulum, entry_point: str) -> None:
    wrapper = {"name": "FlattenObservation", "entry_point": entry_point, "kwargs": {}}
    with pytest.raises(UserError, match=f"got: {entry_point}, and only Gymnasium's wrappers that write no files"):
        recover_environment(info_of(tiny_info, pendulum, additional_wrappers=[wrapper]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "Pendulun-v1"}, "Pendulun-v1, which is not registered; did you mean 'Pendulum-v1'?"),
        ({"id": None}, "None, which is not registered; install or import what registers it"),
        ({"kwargs": {"gravity": 3}}, "unexpected keyword argument 'gravity'"),
        ({"kwargs": [1]}, "expected an environment that can be made here, got: "),
        ({"max_episode_steps": "many"}, "expected an environment that can be made here, got: "),
        ({"additional_wrappers": [3]}, "expected an environment that can be made here, got: "),
    ],
)
def test_what_cannot_be_made_is_one_line(tiny_info, pendulum, changes: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        recover_environment(info_of(tiny_info, pendulum, **changes))
    assert message in str(error.value)
    assert str(error.value).startswith(
        "drivelab/tiny-v0: env_spec: expected an environment that can be made here, got: "
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "3", "[]", '{"kwargs": {}}'])
def test_text_that_describes_no_environment_is_one_line(tiny_info: DatasetInfo, text: str) -> None:
    with pytest.raises(UserError, match=r"expected an environment that can be made here, got: ."):
        recover_environment(replace(tiny_info, env_spec=text))


def test_a_dataset_without_an_environment_says_so(tiny_info: DatasetInfo) -> None:
    with pytest.raises(UserError, match="tiny-v0: env_spec: expected an environment, got none"):
        recover_environment(tiny_info)
