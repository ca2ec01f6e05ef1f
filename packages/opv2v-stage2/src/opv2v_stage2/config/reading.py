"""Settings of the verbs that read a finished run, or clouds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drivelab_shared.settings import require
from opv2v_stage2.config.names import Modality, Mode, Split


@dataclass(frozen=True, kw_only=True)
class RunReader:
    """What every verb that reads a finished run shares."""

    run_dir: Path | None = None
    """The run; default: the newest finished one below runs/opv2v-stage2."""
    data_dir: Path | None = None
    """Folder of the data set; default: the one the run was trained on."""
    split: Split = "test"
    """Which scenarios."""
    skip_invalid: bool = False
    """Go on without what check-data rejects, and list it."""
    output_dir: Path | None = None
    """Where the results go; default: a folder of the verb's name inside the run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random here: frames, GPS noise, subsamples, bootstrap."""


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """How clouds are cropped and compared. Heights are above the ground, in the frame of the main lidar."""

    pc_filter_z_min: float = -1.0
    """Lower end of the height window, metres above the ground."""
    pc_filter_z_max: float = 4.2
    """Upper end."""
    pc_filter_radius: float = 120.0
    """Points further than this from the main lidar are left out, metres."""
    pc_bev_range: float = 120.0
    """Half the side of the square that is compared from above, metres."""
    pc_bev_resolution: float = 0.5
    """Side of its cells, metres."""
    pc_voxel: float = 0.2
    """Both clouds are thinned to one point per cube of this side, metres."""

    def __post_init__(self) -> None:
        for name in ("pc_filter_radius", "pc_bev_range", "pc_bev_resolution", "pc_voxel"):
            require(getattr(self, name) > 0, name, "a number > 0", getattr(self, name))
        window = (self.pc_filter_z_min, self.pc_filter_z_max)
        require(window[0] < window[1], "pc_filter_z_max", f"more than pc_filter_z_min {window[0]}", window[1])


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(RunReader, CloudSettings):
    """Measure depth, poses, scale and clouds, one vehicle and several; takes the flags of batch_eval.py."""

    sample_size: int = 0
    """So many frames, drawn with `seed`; 0 means all."""
    frames_json: Path | None = None
    """A frame list with its hash; overrides sample_size. One is always written beside the results."""
    images_root: Path | None = None
    """Another name of data_dir."""
    depth_root: Path | None = None
    """Projected lidar as <split>/<sequence>/<agent>/<frame>_<camera>_depth.npy, instead of projecting it here."""
    output_root: Path | None = None
    """Another name of output_dir."""
    models: tuple[str, ...] = ()
    """NAME=PATH of runs to compare, such as pretrain=..., stage1=..., stage2=...; default: both stages of the run."""
    model_filter: tuple[str, ...] = ()
    """Only models of these names."""
    modes: tuple[Mode, ...] = ("single", "coop")
    """One vehicle, or the main one with its nearest."""
    model_task: Modality | None = None
    """What the models are given beside pictures; default: as trained."""
    keep_camera_poses: bool = False
    """Give the true poses of all cameras: leaks what is measured, an upper bound."""
    keep_main_agent_poses: bool = False
    """Give the true poses of the main vehicle's cameras."""
    pose_noise_m: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 1.0, 2.0)
    """Standard deviations of GPS at which cross-vehicle poses are measured; degrees of yaw noise equal metres."""
    table_noise_m: float = 0.6
    """The one of the tables and CSVs."""
    save_representative: bool = False
    """Also write clouds of the best, median and worst frame."""
    pc_metrics: bool = False
    """Also compare clouds with the lidar: Chamfer, F-score, BEV."""
    pc_save_dir: Path | None = None
    """Write every cloud to <pc_save_dir>/<model>/<mode>/<sequence>_<frame>.npy, with frame and axes beside it."""
    pc_cache_dir: Path | None = None
    """Compare the clouds that are saved there and run no model: the request's recompute_pc_metrics.py."""
    force: bool = False
    """Overwrite results that were measured on other frames."""
    num_bootstrap: int = 1000
    """Resamplings of scenarios behind each 95 % interval."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, number in (("sample_size", 0), ("num_bootstrap", 1)):
            require(getattr(self, name) >= number, name, f"a number >= {number}", getattr(self, name))
        require(len(self.modes) > 0, "modes", "single, coop or both", self.modes)
        is_fine = all(noise >= 0 for noise in self.pose_noise_m)
        require(is_fine and len(self.pose_noise_m) > 0, "pose_noise_m", "numbers >= 0", self.pose_noise_m)
        for model in self.models:
            name, equals, path = model.partition("=")
            require(bool(name and equals and path), "models", "NAME=PATH", model)
        both = self.images_root is not None and self.data_dir is not None and self.images_root != self.data_dir
        require(not both, "images_root", "the same as data_dir, or none", self.images_root)


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """Filter predicted clouds and compare them with measured ones; takes the flags of filter_pointcloud.py."""

    pred: tuple[Path, ...] = ()
    """Predicted clouds, .npy, .pcd or .ply; several of one scene are frames that vote."""
    gt: tuple[Path, ...] = ()
    """Measured clouds, one for each."""
    pair_list: Path | None = None
    """CSV with the columns pred and gt, instead of these two."""
    z_min: float = -1.0
    """Lower end of the height window, metres above the ground."""
    z_max: float = 4.2
    """Upper end."""
    radius_max: float = 120.0
    """Points further than this from the lidar are left out, metres."""
    camera_yaml: tuple[Path, ...] = ()
    """Frame YAMLs whose cameras must see a point for it to stay."""
    min_visible_views: int = 1
    """In so many pictures of the camera_yaml files; 0 does not ask."""
    lidar_view: bool = True
    """Crop both clouds to what the lidar can see, -25 to 2 degrees."""
    vote_voxel: float = 0.4
    """Side of the cubes in which frames vote, metres."""
    vote_min_frames: int = 1
    """Frames that must have a point in a cube for its points to stay; 1 turns the vote off."""
    save_filtered: Path | None = None
    """Folder that receives the filtered clouds as PCD."""
    bev_range: float = 120.0
    """Half the side of the square that is compared from above, metres."""
    bev_resolution: float = 0.5
    """Side of its cells, metres."""
    voxel: float = 0.2
    """Both clouds are thinned to one point per cube of this side before they are compared, metres; 0 does not."""
    ground_z: float | None = None
    """Height of the ground in the frame of the clouds; default: as their sidecars say, -1.93 for PCD. Old caches, which
    have no sidecar, need it."""
    output_dir: Path = Path("runs/opv2v-stage2/filter")
    """Where results.json, the table and the picture go."""

    def __post_init__(self) -> None:
        require(self.z_min < self.z_max, "z_max", f"more than z_min {self.z_min}", self.z_max)
        for name in ("radius_max", "bev_range", "bev_resolution", "vote_voxel"):
            require(getattr(self, name) > 0, name, "a number > 0", getattr(self, name))
        for name, number in (("min_visible_views", 0), ("vote_min_frames", 1), ("voxel", 0)):
            require(getattr(self, name) >= number, name, f"a number >= {number}", getattr(self, name))
        has_pairs = self.pair_list is not None
        require(has_pairs != bool(self.pred), "pred", "clouds, or a pair_list", self.pred or "neither")
        has_cameras = self.min_visible_views <= 1 or bool(self.camera_yaml)
        require(has_cameras, "camera_yaml", f"files with {self.min_visible_views} cameras or more", "none")
        is_even = not self.gt or len(self.gt) == len(self.pred)
        require(is_even, "gt", f"as many clouds as pred, {len(self.pred)}", len(self.gt))


@dataclass(frozen=True, kw_only=True)
class DiagnoseSettings(RunReader):
    """Check conventions on the data, gauges on the model and losses, and draw where points float."""

    num_frames: int = 4
    """Frames that are drawn."""

    def __post_init__(self) -> None:
        require(self.num_frames >= 1, "num_frames", "a number >= 1", self.num_frames)


@dataclass(frozen=True, kw_only=True)
class PredictSettings(RunReader):
    """Reconstruct frames: coloured PLY, a viewer in one HTML file, and a picture from above."""

    frames: tuple[str, ...] = ()
    """SCENARIO/FRAME of each; default: the first `num_frames` of the split."""
    num_frames: int = 2
    """How many, where none are named."""
    num_agents: int = 0
    """Vehicles in each: 1 is the main one alone, 0 all that are there."""
    main_agent: str = ""
    """Name of the main vehicle; default: the first one."""
    stage: Literal["stage1", "stage2"] = "stage2"
    """Which of the run's models."""
    gps_noise_m: float = 0.0
    """Standard deviation that is added to the GPS of the files; degrees of yaw noise equal metres."""
    min_validity: float = 0.5
    """Points that are less likely to be valid than this are left out."""
    viewer: Literal["html", "viser"] = "html"
    """`html`: our own viewer. `viser`: viser's, which needs the extra of that name."""

    def __post_init__(self) -> None:
        for name in ("num_agents", "gps_noise_m"):
            require(getattr(self, name) >= 0, name, "a number >= 0", getattr(self, name))
        require(self.num_frames >= 1, "num_frames", "a number >= 1", self.num_frames)
        require(0 <= self.min_validity <= 1, "min_validity", "0 to 1", self.min_validity)


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Write a folder without pickles from which the model reconstructs without this package's training code."""

    run_dir: Path | None = None
    """The run; default: the newest finished one below runs/opv2v-stage2."""
    output_dir: Path | None = None
    """Where the folder goes; default: `export` inside the run."""
    stage: Literal["stage1", "stage2"] = "stage2"
    """Which of the run's models."""
    onnx: bool = False
    """Also write the network of one vehicle's pictures as ONNX (extra `export`)."""
