import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from drivelab_shared.errors import UserError
from drivelab_shared.settings import SweepSettings, changes, dump, load, parse, setting


@dataclass(frozen=True, kw_only=True)
class Height:
    """Penalty of points above the road."""

    weight: float = 0
    """Weight of the penalty."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Weights of the loss."""

    name: Literal["plain", "depth"] = "plain"
    """Which loss."""
    scale_distill_weight: float = 0.5
    """Weight of the distilled scale."""
    mask_aware: bool = False
    """Leave empty pixels out."""
    height: Height = field(default_factory=Height)

    def __post_init__(self):
        if self.scale_distill_weight < 0:
            raise ValueError(f"scale_distill_weight: expected a number >= 0, got {self.scale_distill_weight}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Train something."""

    data: str = "drive"
    """Name of the data."""
    folder: Path = Path("runs")
    """Where results go."""
    vae_model_path: Annotated[Path | None, tyro.conf.arg(aliases=["--vae_path"])] = None
    """Use this VAE."""
    npz_files: tuple[str, ...] = ()
    """Only these files."""
    tags: tuple[str, ...] | None = None
    """Words to find the run by."""
    widths: tuple[int, int, int] = (24, 48, 96)
    """Channels, layer by layer."""
    crops: tuple[tuple[float, float], ...] = ()
    """Corners of crops."""
    use_actions: bool = True
    """Read the actions."""
    freeze_backbone: bool = setting(False, env="FREEZE_BACKBONE")
    """Train the head only."""
    scales: tuple[float, ...] = setting((1.0,), env="SCALES")
    """Sizes of the picture."""
    lambda_cls: float = 0.1
    """Weight of the classifier."""
    lr: float = 1e-3
    """Learning rate."""
    epochs: int = 5
    """Passes over the data."""
    warmup: int = 0
    """Passes before the full learning rate."""
    steps: int | None = None
    """Optimizer steps; overrides epochs."""
    note: str | None = None
    """Free text."""
    predictor: Literal["lstm", "gru"] = "lstm"
    """Which predictor."""
    loss: Loss = field(default_factory=lambda: Loss(mask_aware=True))
    resume: str | None = setting(None, bare="latest")
    """Continue a run."""

    def __post_init__(self):
        if self.lr <= 0:
            raise ValueError(f"lr: expected a number > 0, got {self.lr}")
        if self.warmup > self.epochs:
            raise ValueError(f"warmup: expected at most epochs ({self.epochs}), got {self.warmup}")


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A package's configs, with the current directory beside them."""
    folder = tmp_path / "configs"
    (folder / "loss").mkdir(parents=True)
    (folder / "quick.yaml").write_text("epochs: 2\n")
    (folder / "full.yaml").write_text("epochs: 200\nlr: 1e-4\n")
    (folder / "loss/depth.yaml").write_text("lambda_cls: 0\nloss: {name: depth, scale_distill_weight: 0.1}\n")
    (folder / "loss/plain.yaml").write_text("loss: {name: plain}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FREEZE_BACKBONE", raising=False)
    monkeypatch.delenv("SCALES", raising=False)
    return folder


@pytest.fixture
def read(configs):
    """Settings that a command line amounts to."""
    return lambda *arguments, **options: parse(Settings, arguments, prog="x train", configs=configs, **options)


@pytest.fixture
def message(read):
    """The line that a command line is refused with."""

    def refused(*arguments):
        with pytest.raises(UserError) as caught:
            read(*arguments)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refused


def write(text):
    Path("lane.yaml").write_text(text)
    return "lane.yaml"


# The three spellings


def test_flags_accept_underscores_dashes_and_equals_signs(read):
    for flags in (["--lambda_cls", "0.5"], ["--lambda-cls", "0.5"], ["--lambda_cls=0.5"], ["--lambda-cls=0.5"]):
        assert read(*flags).lambda_cls == 0.5


def test_switches_can_be_turned_on_and_off(read):
    assert read("--use_actions").use_actions is True
    assert read("--no_use_actions").use_actions is False
    assert read("--no-use-actions").use_actions is False
    assert read("--loss.no_mask_aware").loss.mask_aware is False


def test_a_setting_can_be_given_by_its_dotted_name(read):
    settings = read("loss.scale_distill_weight=0.1", "loss.height.weight=2", "lambda-cls=3", "widths=[1,2,3]")
    assert (settings.loss.scale_distill_weight, settings.loss.height.weight) == (0.1, 2)
    assert (settings.lambda_cls, settings.widths) == (3, (1, 2, 3))
    assert read("loss.height={weight: 4}").loss.height == Height(weight=4)


def test_a_dotted_name_takes_the_words_of_yaml(read):
    settings = read("use_actions=false", "steps=null", "note=None", "loss.mask_aware=0")
    assert (settings.use_actions, settings.steps, settings.note) == (False, None, None)
    assert settings.loss.mask_aware is False


def test_a_group_overlays_its_file(read):
    settings = read("loss=depth")
    assert settings.loss == Loss(name="depth", scale_distill_weight=0.1, mask_aware=True)
    assert settings.lambda_cls == 0


def test_a_name_without_a_folder_is_no_group(read):
    assert read("predictor=gru").predictor == "gru"


def test_several_values_follow_one_flag(read):
    assert read("--npz_files", "a.npz", "b.npz", "--epochs", "3").npz_files == ("a.npz", "b.npz")
    assert read("--widths", "1", "2", "3", "loss=depth").widths == (1, 2, 3)
    assert read("--tags", "a=1", "b=2").tags == read("tags=[a=1, b=2]").tags == ("a=1", "b=2")


def test_a_list_that_is_given_again_goes_on(read):
    assert read("--tags", "a", "b", "--lr", "1", "--tags=c", "--tags", "d").tags == ("a", "b", "c", "d")
    assert read("--npz_files=a=1.npz", "--npz-files", "b.npz", "lr=1").npz_files == ("a=1.npz", "b.npz")
    assert read("--crops", "1", "2", "--crops", "3", "4").crops == ((1, 2), (3, 4))
    assert read("tags=[x]", "--tags", "a", "--tags", "b").tags == ("a", "b")


def test_a_list_of_fixed_length_is_replaced_by_its_last_mention(read):
    assert read("--widths", "1", "2", "3", "--widths", "4", "5", "6").widths == (4, 5, 6)


def test_a_list_ends_where_a_setting_is_assigned(read):
    settings = read("--npz_files", "lr=1.npz", "x=2.npz", "lr=0.1", "loss=depth")
    assert settings.npz_files == ("lr=1.npz", "x=2.npz")
    assert (settings.lr, settings.loss.name) == (0.1, "depth")


def test_the_value_of_a_flag_may_look_like_an_assignment(read):
    assert read("--data", "a=b").data == "a=b"
    assert read("--data=a=b").data == "a=b"
    assert read("--data", "lr=3").data == "lr=3"
    assert read("--vae_path", "a=b", "--lr", "1").vae_model_path == Path("a=b")


def test_an_alias_is_known_in_every_spelling(read):
    for flag in ("--vae_path", "--vae-path", "--vae_model_path", "--vae-model-path"):
        assert read(flag, "a=b/c.pt").vae_model_path == Path("a=b/c.pt")
        assert read(f"{flag}=a=b").vae_model_path == Path("a=b")


def test_a_flag_with_a_bare_value_can_stand_alone(read):
    assert read().resume is None
    assert read("--resume").resume == "latest"
    assert read("--resume", "--lr", "1").resume == "latest"
    assert read("--resume", "runs/a").resume == "runs/a"
    assert read("--resume=runs/a=b").resume == "runs/a=b"
    settings = read("--resume", "loss=depth")
    assert (settings.resume, settings.loss.name) == ("latest", "depth")


def test_numbers_may_be_negative(read):
    assert read("--crops", "-1", "2", "3", "4e-1").crops == read("crops=[[-1, 2], [3, .4]]").crops
    assert read("--loss.height.weight", "-1e-3").loss.height.weight == -0.001


# Precedence


def test_later_overlays_win_and_groups_count_in_the_given_order(read):
    write("lambda_cls: 7\nepochs: 3\n")
    assert read("--config", "lane.yaml", "loss=depth").lambda_cls == 0
    assert read("loss=depth", "--config", "lane.yaml").lambda_cls == 7
    assert read("--config=full", "--config", "lane.yaml").epochs == 3
    assert read("--config", "lane.yaml", "--config=full").epochs == 200


def test_the_environment_beats_files_and_the_command_line_beats_both(read, monkeypatch):
    file = write("freeze_backbone: true\nscales: [3]\n")
    monkeypatch.setenv("FREEZE_BACKBONE", "false")
    monkeypatch.setenv("SCALES", "[0.5, 1]")
    settings = read("--config", file)
    assert (settings.freeze_backbone, settings.scales) == (False, (0.5, 1.0))
    assert read("--config", file, "--freeze_backbone").freeze_backbone is True
    assert read("--config", file, "freeze_backbone=true").freeze_backbone is True


def test_flags_win_wherever_they_stand(read):
    assert read("--loss.scale_distill_weight", "0.2", "loss=depth").loss.scale_distill_weight == 0.2
    assert read("--epochs", "9", "--config", "full").epochs == 9


@pytest.mark.parametrize("text", ["true", "TRUE", "True", "1"])
def test_the_environment_knows_several_words_for_yes(read, monkeypatch, text):
    monkeypatch.setenv("FREEZE_BACKBONE", text)
    assert read().freeze_backbone is True


@pytest.mark.parametrize("text", ["false", "False", "0", ""])
def test_the_environment_knows_several_words_for_no(read, monkeypatch, text):
    monkeypatch.setenv("FREEZE_BACKBONE", text)
    assert read().freeze_backbone is False


def test_nothing_ambient_is_read(read, monkeypatch):
    for name in ("DATA", "data", "LR", "EPOCHS", "epochs"):
        monkeypatch.setenv(name, "7")
    assert read() == Settings()


def test_the_default_config_counts_only_without_another(read):
    assert read(default_config="quick").epochs == 2
    assert read("loss=depth", default_config="quick").epochs == 2
    assert read("--config", "full", default_config="quick").epochs == 200
    assert read("--config", write("lr: 1"), default_config="quick").epochs == 5


def test_resume_starts_from_the_saved_settings(read):
    saved = Path("settings.yaml")
    saved.write_text(dump(Settings(epochs=30, lr=0.5, data="old")))
    asked = []

    def find(run):
        asked.append(run)
        return saved

    settings = read("--resume", "runs/a", "--lr", "0.1", default_config="quick", resume_settings=find)
    assert (settings.epochs, settings.lr, settings.data, settings.resume) == (30, 0.1, "old", "runs/a")
    assert read("--resume", "--config", "full", resume_settings=find).epochs == 200
    assert asked == ["runs/a", "latest"]
    assert read("--resume", default_config="quick", resume_settings=lambda run: None).epochs == 2
    assert read(default_config="quick", resume_settings=find).epochs == 2
    assert asked == ["runs/a", "latest"]


def test_checks_see_the_merged_settings_only(read):
    file = write("warmup: 20\n")
    assert read("--config", file, "--epochs", "20").warmup == 20
    assert read("--config", file, "--config", "full").warmup == 20


# Text stays text


@pytest.mark.parametrize(
    "name", ["2021_08_16_22_26_54", "000070", "1e-4", "true", "0x10", "12:30", "1_000", "~x", "=", "-"]
)
def test_text_that_looks_like_something_else_survives(read, name):
    assert read("--data", name).data == name
    assert read(f"--data={name}").data == name
    assert read(f"data={name}").data == name
    assert read("--config", write(f"data: {name!r}\n")).data == name
    settings = Settings(data=name, note=name, npz_files=(name,), folder=Path(name))
    Path("settings.yaml").write_text(dump(settings))
    assert load(Settings, Path("settings.yaml")) == settings


@pytest.mark.parametrize("name", ["2021_08_16_22_26_54", "000070", "1e-4", "true", "2020-01-01", "yes", "a:b"])
def test_unquoted_yaml_is_not_guessed_at(read, name):
    settings = read("--config", write(f"data: {name}\nnpz_files: [{name}, b]\nfolder: {name}\n"))
    assert (settings.data, settings.npz_files, settings.folder) == (name, (name, "b"), Path(name))


def test_numbers_are_read_by_the_type_of_the_setting(read):
    settings = read("--config", write("lr: 1e-4\nepochs: 007\nlambda_cls: .inf\nsteps: 1_000\nscales: [1, 2.5]\n"))
    assert (settings.lr, settings.epochs, settings.lambda_cls, settings.steps) == (1e-4, 7, float("inf"), 1000)
    assert settings.scales == (1.0, 2.5)


AWKWARD = [
    "null",
    "None",
    "~",
    "",
    " ",
    "a\nb",
    "a: b",
    "# no",
    "'",
    '"',
    "- x",
    "[x]",
    "é\u2028",
    "{",
    "!!int 3",
    "a" * 200 + "  b",
]


@pytest.mark.parametrize("text", AWKWARD)
def test_a_dump_reads_back_identically(text, tmp_path):
    settings = Settings(
        data=text, note=text, npz_files=(text, "b"), lr=1e-5, lambda_cls=0, crops=((0, 1), (1e-7, 1e22)), steps=None
    )
    path = tmp_path / "settings.yaml"
    path.write_text(dump(settings), encoding="utf-8")
    again = load(Settings, path)
    assert again == settings
    assert dump(again) == dump(settings)
    assert changes(settings, again) == []


def test_a_dump_of_optional_values_reads_back_identically(tmp_path):
    for settings in (Settings(), Settings(steps=3, vae_model_path=Path("~"), note="x", resume="latest")):
        path = tmp_path / "settings.yaml"
        path.write_text(dump(settings))
        assert load(Settings, path) == settings


def test_a_dump_is_pleasant_to_read():
    lines = dump(Settings(npz_files=("a.npz", "b.npz"))).splitlines()
    assert "npz_files: [a.npz, b.npz]" in lines
    assert "vae_model_path: null" in lines
    assert lines[lines.index("loss:") + 1] == "  name: plain"


def test_print_config_prints_what_reads_back_to_the_same_settings(read, capsys):
    arguments = ["loss=depth", "--lr", "1e-4", "--npz_files", "a"]
    with pytest.raises(SystemExit) as stopped:
        read(*arguments, "--print_config", default_config="quick")
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.err) == (0, "")
    Path("printed.yaml").write_text(printed.out)
    assert load(Settings, Path("printed.yaml")) == read(*arguments, default_config="quick")


def test_load_takes_overrides_by_dotted_name(configs):
    settings = load(Settings, configs / "full.yaml", {"loss.height.weight": 3, "npz_files": ("a",), "steps": None})
    assert (settings.epochs, settings.loss.height.weight, settings.npz_files) == (200, 3, ("a",))
    with pytest.raises(UserError, match="overrides: unknown setting 'epoch'; did you mean 'epochs'"):
        load(Settings, configs / "full.yaml", {"epoch": 3})
    with pytest.raises(UserError, match="overrides: epochs: expected a whole number, got 'x'"):
        load(Settings, configs / "full.yaml", {"epochs": "x"})


def test_changes_are_listed_by_name():
    new = Settings(lr=0.5, loss=Loss(name="depth", mask_aware=True), npz_files=("a",))
    assert changes(Settings(), new) == ["npz_files: () -> ('a',)", "lr: 0.001 -> 0.5", "loss.name: plain -> depth"]


# Groups inside YAML


def test_a_yaml_file_can_choose_a_group(read):
    assert read("--config", write("loss: depth\n")).loss.scale_distill_weight == 0.1


def test_a_file_wins_over_the_groups_it_chooses(read):
    assert read("--config", write("lambda_cls: 4\nloss: depth\n")).lambda_cls == 4


def test_load_can_choose_groups_too(configs):
    assert load(Settings, Path(write("loss: depth\n")), configs=configs).loss.name == "depth"


def test_groups_that_choose_one_another_are_refused(message, configs):
    (configs / "loss/depth.yaml").write_text("loss: plain\n")
    (configs / "loss/plain.yaml").write_text("loss: depth\n")
    assert "expected groups that do not choose one another in a circle" in message("loss=depth")


# Mistakes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lambda_cls: abc", "lane.yaml: lambda_cls: expected a number, got 'abc'"),
        ("lamda_cls: 1", "lane.yaml: unknown setting 'lamda_cls'; did you mean 'lambda_cls'?"),
        ("loss: {heigth: {}}", "lane.yaml: unknown setting 'loss.heigth'; did you mean 'loss.height'?"),
        ("loss: {height: {weight: x}}", "lane.yaml: loss.height.weight: expected a number, got 'x'"),
        ("zzz: 1", "lane.yaml: unknown setting 'zzz'"),
        ("epochs: 1.5", "lane.yaml: epochs: expected a whole number, got '1.5'"),
        ("epochs: true", "lane.yaml: epochs: expected a whole number, got 'true'"),
        ("epochs:", "lane.yaml: epochs: expected a whole number, got nothing"),
        ("data: null", "lane.yaml: data: expected text, got nothing"),
        ("data: [a]", "lane.yaml: data: expected text, got ['a']"),
        ("folder: {a: b}", "lane.yaml: folder: expected a path, got {'a': 'b'}"),
        ("use_actions: yes", "lane.yaml: use_actions: expected true or false, got 'yes'"),
        ("predictor: gpt", "lane.yaml: predictor: expected one of lstm, gru, got 'gpt'"),
        ("npz_files: a.npz", "lane.yaml: npz_files: expected a list [...], got 'a.npz'"),
        ("widths: [1, 2]", "lane.yaml: widths: expected a list of 3, got ['1', '2']"),
        ("widths: [1, 2, x]", "lane.yaml: widths: expected a whole number, got 'x'"),
        ("steps: x", "lane.yaml: steps: expected a whole number, got 'x'"),
        ("loss: 3d", "lane.yaml: loss: expected one of depth, plain, got '3d'"),
        ("loss: dept", "lane.yaml: loss: expected one of depth, plain, got 'dept'; did you mean 'depth'?"),
        ("loss: [a]", "lane.yaml: loss: expected settings"),
        ("lr: 1\nlr: 2", "lane.yaml: line 2: lr: given twice"),
        ("loss: {name: depth, name: plain}", "lane.yaml: line 1: name: given twice"),
        ("lr: [1", "lane.yaml: line 1: expected ',' or ']'"),
        ("lr: 1\n  epochs: 3", "lane.yaml: line 2: mapping values are not allowed here"),
        ("- lr", "lane.yaml: expected settings (name: value), got a list"),
        ("lr", "lane.yaml: expected settings (name: value), got a str"),
        ("[a]: 3", "lane.yaml: line 1: expected a name"),
        ("null: 3", "lane.yaml: line 1: expected a name"),
        ("a: &a {b: *a}", "lane.yaml: line 1: found unconstructable recursive node"),
        ("--- {}\n--- {}", "lane.yaml: line 2: but found another document"),
        pytest.param("lr: " + "[" * 3000, "lane.yaml: expected YAML, got maximum recursion depth", id="deep"),
        ("lr: \x07", "lane.yaml: expected YAML, got unacceptable character"),
        ("lr: -1", "lane.yaml: lr: expected a number > 0, got -1.0"),
        ("loss: {scale_distill_weight: -1}", "lane.yaml: loss.scale_distill_weight: expected a number >= 0, got -1.0"),
        ("warmup: 9", "lane.yaml: warmup: expected at most epochs (5), got 9"),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_and_setting(message, text, expected):
    assert message("--config", write(text)).startswith(expected)


def test_an_empty_file_changes_nothing(read):
    assert read("--config", write("# nothing\n")) == Settings()


def test_yaml_runs_no_tags(read, message):
    assert "expected text" in message("--config", write("data: !!python/object/apply:os.getcwd []\n"))
    assert read("--config", write("data: !!int 070\n")).data == "070"


def test_a_bad_value_keeps_its_source_when_other_flags_are_given(message):
    file = write("lr: -1\n")
    assert message("--config", file, "--epochs", "3") == "lane.yaml: lr: expected a number > 0, got -1.0"
    assert message("--config", file, "--lr", "-2") == "command line: lr: expected a number > 0, got -2.0"


def test_a_bad_variable_is_named(message, monkeypatch):
    monkeypatch.setenv("FREEZE_BACKBONE", "maybe")
    assert message() == "FREEZE_BACKBONE: freeze_backbone: expected true or false, got 'maybe'"


def test_bad_words_on_the_command_line_are_named(message):
    assert message("lr=abc") == "command line: lr: expected a number, got 'abc'"
    assert message("lrr=1") == "command line: unknown setting 'lrr'; did you mean 'lr'?"
    assert message("lr.x=1") == "command line: lr: expected a number, got {'x': '1'}"
    assert message("loss=dept") == (
        "command line: loss: expected one of depth, plain, got 'dept'; did you mean 'depth'?"
    )
    assert message("widths=[1,2") == "command line: widths: expected a list [...], got '[1,2'"


def test_a_missing_config_is_named_with_the_choices(message, tmp_path):
    assert message("--config", "quik") == (
        "--config: expected a file or one of full, quick, got 'quik'; did you mean 'quick'?"
    )
    assert message("--config") == "--config: expected a name or a file, got nothing"
    assert message("--config", "--lr", "1") == "--config: expected a name or a file, got nothing"
    assert message("--config", str(tmp_path)) == f"{tmp_path}: expected a readable file, got 'Is a directory'"


def test_without_groups_a_nested_setting_needs_its_dotted_name():
    with pytest.raises(UserError, match=r"command line: loss: expected settings \(any of name, scale_distill_weight"):
        parse(Settings, ["loss=depth"], prog="x")


@pytest.mark.parametrize(
    "arguments", [["--lr", "abc"], ["--lrr", "1"], ["--lrr", "a=1"], ["extra"], ["--widths", "1", "2"], ["--data"]]
)
def test_a_bad_flag_exits_with_2_and_speaks_on_stderr(read, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        read(*arguments)
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out) == (2, "")
    assert "--lr" in printed.err if "--lrr" in arguments else printed.err


def test_a_type_that_settings_cannot_have_is_a_programming_error(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Wrong:
        table: dict[str, int] = field(default_factory=dict)

    with pytest.raises(TypeError, match="settings cannot be of type"):
        parse(Wrong, [], prog="x")


# Help and speed


def test_help_shows_what_flags_alone_do_not(read, configs, capsys):
    (configs / "other_verb.yaml").write_text("num_trajectories: 3\n")
    with pytest.raises(SystemExit) as stopped:
        read("--help", default_config="quick")
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    for part in (
        "Train something.",
        "--config NAME",
        "full, quick\n",
        "(default: quick)",
        "loss=CHOICE",
        "depth, plain",
    ):
        assert part in text
    for part in ("FREEZE_BACKBONE", "--print_config", "alone means --resume latest", "Learning rate.", "--lambda_cls"):
        assert part in text
    assert "(default: 2)" in text  # what the config makes of `epochs`
    assert "Weight of the distilled scale." in text


def test_a_class_with_a_setting_named_config_keeps_the_flag_for_itself(configs, capsys):
    @dataclass(frozen=True, kw_only=True)
    class Ablate:
        config: Literal["best", "quick"] = "best"
        """The budget."""

    assert parse(Ablate, ["--config", "quick"], prog="x", configs=configs).config == "quick"


def test_settings_start_fast_and_import_nothing_heavy():
    program = """
import sys, time
from dataclasses import dataclass
from drivelab_shared.settings import parse

@dataclass(frozen=True, kw_only=True)
class Settings:
    lr: float = 0.1

parse(Settings, ["--lr", "1"], prog="x")
print(time.process_time(), [name for name in ("torch", "matplotlib", "numpy", "accelerate") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.split(maxsplit=1)
    assert float(seconds) < 1
    assert heavy == "[]\n"


@pytest.mark.parametrize("changes", [{"seeds": ()}, {"jobs": 0}, {"threads": 0}, {"num_bootstrap": 0}], ids=str)
def test_a_comparison_needs_seeds_and_at_least_one_of_everything(changes):
    with pytest.raises(ValueError, match=f"^{next(iter(changes))}: expected"):
        SweepSettings(**changes)
