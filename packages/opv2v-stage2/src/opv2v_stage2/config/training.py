"""Settings of models and of training."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from drivelab_shared.settings import EngineSettings, require
from opv2v_stage2.config.data import LabelSettings
from opv2v_stage2.config.losses import LossSettings
from opv2v_stage2.config.names import CACHE_DIR, DATA_DIR, Modality


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
    stage1_steps: int = 200
    """Optimizer steps on single vehicles; 0 leaves the stage out."""
    stage2_steps: int = 110
    """Optimizer steps on cooperating vehicles; 0 leaves the stage out."""
    stage1_depth: Literal["auto", "dense", "lidar"] = "auto"
    """What stage 1 learns depth from; `auto`: dense truth where the data have it."""
    start_from: Path | None = None
    """A run, whose stage 1 is taken instead of training it."""
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
