"""The environments of our datasets, registered with gymnasium when this is imported.

A dataset stores the whole EnvSpec, so its environment is found again wherever this package is installed, imported or
not. An environment that changes what it does or shows gets a new version.
"""

import gymnasium

REACHER = "drivelab/ReacherDistractor-v0"
CAR_RACING = "drivelab/CarRacingState-v0"
HIGHWAY = "drivelab/HighwayRacetrack-v0"

# Their own tests run gymnasium's checker, which would be asked at every step of every episode.
gymnasium.register(
    REACHER, "lapo_mm.envs.reacher:ReacherDistractor", kwargs={"max_steps": 50}, disable_env_checker=True
)
gymnasium.register(
    CAR_RACING, "lapo_mm.envs.car_racing:CarRacingState", kwargs={"max_steps": 300}, disable_env_checker=True
)
gymnasium.register(
    HIGHWAY, "lapo_mm.envs.highway:HighwayRacetrack", kwargs={"max_steps": 100}, disable_env_checker=True
)
