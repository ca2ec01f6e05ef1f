"""Every setting of every verb. Nothing here imports torch, so `--help` is instant.

A field's name is its flag and its YAML key; the text under it is its help. The defaults are the `best` recipe;
`configs/*.yaml` say where `quick`, `full` and `original` differ from it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from drivelab_shared.settings import EngineSettings, SweepSettings, require

DATA_DIR = Path("data/latent-predictor")

Label = Literal["auto", "state", "visual"]


@dataclass(frozen=True, kw_only=True)
class MakeDataSettings:
    """Drive CarRacing with scripted drivers, or turn a dashcam video into a trajectory."""

    data_dir: Path = DATA_DIR
    """Folder that receives `traj<N>_64x64.npz` and `splits.json`. Existing trajectories are never overwritten."""
    view: Literal["road", "top"] = "road"
    """`road`: forward camera drawn from the simulator's track. `top`: the simulator's own picture (about 8x slower)."""
    video: Path | None = None
    """Import this video as one unlabelled trajectory instead of driving the simulator."""
    rate_hz: float = 12.5
    """Frame rate that an imported video is resampled to. The simulator always records 12.5 Hz."""
    num_trajectories: int = 100
    """Drives to record: 70 % for training, 10 % for validation, 20 % for test."""
    num_frames: int = 250
    """Frames per drive (20 s at 12.5 Hz)."""
    workers: int = 0
    """Processes that drive at the same time; 0 means one per core. The files do not depend on it."""
    seed: int = 0
    """Drive N is a pure function of (seed, N)."""

    def __post_init__(self) -> None:
        require(self.num_trajectories >= 3, "num_trajectories", "at least 3, one per split", self.num_trajectories)
        require(self.num_frames >= 2, "num_frames", "at least 2", self.num_frames)
        require(self.rate_hz > 0, "rate_hz", "a number > 0", self.rate_hz)
        require(self.workers >= 0, "workers", "a number >= 0", self.workers)


@dataclass(frozen=True, kw_only=True)
class CheckDataSettings:
    """List every problem of a folder of trajectories at once. Exit code 2 where there is one."""

    data_dir: Path = DATA_DIR
    """Folder of trajectories."""
    npz_files: tuple[str, ...] = ()
    """Only these files of it; empty means all."""
    min_frames: int = 31
    """Shortest usable trajectory: 10 real frames, 20 imagined ones and one more."""
    report: Path | None = None
    """Write the contact sheet and the tables to this HTML file; default: `check.html` beside the data."""
    skip_invalid: bool = False
    """Exit with 0 if something usable is left, listing what is left out."""


@dataclass(frozen=True, kw_only=True)
class VaeSettings:
    """The frame autoencoder: 64x64x3 -> latent_dim x 4 x 4."""

    latent_dim: int = 64
    """Channels of the 4x4 latent: 64 means 1,024 values, 12 times fewer than the picture."""
    widths: tuple[int, int, int] = (24, 48, 96)
    """Channels of the three convolutions between the picture and the latent."""
    kl_weight: float = 0.02
    """Weight of the KL term, summed over the latent, against the squared error, summed over the picture."""
    epochs: int = 5
    """Passes over the training frames."""
    batch_size: int = 64
    """Frames per optimizer step, over all processes."""
    lr: float = 1e-3
    """Learning rate of AdamW at the start; falls to 0 along a cosine."""

    def __post_init__(self) -> None:
        require(self.latent_dim >= 1, "latent_dim", "a number >= 1", self.latent_dim)
        require(self.epochs >= 1, "vae.epochs", "a number >= 1", self.epochs)


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """The frozen lane classifier of the loss, the two judges that no loss ever sees, and the state oracle."""

    classifier_epochs: int = 8
    """Passes of the latent classifier that the loss may use (judge a)."""
    latent_epochs: int = 8
    """Passes of the independent latent classifier (judge b), trained with latent noise of std 0.1."""
    pixel_epochs: int = 5
    """Passes of the classifier of pictures (judge c), which reads decoded predictions."""
    oracle_steps: int = 1500
    """Optimizer steps of the state oracle; 0 leaves its row out."""
    batch_size: int = 128
    """Frames per optimizer step, over all processes."""
    lr: float = 1e-3
    """Learning rate of AdamW at the start; falls to 0 along a cosine."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings(EngineSettings):
    """Train VAE, frozen lane classifier and predictor; each stage is cached and resumed on its own."""

    data_dir: Path = DATA_DIR
    """Folder of trajectories. If it does not exist, the default data are made there first."""
    npz_files: tuple[str, ...] = ()
    """Only these files of it; empty means all."""
    labels: Label = "auto"
    """`state`: the file's own labels. `visual`: derived from the picture. `auto`: the file's where it has them."""
    skip_invalid: bool = False
    """Go on without the trajectories that check-data rejects, and list them."""
    run_dir: Path | None = None
    """Folder of this run; default: runs/latent-predictor/<time>."""
    save_dir: Path | None = None
    """Also write the predictor to <save_dir>/best_model.pt, a plain state dict, with its config.json beside it."""
    cache_dir: Path = Path("runs/latent-predictor/cache")
    """Converted frames, latents and finished stages, keyed by everything they depend on. Safe to delete."""

    vae_model_path: Annotated[Path | None, tyro.conf.arg(aliases=["--vae_path"])] = None
    """Use this VAE (a run, an exported folder, or a state dict) instead of training one."""
    classifier_path: Path | None = None
    """Use this latent classifier in the loss instead of training one."""
    predictor_path: Path | None = None
    """Start from this predictor (fine-tuning; the request uses lr 5e-5)."""

    predictor: Literal["lstm"] = "lstm"
    """Which predictor."""
    hidden_size: int = 256
    """Units of the recurrent layer."""
    bottleneck: int = 128
    """Linear layer with LayerNorm between latent and LSTM; 0 feeds the latent itself."""
    dropout: float = 0.1
    """After the bottleneck."""
    use_actions: bool = True
    """False trains the no-action twin."""
    action_conditioning: Literal["film", "concat", "none"] = "film"
    """`concat`: beside the latent. `film`: the same, and a scale and shift of the LSTM's output."""
    action_embedding: int = 64
    """Width of the embedded action; 0 uses the action's own values."""
    standardise_actions: bool = True
    """Actions enter with mean 0 and std 1 of the training split."""
    whiten_latents: bool = True
    """Latents enter, and errors count, in standard deviations of the training split, per dimension."""
    residual_prediction: bool = True
    """Predict the change of the latent instead of the latent."""
    zero_init_head: bool = True
    """Start with a head that outputs 0: with residual_prediction, training starts from copy-last."""

    forced_steps: int = 8
    """Transitions at the start of a training window that read the real latent (teacher forcing)."""
    open_loop_steps: int = 16
    """Transitions after them that read the prediction before; gradients flow through all of them."""
    window_stride: int = 4
    """Frames between the starts of two training windows."""
    scheduled_sampling: bool = False
    """In the forced steps, feed the own prediction with a probability that rises from 0 ..."""
    scheduled_sampling_max: float = 0.5
    """... linearly to this one at the last step."""
    input_noise_std: float = 0.1
    """Gaussian noise on every input latent while training, in the units of the input (see whiten_latents)."""
    target_jitter_scale: float = 0.0
    """Gaussian noise on every target latent while training, in the same units."""

    lambda_cls: float = 0.5
    """Weight of the frozen classifier's cross entropy beside the MSE. 0 turns it off."""
    classifier_noise: float = 1.5
    """Noise on what the classifier of the loss reads, in its training and in the loss, in units of the VAE's posterior
    std. The decoder was trained with this noise, so without it the loss can write what no picture shows."""
    lr: float = 1e-3
    """Learning rate of Adam at the start."""
    lr_schedule: Literal["constant", "cosine", "step"] = "cosine"
    """`cosine` falls to 0, `step` divides by 10 after 60 % and again after 85 % of the steps."""
    batch_size: int = 16
    """Windows per optimizer step, over all processes."""
    epochs: int = 11
    """Passes over the training windows."""
    steps: int | None = None
    """Optimizer steps of the predictor; overrides epochs."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 turns clipping off."""
    select: str = ""
    """Return the epoch with the best such validation figure (`pixel_accuracy`, `accuracy_h10`), not the last one."""
    twin: bool = True
    """Also train the no-action twin, the row that shows whether actions are used."""

    vae: VaeSettings = field(default_factory=VaeSettings)
    judges: JudgeSettings = field(default_factory=JudgeSettings)
    evaluate: bool = True
    """Evaluate on the test split at the end, and write report.html and results.json."""

    stage_seed: int = 0
    """Of VAE, classifier and judges, so that runs with different seeds can share them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "lambda_cls",
            "classifier_noise",
            "input_noise_std",
            "target_jitter_scale",
            "clip_norm",
            "dropout",
        ):
            require(getattr(self, name) >= 0, name, "a number >= 0", getattr(self, name))
        for name in ("hidden_size", "batch_size", "epochs", "window_stride", "forced_steps"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
        require(self.stage_seed >= 0, "stage_seed", "a number >= 0", self.stage_seed)
        require(self.lr > 0, "lr", "a number > 0", self.lr)
        require(self.open_loop_steps >= 0, "open_loop_steps", "a number >= 0", self.open_loop_steps)
        require(0 <= self.scheduled_sampling_max <= 1, "scheduled_sampling_max", "0 to 1", self.scheduled_sampling_max)
        require(self.steps is None or self.steps >= 1, "steps", "a number >= 1", self.steps)

    @property
    def window(self) -> int:
        """Transitions in a training window."""
        return self.forced_steps + self.open_loop_steps

    @property
    def conditioning(self) -> str:
        """The conditioning in force: none where actions are switched off."""
        return self.action_conditioning if self.use_actions else "none"


@dataclass(frozen=True, kw_only=True)
class RunReader:
    """What every verb that reads a finished run shares."""

    run_dir: Path | None = None
    """The run; default: the newest finished one below runs/latent-predictor."""
    data_dir: Path | None = None
    """Folder of trajectories; default: the one the run was trained on."""
    npz_files: tuple[str, ...] = ()
    """Only these files of it; empty means the run's."""
    split: Literal["test", "val", "train", "all"] = "test"
    """Which trajectories."""
    skip_invalid: bool = False
    """Go on without the trajectories that check-data rejects, and list them."""
    output_dir: Path | None = None
    """Where the results go; default: a folder of the verb's name inside the run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random here: swapped actions, bootstrap, samples."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(RunReader):
    """Imagine from 10 real frames and let three judges read the lane, horizon by horizon, beside the baselines."""

    vae_model_path: Annotated[Path | None, tyro.conf.arg(aliases=["--vae_path"])] = None
    """Use this VAE instead of the run's."""
    classifier_path: Path | None = None
    """Use this latent classifier (judge a) instead of the run's."""
    predictor_path: Path | None = None
    """Evaluate this predictor instead of the run's."""
    horizons: tuple[int, ...] = (1, 5, 10, 20)
    """Steps into the imagined future."""
    context: int = 10
    """Real frames before it."""
    window_stride: int = 10
    """Frames between the starts of two windows."""
    num_bootstrap: int = 1000
    """Resamplings of test trajectories behind each 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class AblateSettings(SweepSettings):
    """Train and compare several recipes on the same data with the same judges."""

    suite: Literal["recipes", "lambda", "parts"] = "recipes"
    """`recipes`: best against the request's. `lambda`: lambda_cls on both. `parts`: best without one part each."""
    data_dir: Path = DATA_DIR
    """Folder of trajectories; made first if it does not exist."""
    budget: Literal["best", "quick"] = "best"
    """Config that every recipe starts from: `best` for figures, `quick` to try the command."""
    epochs: int | None = None
    """Epochs of the recipes that start from `budget`; None means as in that config. The request's keeps its own."""
    output_dir: Path = Path("runs/latent-predictor/ablate")
    """Runs and results. Runs that are already finished there are kept, so an interrupted suite goes on."""
    cache_dir: Path = Path("runs/latent-predictor/cache")
    """As in train."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseSettings(RunReader):
    """Look inside: reconstruction, latent statistics, error growth, t-SNE, action sensitivity."""

    num_windows: int = 200
    """Windows behind t-SNE and error growth."""
    steps: int = 20
    """Imagined steps."""


@dataclass(frozen=True, kw_only=True)
class PredictSettings(RunReader):
    """Imagine the future of one trajectory: picture strip, mp4 and npz."""

    trajectory: str | None = None
    """File of the data folder, or a path; default: the first test trajectory."""
    start: int = 0
    """First real frame."""
    context: int = 10
    """Real frames before the imagined ones."""
    steps: int = 20
    """Imagined steps."""
    actions: Literal["recorded", "left", "right", "straight"] = "recorded"
    """The drive's own actions, or a constant steering instead."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Write weights, settings and normalisers as one folder without pickles."""

    run_dir: Path | None = None
    """The run; default: the newest finished one below runs/latent-predictor."""
    output_dir: Path | None = None
    """Where to; default: `export` inside the run."""
    onnx: bool = False
    """Also write encoder, decoder and one predictor step as ONNX, checked against torch (extra `export`)."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Ratios of frames per CPU-second against the request's loop, interleaved in one run."""

    data_dir: Path = DATA_DIR
    """Folder of trajectories; made first if it does not exist."""
    run_dir: Path | None = None
    """Run whose VAE and judges are used; default: the newest finished one."""
    suite: Literal["training", "imagination", "memory", "data", "all"] = "all"
    """`memory` trains on 1x and 4x the data and compares the peak of anonymous memory."""
    repeats: int = 5
    """Interleaved repetitions; the spread over them is printed."""
    transitions: int = 60_000
    """Transitions that each training loop sees in the quality comparison."""
    output_dir: Path = Path("runs/latent-predictor/bench")
    """Where results.json goes."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random."""
