"""Settings of making and checking data, and of labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drivelab_shared.settings import require
from opv2v_stage2.config.names import DATA_DIR


@dataclass(frozen=True, kw_only=True)
class MakeDataSettings:
    """Render streets as two or three vehicles with four cameras and a lidar see them, in the layout of OPV2V."""

    data_dir: Path = DATA_DIR
    """Folder that receives train, validate and test, and dense depth beside them in `truth`. Data that are there are
    never overwritten."""
    num_scenarios: tuple[int, int, int] = (36, 6, 18)
    """Scenarios for train, validate and test. Among those of test is the motorway of the request's worst frame."""
    num_frames: int = 4
    """Recorded moments of each scenario, `frame_step` apart."""
    frame_step: int = 10
    """Steps of 0.1 s between recorded moments; frame ids count the steps."""
    size: str = "200x150"
    """Pictures, WIDTHxHEIGHT; 800x600 is the real size. Intrinsics scale with it."""
    gps_noise_m: float = 0.05
    """Standard deviation of the written GNSS positions, along x and y."""
    gps_noise_deg: float = 0.1
    """Standard deviation of the written GNSS yaw."""
    pcd: Literal["ascii", "binary", "binary_compressed"] = "ascii"
    """Form of the point clouds; ascii is the real one."""
    truth: bool = True
    """Also write dense depth and labels, which real data lack."""
    workers: int = 0
    """Processes that render at the same time; 0 means one per core. The files do not depend on it."""
    seed: int = 0
    """A scenario is a pure function of the seed, its split and its number there."""

    def __post_init__(self) -> None:
        require(all(count >= 1 for count in self.num_scenarios), "num_scenarios", "numbers >= 1", self.num_scenarios)
        for name in ("num_frames", "frame_step"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
        width, height = parse_size(self.size)
        is_four_to_three = 3 * width == 4 * height and width >= 64
        require(is_four_to_three, "size", "WIDTHxHEIGHT at 4:3, such as 200x150 or 800x600", self.size)
        for name in ("gps_noise_m", "gps_noise_deg", "workers", "seed"):
            require(getattr(self, name) >= 0, name, "a number >= 0", getattr(self, name))


def parse_size(size: str) -> tuple[int, int]:
    """Width and height of WIDTHxHEIGHT; zeros where it is something else."""
    width, _, height = size.partition("x")
    return (int(width), int(height)) if width.isdigit() and height.isdigit() else (0, 0)


@dataclass(frozen=True, kw_only=True)
class CheckDataSettings:
    """List every problem of a data set at once. Exit code 2 where there is an error."""

    data_dir: Path = DATA_DIR
    """Folder with train, validate, test; or one of these; or one scenario."""
    report: Path | None = None
    """Write tables and pictures to this HTML file; default: `check.html` beside the data."""
    num_pictures: int = 2
    """Agents of each split whose lidar is projected into their cameras for the report."""
    skip_invalid: bool = False
    """Exit with 0 if something usable is left, listing what is left out."""

    def __post_init__(self) -> None:
        require(self.num_pictures >= 0, "num_pictures", "a number >= 0", self.num_pictures)


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How lidar points become depth labels, at the size that the model sees."""

    coverage: float = 0.03
    """Largest share of a picture's pixels that keep a label: at small sizes nearly every pixel would have one, and the
    question of sparse labels would be gone. 1 keeps all."""
    occlusion_window_px: int = 9
    """Points that lie behind a nearer one in this neighbourhood are not visible from the camera."""
    occlusion_ratio: float = 0.15
    """How much further than the nearest one a point may be, as a share of its depth, ..."""
    occlusion_m: float = 0.3
    """... plus metres."""
    own_body_m: float = 2.5
    """Points closer to the lidar than this are the vehicle itself."""

    def __post_init__(self) -> None:
        require(0 < self.coverage <= 1, "labels.coverage", "above 0, up to 1", self.coverage)
        window = self.occlusion_window_px
        require(window >= 1 and window % 2 == 1, "labels.occlusion_window_px", "an odd number", window)
        for name in ("occlusion_ratio", "occlusion_m", "own_body_m"):
            require(getattr(self, name) >= 0, f"labels.{name}", "a number >= 0", getattr(self, name))
