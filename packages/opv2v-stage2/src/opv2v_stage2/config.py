"""Every setting of every verb. Nothing here imports torch, so `--help` is instant.

A field's name is its flag and its YAML key; the text under it is its help. Groups of the losses are files in
`configs/loss`: `loss=depth loss.scale_distill_weight=0.1`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from drivelab_shared.settings import EngineSettings, require

DATA_DIR = Path("data/opv2v-stage2")
CACHE_DIR = Path("runs/opv2v-stage2/cache")

Split = Literal["train", "validate", "test", "test_culvercity"]
Modality = Literal["images_only", "calibrated_sfm", "rig", "gps", "posed_sfm"]
"""What the model is given beside pictures, each with all before it: nothing; intrinsics; where the cameras sit on
their vehicle; a noisy pose of each vehicle; true poses (an upper bound, never a result)."""
Mode = Literal["single", "coop"]
PosePairs = Literal["all", "cross", "intra"]


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


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What reconstructs: the compact model of this package, or an installed MapAnything."""

    kind: Literal["compact", "mapanything"] = "compact"
    """`mapanything` imports the package of that name, which has to be installed by hand."""
    path: Path | None = None
    """Local folder of MapAnything's weights; nothing is ever downloaded."""
    height: int = 72
    """Height of a picture as the model sees it, a multiple of 8 (compact) or 14 (mapanything)."""
    width: int = 96
    """Width of it."""
    channels: int = 96
    """Width of the compact model's tokens."""
    layers: int = 4
    """Its transformer layers, alternating within a picture and across all of them."""
    heads: int = 4
    """Attention heads of each."""
    pose_search: bool = True
    """Look for the pose of the other vehicles around what GPS says, by comparing what both see of the ground plan."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, more time."""

    def __post_init__(self) -> None:
        patch = 14 if self.kind == "mapanything" else 8
        for name in ("height", "width"):
            value = getattr(self, name)
            require(value >= patch and value % patch == 0, f"model.{name}", f"a multiple of {patch}", value)
        for name in ("channels", "layers", "heads"):
            require(getattr(self, name) >= 1, f"model.{name}", "a number >= 1", getattr(self, name))
        require(self.channels % self.heads == 0, "model.channels", "a multiple of model.heads", self.channels)


@dataclass(frozen=True, kw_only=True)
class HeightSettings:
    """What becomes of unlabelled pixels that the model puts above `z_max`."""

    mode: Literal["mask", "depth", "off"] = "mask"
    """`mask`: their validity falls, their depth stays. `depth`: their depth is pulled down, as the request has it, and
    makes a false ceiling at z_max."""
    weight: float = 0.03
    """The request's lambda_height."""
    z_max: float = 4.0
    """Metres above the ground."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "loss.height.weight", "a number >= 0", self.weight)
        require(self.z_max > 0, "loss.height.z_max", "a number > 0", self.z_max)


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The terms of the loss and their weights. Files in configs/loss set several at once."""

    depth_weight: float = 1.0
    """Of the depth term."""
    depth_form: Literal["log_ray", "l1"] = "log_ray"
    """`log_ray`: robust difference of log ray depths, a mean per picture. `l1`: metres of z depth, pooled over the
    batch, as the request has it."""
    mask_aware: bool = True
    """Only pixels with a label count. False: pixels without one count as depth 0, the complaint that began it all."""
    range_balance: bool = True
    """Weigh labels by the inverse frequency of their range, so that the near ones do not outvote the rest."""
    min_labels: int = 8
    """Pictures with fewer labels are left out."""
    confidence_weight: float = 0.0
    """Above 0, the depth term is weighed by the model's confidence, which is clamped to [1, 20]."""

    mask: Literal["tri_state", "upstream", "off"] = "tri_state"
    """How validity is taught. `tri_state`: labels are valid, sky is not, the rest is ignored. `upstream`: MapAnything's
    rule, for which the zeros of a sparse map are valid, sky included."""
    mask_weight: float = 0.3
    """Of the validity term."""
    negatives: Literal["teacher", "colour", "truth"] = "teacher"
    """Where stage 2 knows sky from: the validity of the model of stage 1, blue and bright pixels above the horizon, or
    the truth of made-up data. A teacher that does not exist is replaced by `colour`."""
    height: HeightSettings = field(default_factory=HeightSettings)

    scale_weight: float = 0.1
    """Of MapAnything's own scale term: the scale factor against the mean distance of the labels."""
    scale_distill_weight: float = 0.1
    """Of the scale distillation in stage 2; needs a teacher."""
    scale_distill_temperature: float = 0.1
    """Where its Huber loss goes from square to linear, in log units: the larger, the more an outlier counts."""
    scale_distill_form: Literal["effective", "literal"] = "effective"
    """`effective`: the size of each vehicle's cloud, which does not depend on how scale and shape are split. `literal`:
    |scale factor - teacher's|."""
    scale_distill_detach: bool = True
    """Only the scale factor is pushed; the shape is left to the other terms."""
    lidar_anchor: bool = True
    """Correct the teacher's scale by the median of what the lidar says first."""
    distill_local_weight: float = 0.3
    """Within the distillation, of depths relative to the size of the cloud."""
    distill_pose_weight: float = 0.1
    """Within the distillation, of relative poses of one vehicle's cameras."""

    pose_weight: float = 0.3
    """Of relative camera poses within a vehicle."""
    coop_consistency_weight: float = 0.3
    """Of relative poses between vehicles; stage 2 only, and only where there are two."""
    pose_pairs: Literal["rig", "views"] = "rig"
    """Compare the poses of whole vehicles, or those of every pair of pictures."""
    pose_relative: Literal["inv_i_j", "i_inv_j"] = "inv_i_j"
    """`inv_i_j`: inverse(P_i) P_j, right for camera-to-world poses. `i_inv_j`: the request's P_i inverse(P_j), whose
    error grows with the distance from the origin."""
    pose_target: Literal["truth", "prior"] = "truth"
    """`prior`: only ask that poses stay within three standard deviations of what GPS says."""
    pose_normalise_m: float = 5.0
    """Translations count relative to their true length, or to this many metres where that is shorter."""
    box_weight: float = 0.0
    """Of the distance between points and the surfaces of the vehicle boxes they lie on."""

    def __post_init__(self) -> None:
        names = [name for name in self.__dataclass_fields__ if name.endswith("_weight")]
        for name in (*names, "min_labels"):
            require(getattr(self, name) >= 0, f"loss.{name}", "a number >= 0", getattr(self, name))
        for name in ("scale_distill_temperature", "pose_normalise_m"):
            require(getattr(self, name) > 0, f"loss.{name}", "a number > 0", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class TrainSettings(EngineSettings):
    """Stage 1: single vehicles, dense depth where there is any. Stage 2: cooperating vehicles, lidar only."""

    data_dir: Path = DATA_DIR
    """Folder with train, validate, test. If it does not exist, the default data are made there first."""
    skip_invalid: bool = False
    """Go on without what check-data rejects, and list it."""
    run_dir: Path | None = None
    """Folder of this run; default: runs/opv2v-stage2/<time>."""
    cache_dir: Path = CACHE_DIR
    """Small pictures, labels and the teacher's answers, keyed by everything they depend on. Safe to delete."""

    model: ModelSettings = field(default_factory=ModelSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    loss: LossSettings = field(default_factory=LossSettings)

    modality: Modality = "gps"
    """What the model is given beside pictures."""
    gps_noise_m: float = 2.0
    """Training draws the noise of GPS positions up to this standard deviation; it is told to the model."""
    gps_noise_deg: float = 2.0
    """The same of its yaw."""
    stage1_steps: int = 250
    """Optimizer steps on single vehicles; 0 leaves the stage out."""
    stage2_steps: int = 150
    """Optimizer steps on cooperating vehicles; 0 leaves the stage out."""
    stage1_depth: Literal["auto", "dense", "lidar"] = "auto"
    """What stage 1 learns depth from; `auto`: dense truth where the data have it."""
    start_from: Path | None = None
    """A run, whose stage 1 is taken instead of training it; or a MapAnything checkpoint."""
    num_agents: int = 2
    """Vehicles in a sample of stage 2: the main one and its nearest. Their pictures are never mixed with others'."""
    single_share: float = 0.0
    """Share of the samples of stage 2 that have one vehicle only."""
    curriculum: bool = True
    """Stage 2 begins with vehicles that are near each other and reaches the distant ones half-way."""
    teacher: Literal["none", "stage1", "pretrained", "privileged", "ema"] = "stage1"
    """Who is distilled in stage 2. `pretrained`: the model of teacher_path. `privileged`: the model of stage 1, shown
    true poses. `ema`: a running mean of the student."""
    teacher_path: Path | None = None
    """A run whose newest stage is the teacher, for `pretrained`."""

    lr: float = 2e-3
    """Learning rate of stage 1 at the start; falls to 0 with a cosine."""
    stage2_lr: float = 1e-3
    """The same of stage 2."""
    encoder_lr_share: float = 1.0
    """Learning rate of the picture encoder as a share of the rest's."""
    weight_decay: float = 0.01
    """Of AdamW."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 turns clipping off."""
    batch_size: int = 4
    """Vehicles per step, over all processes: a cooperative sample of two counts as two."""
    eval_every: int = 100
    """Optimizer steps between two validations."""
    evaluate: bool = True
    """Evaluate on the test split at the end, and write report.html and results.json."""
    eval_frames: int = 24
    """Frames of that evaluation; 0 means all."""
    eval_noise_m: tuple[float, ...] = (0.0, 0.6, 2.0)
    """Noise of GPS at which it measures poses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gps_noise_m", "gps_noise_deg", "eval_frames"):
            require(getattr(self, name) >= 0, name, "a number >= 0", getattr(self, name))
        for name in ("stage1_steps", "stage2_steps", "weight_decay", "clip_norm"):
            require(getattr(self, name) >= 0, name, "a number >= 0", getattr(self, name))
        for name in ("lr", "stage2_lr", "encoder_lr_share"):
            require(getattr(self, name) > 0, name, "a number > 0", getattr(self, name))
        for name in ("batch_size", "eval_every"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
        require(self.num_agents >= 2, "num_agents", "a number >= 2", self.num_agents)
        require(self.batch_size % self.num_agents == 0, "batch_size", "a multiple of num_agents", self.batch_size)
        require(0 <= self.single_share <= 1, "single_share", "0 to 1", self.single_share)
        has_prior = self.modality in ("gps", "posed_sfm")
        wanted = "truth where the modality has no poses"
        require(has_prior or self.loss.pose_target == "truth", "loss.pose_target", wanted, self.loss.pose_target)
        given = self.teacher == "pretrained"
        require(
            given == (self.teacher_path is not None), "teacher_path", "with teacher pretrained only", self.teacher_path
        )


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
class AblateSettings:
    """Add the losses one by one on the same stage 1, and compare them on the same frames."""

    suite: Literal["losses", "noise", "negatives", "sparsity"] = "losses"
    """`losses`: zeros in the loss, +mask, +height (both forms), +distillation, +consistency, +boxes. `noise`: with and
    without consistency and pose search over GPS noise and distance. `negatives`: where sky is known from. `sparsity`:
    shares of labelled pixels."""
    data_dir: Path = DATA_DIR
    """Folder of the data set; the default data are made there first if it does not exist."""
    config: str = "best"
    """Recipe that all rows share."""
    stage1_steps: int | None = None
    """Of every run; None means as in the recipe."""
    stage2_steps: int | None = None
    """Of every run; None means as in the recipe."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training run per row and seed."""
    jobs: int = 1
    """Training runs at the same time."""
    output_dir: Path = Path("runs/opv2v-stage2/ablate")
    """Runs and results. Runs that are already finished there are kept, so an interrupted suite goes on."""
    cache_dir: Path = CACHE_DIR
    """As in train."""
    num_bootstrap: int = 1000
    """Resamplings of scenarios and seeds behind each 95 % interval."""
    threads: int = 1
    """CPU threads of each training run."""

    def __post_init__(self) -> None:
        require(len(self.seeds) > 0, "seeds", "at least one number", self.seeds)
        for name in ("jobs", "num_bootstrap"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))


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


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Ratios of CPU time, interleaved in one run."""

    data_dir: Path = DATA_DIR
    """Folder of the data set; the default data are made there first if it does not exist."""
    cache_dir: Path = CACHE_DIR
    """As in train."""
    suite: Literal["training", "clouds", "data", "all"] = "all"
    """`training`: steps without a teacher, with a cached and with a live one. `clouds`: Chamfer and BEV against plain
    versions. `data`: projection of the lidar, readers, the renderer."""
    repeats: int = 7
    """Interleaved repetitions; the spread over them is printed."""
    output_dir: Path = Path("runs/opv2v-stage2/bench")
    """Where results.json goes."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random."""

    def __post_init__(self) -> None:
        require(self.repeats >= 2, "repeats", "a number >= 2", self.repeats)
