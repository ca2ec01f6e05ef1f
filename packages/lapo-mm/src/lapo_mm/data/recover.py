"""The environment that a dataset was recorded in, made again from what its metadata say.

They are somebody else's text, and an entry point in them could name any function of any installed package, to be
called with any arguments. So entry points are ignored: what is registered here under the id is made, with the arguments
and wrappers of the text, and only with wrappers that are Gymnasium's own and write no files. An environment of one's
own is registered by importing its module, or by its package through the entry point group `gymnasium.envs`.
"""

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec, WrapperSpec

import lapo_mm.envs  # noqa: F401 - registers our own
from drivelab_shared.errors import UserError, nearest
from lapo_mm.data.episodes import DatasetInfo

_OWN_WRAPPER = re.compile(r"gymnasium\.wrappers\.[a-z_]+:(?P<name>[A-Za-z]+)")
_ALLOWED_WRAPPERS = set(wrappers.__all__) - {"RecordVideo"}


def recover_environment(info: DatasetInfo, **changes: Any) -> gymnasium.Env:
    """A fresh environment, as the dataset's was. `changes` go to its constructor.

    Raises:
        UserError: nobody knows the environment, or it cannot be made here.
    """
    source = f"{info.dataset_id}: env_spec"
    if info.env_spec is None:
        raise UserError(f"{source}: expected an environment, got none: the dataset does not say where it is from")
    try:
        return gymnasium.make(_registered(json.loads(info.env_spec)), disable_env_checker=True, **changes)
    except UserError:
        raise
    except Exception as error:  # constructors are other people's code, called with other people's arguments
        found = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{source}: expected an environment that can be made here, got: {found}") from error


def _registered(description: Mapping[str, Any]) -> EnvSpec:
    """What is registered here under the id, with the dataset's arguments, length of episodes and wrappers.

    Raises:
        ValueError: it is not registered, or has wrappers that are not made.
    """
    name = str(description["id"])
    if name not in gymnasium.registry:
        hint = nearest(name, gymnasium.registry) or "; install or import what registers it"
        raise ValueError(f"{name}, which is not registered{hint}")
    spec = copy.deepcopy(gymnasium.registry[name])
    spec.kwargs = {**spec.kwargs, **(description.get("kwargs") or {})}
    spec.max_episode_steps = description.get("max_episode_steps", spec.max_episode_steps)
    spec.additional_wrappers = tuple(map(_wrapper, description.get("additional_wrappers") or ()))
    return spec


def _wrapper(description: Mapping[str, Any]) -> WrapperSpec:
    match = _OWN_WRAPPER.fullmatch(str(description["entry_point"]))
    if match is None or match["name"] not in _ALLOWED_WRAPPERS:
        raise ValueError(f"{description['entry_point']}, and only Gymnasium's wrappers that write no files are made")
    return WrapperSpec(match["name"], match[0], description["kwargs"])
