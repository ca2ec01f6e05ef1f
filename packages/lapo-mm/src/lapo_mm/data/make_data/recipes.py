"""The datasets that can be made here: which environment, whose behaviour, how much of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pkgutil import resolve_name

import gymnasium

from lapo_mm import envs
from lapo_mm.data.make_data.behaviour import Behaviour


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one of them is made."""

    env_id: str
    behaviour: str
    """`module:class`; imported when somebody acts, because the environments need extras."""
    num_episodes: int
    max_reference_episodes: int
    """Where a step takes long, fewer episodes than asked for are behind the references."""
    description: str

    @property
    def modes(self) -> tuple[str, ...]:
        """Names of the behaviour's modes."""
        return tuple(self.behaviour_class().MODES)

    def behaviour_class(self) -> type[Behaviour]:
        """Who acts."""
        return resolve_name(f"lapo_mm.data.make_data.{self.behaviour}")


RECIPES: Mapping[str, Recipe] = {
    "reacher-distractor-mixed": Recipe(
        env_id=envs.REACHER,
        behaviour="reacher:ReacherBehaviour",
        num_episodes=460,
        max_reference_episodes=100_000,
        description="A two-link arm and two discs, which only the picture shows. The behaviour switches at random "
        "moments between reaching for the target, reaching for the other disc, and coloured noise.",
    ),
    "carracing-mixed": Recipe(
        env_id=envs.CAR_RACING,
        behaviour="car_racing:CarRacingBehaviour",
        num_episodes=100,
        max_reference_episodes=50,
        description="A racing car on a new track in every episode, its picture from above and its proprioception. The "
        "driver switches at random moments between an expert's, slow, swerving and reckless driving.",
    ),
    "highway-racetrack": Recipe(
        env_id=envs.HIGHWAY,
        behaviour="highway:HighwayBehaviour",
        num_episodes=24,
        max_reference_episodes=10,
        description="A race track with other cars, by picture, own motion and lidar. The driver switches at random "
        "moments between an expert's, slow and careless driving.",
    ),
}


@lru_cache(maxsize=1)
def environment(name: str) -> gymnasium.Env:
    """The environment of a dataset, made once per process: an episode depends on its seed alone.

    Raises:
        UserError: the extra that it needs is not installed.
    """
    return gymnasium.make(RECIPES[name].env_id)
