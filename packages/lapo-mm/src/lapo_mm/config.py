"""Every setting of every verb. Nothing here imports torch, so `--help` is instant.

A field's name is its flag and its YAML key; the text under it is its help. `configs/*.yaml` say where `quick`, `best`,
`full` and `original` differ from the defaults.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from drivelab_shared.settings import EngineSettings, SweepSettings, require

DATA_DIR = Path("data/drivelab/reacher-distractor-mixed-v0")
CACHE_DIR = Path("runs/lapo-mm/cache")

Modality = Literal["image", "state", "lidar"]
Wiring = Literal["critic", "vae", "both", "separate", "none"]
Algorithm = Literal["lapo", "bc", "td3bc", "iql"]


@dataclass(frozen=True, kw_only=True)
class MakeDataSettings:
    """Let scripted behaviours act in an environment and record them, or import a dataset, as a Minari dataset."""

    data_dir: Path = DATA_DIR
    """Folder of the dataset: `<root>/[namespace/]<name>-v<number>`. One that exists is never overwritten."""
    dataset: Literal["reacher-distractor-mixed", "carracing-mixed", "highway-racetrack"] = "reacher-distractor-mixed"
    """`reacher-distractor-mixed`: image + state, behaviour switches within episodes. `carracing-mixed`: image + state
    of a racing car, drivers of mixed quality. `highway-racetrack`: image + state + lidar."""
    source: Path | None = None
    """Import this instead: a D4RL-style HDF5 file, or a folder of npz files, one per episode."""
    num_episodes: int | None = None
    """Episodes to record; None means as many as the dataset is meant to have (460 of 50 steps for the default)."""
    reference_episodes: int = 1000
    """Episodes of the random and of the expert policy behind the two ends of the normalised score; at most 50 for
    `carracing-mixed` and 10 for `highway-racetrack`, where steps take long."""
    workers: int = 0
    """Processes that act at the same time; 0 means one per core. The files do not depend on it."""
    seed: int = 0
    """Episode N is a pure function of (seed, N)."""

    def __post_init__(self) -> None:
        few = self.num_episodes
        require(few is None or few >= 2, "num_episodes", "at least 2, one per split", few)
        require(self.reference_episodes >= 2, "reference_episodes", "at least 2", self.reference_episodes)
        require(self.workers >= 0, "workers", "a number >= 0", self.workers)


@dataclass(frozen=True, kw_only=True)
class CheckDataSettings:
    """List every problem of a dataset at once. Exit code 2 where there is an error."""

    data_dir: Path = DATA_DIR
    """Folder of the dataset."""
    modalities: tuple[Modality, ...] = ()
    """Only these; empty means all there are."""
    val_share: float = 0.13
    """Share of the episodes kept for validation."""
    report: Path | None = None
    """Write tables and pictures to this HTML file; default: `check.html` beside the data."""
    skip_invalid: bool = False
    """Exit with 0 if something usable is left, listing what is left out."""

    def __post_init__(self) -> None:
        require(0 < self.val_share < 1, "val_share", "a number between 0 and 1", self.val_share)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What turns an observation into features."""

    channels: tuple[int, ...] = (16, 32, 32)
    """Channels of the image's convolutions, 3x3 with stride 2."""
    image_features: int = 64
    """Features of the image."""
    state_features: int = 32
    """Features of the state vector, beside the standardised vector itself."""
    lidar_features: int = 32
    """Features of the lidar."""
    lidar: Literal["mlp", "cnn"] = "cnn"
    """`cnn` convolves around the circle, where neighbouring beams see neighbouring things."""
    fusion: Literal["concat", "sum", "gated"] = "concat"
    """How modalities join. `concat`: side by side. `sum`: projected to one width and added. `gated`: added with weights
    that depend on what is seen."""
    shift_px: int = 0
    """Random shift of training images, in pixels to each side, edges repeated. 0 turns it off."""
    modality_dropout: float = 0.0
    """Probability that a training sample loses one of its modalities, so that the policy survives a broken sensor."""

    def __post_init__(self) -> None:
        require(len(self.channels) >= 1, "encoder.channels", "at least one layer", self.channels)
        for name in ("image_features", "state_features", "lidar_features"):
            require(getattr(self, name) >= 1, f"encoder.{name}", "a number >= 1", getattr(self, name))
        require(self.shift_px >= 0, "encoder.shift_px", "a number >= 0", self.shift_px)
        require(0 <= self.modality_dropout < 1, "encoder.modality_dropout", "0 to 1", self.modality_dropout)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(EngineSettings):
    """Train a policy from a fixed dataset; the defaults are LAPO with the encoder trained by the critic."""

    data_dir: Path = DATA_DIR
    """Folder of a Minari dataset. If it does not exist, the default data are made there first."""
    modalities: tuple[Modality, ...] = ()
    """Only these; empty means all there are. `state` alone is the blind reference."""
    val_share: float = 0.13
    """Share of the episodes kept for validation."""
    skip_invalid: bool = False
    """Go on without the episodes that check-data rejects, and list them."""
    run_dir: Path | None = None
    """Folder of this run; default: runs/lapo-mm/<time>."""
    cache_dir: Path = CACHE_DIR
    """The dataset as flat arrays that are mapped into memory, keyed by its content. Safe to delete."""

    algorithm: Algorithm = "lapo"
    """`bc` clones, `td3bc` and `iql` are baselines on the same encoder and data."""
    wiring: Wiring = "critic"
    """Who trains the encoder. `critic`: the critic's loss; VAE and policy see detached features. `vae`: the VAE's loss
    (the request's bug). `both`: the sum of the two. `separate`: one encoder for each. `none`: nobody."""
    top_share: float = 1.0
    """Train on this share of the episodes only, the ones with the highest return (0.25 makes `bc` the usual %BC)."""

    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Layers of every head."""
    latent_size: int | None = None
    """Of the action VAE; None means twice the action's."""
    max_latent_action: float = 2.0
    """The latent policy stays within this many standard deviations of the prior."""
    bounded_decoder: bool = True
    """Decoded actions stay in the action box (tanh); False is the released code's linear output."""

    critic_lr: float = 3e-4
    """Learning rate of the critic, and of the encoder where the critic trains it."""
    vae_lr: float = 3e-4
    """Learning rate of the action VAE, and of the encoder where the VAE trains it."""
    actor_lr: float = 3e-4
    """Learning rate of the latent policy."""
    kl_beta: float = 1.0
    """Weight of the KL term of the action VAE."""
    tau: float = 0.005
    """Share of the online networks in each update of the targets."""
    gamma: float = 0.95
    """Discount per step."""
    weighting: Literal["expectile", "exp"] = "expectile"
    """How the VAE weighs actions by their advantage: in two steps (the released code), or exponentially (the paper)."""
    expectile: float = 0.9
    """Weight of actions with a positive advantage; the others get the rest. IQL's expectile, too."""
    temperature: float = 0.1
    """Of `exp`: weight exp(advantage / temperature), in units of the scaled reward, at most 100."""
    doubleq_min: float = 1.0
    """Share of the smaller of the two Q values in their mix; the rest is the larger one's."""
    reward_scale: Literal["range", "max_abs", "none"] = "range"
    """`range`: rewards / (max - min). `max_abs`: rewards / max |reward|. Both keep the sign of negative rewards."""
    td3bc_alpha: float = 2.5
    """Weight of the value against cloning in `td3bc`."""
    iql_expectile: float = 0.7
    """Of IQL's value function."""
    iql_beta: float = 3.0
    """Inverse temperature of IQL's policy, in standard deviations of the advantage."""

    batch_size: int = 128
    """Transitions per step, over all processes."""
    steps: int = 2000
    """Gradient steps."""
    compile: bool = False
    """Compile the networks with torch.compile; worth it on GPUs and long trainings."""
    eval_every: int = 500
    """Steps between two evaluations during training: rollouts where the environment can be recovered."""
    eval_episodes: int = 50
    """Episodes of each."""
    final_episodes: int = 100
    """Episodes of the evaluation at the end, other ones than during training."""
    evaluate: bool = True
    """Evaluate at the end, and write report.html and results.json."""
    baselines: tuple[str, ...] = ()
    """Rows that are trained beside it with the same budget and shown in the report: `blind`, `vae`, `bc`, `bc25`,
    `td3bc`, `iql`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("critic_lr", "vae_lr", "actor_lr", "temperature", "max_latent_action", "td3bc_alpha", "iql_beta"):
            require(getattr(self, name) > 0, name, "a number > 0", getattr(self, name))
        for name in ("tau", "top_share"):
            require(0 < getattr(self, name) <= 1, name, "above 0, up to 1", getattr(self, name))
        for name in ("gamma", "expectile", "iql_expectile", "val_share"):
            require(0 < getattr(self, name) < 1, name, "a number between 0 and 1", getattr(self, name))
        require(0 <= self.doubleq_min <= 1, "doubleq_min", "0 to 1", self.doubleq_min)
        require(self.kl_beta >= 0, "kl_beta", "a number >= 0", self.kl_beta)
        for name in ("batch_size", "steps", "eval_every", "eval_episodes", "final_episodes"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
        require(self.latent_size is None or self.latent_size >= 1, "latent_size", "a number >= 1", self.latent_size)
        require(len(self.hidden_sizes) >= 1, "hidden_sizes", "at least one layer", self.hidden_sizes)
        unknown = [name for name in self.baselines if name not in BASELINES]
        require(not unknown, "baselines", f"some of {', '.join(BASELINES)}", ", ".join(unknown))


BASELINES = ("blind", "vae", "bc", "bc25", "td3bc", "iql")


@dataclass(frozen=True, kw_only=True)
class RunReader:
    """What every verb that reads a finished run shares."""

    run_dir: Path | None = None
    """The run; default: the newest finished one below runs/lapo-mm."""
    data_dir: Path | None = None
    """Folder of the dataset; default: the one the run was trained on."""
    skip_invalid: bool = False
    """Go on without the episodes that check-data rejects, and list them."""
    output_dir: Path | None = None
    """Where the results go; default: a folder of the verb's name inside the run."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `mps`."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random here: episodes, samples, bootstrap."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(RunReader):
    """Roll the policy out, and compare its Q values with what really came of them."""

    num_episodes: int = 100
    """Episodes, the same ones for every policy."""
    num_q_samples: int = 200
    """Held-out pairs of state and action behind the Q error; 0 leaves it out."""
    q_horizon: int = 80
    """Steps whose discounted rewards count as the truth of a Q value."""
    fqe_steps: int = 0
    """Steps of fitted-Q evaluation, which needs no environment; 0 runs it only where there is none (2,000 steps)."""
    num_videos: int = 3
    """Episodes shown as moving pictures."""
    num_bootstrap: int = 1000
    """Resamplings of episodes behind each 95 % interval."""

    def __post_init__(self) -> None:
        for name in ("num_episodes", "q_horizon", "num_bootstrap"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
        for name in ("num_q_samples", "fqe_steps", "num_videos"):
            require(getattr(self, name) >= 0, name, "a number >= 0", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class AblateSettings(SweepSettings):
    """Train and compare wirings, baselines or settings on the same data."""

    suite: Literal["wirings", "best", "retune", "parts", "carracing"] = "wirings"
    """`wirings`: five wirings, the blind ceiling and four baselines, 2,000 steps. `best`: the same with the tuned
    recipe. `retune`: critic_lr, kl_beta and tau after the fix. `parts`: augmentation, decoder, weighting, fusion.
    `carracing`: LAPO, BC and %BC on the second dataset."""
    data_dir: Path = DATA_DIR
    """Folder of the dataset; the default data are made there first if it does not exist."""
    carracing_data_dir: Path = Path("data/drivelab/carracing-mixed-v0")
    """The same for `carracing`."""
    steps: int | None = None
    """Gradient steps of every run; None means as in the recipe."""
    output_dir: Path = Path("runs/lapo-mm/ablate")
    """Runs and results. Runs that are already finished there are kept, so an interrupted suite goes on."""
    cache_dir: Path = CACHE_DIR
    """As in train."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseSettings:
    """Prove who trains what: the declared contract against the real training step. Exit code 1 on a violation."""

    run_dir: Path | None = None
    """Check the networks of this run; default: the newest finished one, or fresh networks where there is none."""
    data_dir: Path | None = None
    """Folder of the dataset; default: the one the run was trained on, or that of train; noise where that is gone."""
    skip_invalid: bool = False
    """Go on without the episodes that check-data rejects, and list them."""
    wiring: Wiring | None = None
    """Check fresh networks of this wiring instead of a run."""
    num_steps: int = 3
    """Training steps that are watched: momentum shows from the second."""
    batch_size: int = 64
    """Transitions per step."""
    self_test: bool = False
    """Inject every known fault and require that each is found and that the correct wirings are clean."""
    output_dir: Path | None = None
    """Where the results go; default: `diagnose` inside the run, runs/lapo-mm/diagnose or runs/lapo-mm/self-test."""
    device: str = "cpu"
    """`auto`, `cpu`, `cuda`, `mps`."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random."""

    def __post_init__(self) -> None:
        require(self.num_steps >= 3, "num_steps", "at least 3", self.num_steps)
        require(self.batch_size >= 32, "batch_size", "at least 32: in fewer, a ReLU may be dead", self.batch_size)
        alone = self.run_dir is None or self.wiring is None
        require(alone, "wiring", "none beside run_dir, whose networks have theirs", self.wiring)


@dataclass(frozen=True, kw_only=True)
class PredictSettings(RunReader):
    """Roll the policy out and write what it saw and did: video, actions, rewards."""

    num_episodes: int = 3
    """Episodes."""
    scale: int = 8
    """How many times the image is magnified in the video."""

    def __post_init__(self) -> None:
        for name in ("num_episodes", "scale"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Write a folder without pickles from which the policy acts without this package's training code or the data."""

    run_dir: Path | None = None
    """The run; default: the newest finished one below runs/lapo-mm."""
    output_dir: Path | None = None
    """Where to; default: `export` inside the run."""
    onnx: bool = False
    """Also write the policy as ONNX, checked against torch (extra `export`)."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Ratios of CPU time, interleaved in one run."""

    data_dir: Path = DATA_DIR
    """Folder of the dataset; the default data are made there first if it does not exist."""
    suite: Literal["step", "data", "all"] = "all"
    """`step`: our gradient step against a plain one, each improvement by itself. `data`: batches and environments."""
    batch_size: int = 256
    """Transitions per step."""
    steps: int = 10
    """Steps of each variant per repetition."""
    repeats: int = 7
    """Interleaved repetitions; the spread over them is printed."""
    output_dir: Path = Path("runs/lapo-mm/bench")
    """Where results.json goes."""
    threads: int = 1
    """CPU threads of torch."""
    seed: int = 0
    """Of everything drawn at random."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "repeats"):
            require(getattr(self, name) >= 1, name, "a number >= 1", getattr(self, name))
