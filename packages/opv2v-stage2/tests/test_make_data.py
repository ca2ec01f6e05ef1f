"""The verb: a folder that is the same whoever makes it, continued after an interruption, and never overwritten."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2.config import MakeDataSettings
from opv2v_stage2.data.make_data import ensure_data, make_data
from opv2v_stage2.data.make_data.plan import WORST, plan_scenarios

verb = importlib.import_module("opv2v_stage2.data.make_data")


def tiny(folder: Path, **changes: object) -> MakeDataSettings:
    small = {"num_scenarios": (1, 1, 1), "num_frames": 1, "size": "64x48", "workers": 1}
    return MakeDataSettings(**{"data_dir": folder, **small, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted process writes."""
    folder = tmp_path_factory.mktemp("whole")
    make_data(tiny(folder))
    return contents(folder)


@pytest.fixture
def quick_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the rendering: one file for each scenario."""

    def write(settings: MakeDataSettings, scenario: object) -> None:
        (settings.data_dir / scenario.name).write_text(f"{settings.seed}")

    monkeypatch.setattr(verb, "write_scenario", write)


def interrupt_after(num_scenarios: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write, made = verb.write_scenario, []

    def interrupted(*arguments: object) -> None:
        if len(made) == num_scenarios:
            raise KeyboardInterrupt
        made.append(arguments)
        write(*arguments)

    monkeypatch.setattr(verb, "write_scenario", interrupted)


def begin(make: Callable[[], None], monkeypatch: pytest.MonkeyPatch, num_scenarios: int = 0) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(num_scenarios, patch)
        with pytest.raises(KeyboardInterrupt):
            make()


def test_two_processes_make_the_same_bytes_as_one(tmp_path: Path, whole: dict[str, bytes]) -> None:
    make_data(tiny(tmp_path, workers=2))
    assert contents(tmp_path) == whole


def test_a_scenario_does_not_depend_on_how_many_there_are() -> None:
    def names(*counts: int) -> set[object]:
        return set(plan_scenarios(tiny(Path("anywhere"), num_scenarios=counts)))

    assert names(1, 2, 3) < names(9, 4, 3)


def test_no_two_scenarios_share_a_name() -> None:
    scenarios = plan_scenarios(tiny(Path("anywhere"), num_scenarios=(600, 200, 200)))
    assert len({scenario.name for scenario in scenarios}) == 1000
    assert [scenario.split for scenario in scenarios if scenario.name == WORST] == ["test"]


def test_one_line_says_what_was_made(tmp_path: Path, quick_scenarios: None, capsys: pytest.CaptureFixture[str]) -> None:
    make_data(tiny(tmp_path / "data"))
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    expected = "1 train + 1 validate + 1 test scenarios (2 straight, 1 motorway); 6 agent frames in "
    assert line.startswith(f"{tmp_path / 'data'}: {expected}")


def test_data_are_not_overwritten(tmp_path: Path, quick_scenarios: None) -> None:
    make_data(tiny(tmp_path))
    before = contents(tmp_path)
    for changes in ({}, {"seed": 1}):
        with pytest.raises(UserError, match=r"data_dir: expected an empty folder \(data are never overwritten\)"):
            make_data(tiny(tmp_path, **changes))
    assert contents(tmp_path) == before


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="expected an empty folder"):
        make_data(tiny(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_a_path_that_is_a_file_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="data_dir: expected a folder to write to, got File exists"):
        make_data(tiny(tmp_path / "data"))


def test_interrupted_data_are_continued_to_the_same_bytes(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(lambda: make_data(tiny(tmp_path)), monkeypatch, num_scenarios=2)
    kept = next((tmp_path / "train").rglob("*.png"))
    written_at = kept.stat().st_mtime_ns
    make_data(tiny(tmp_path))
    assert kept.stat().st_mtime_ns == written_at
    assert contents(tmp_path) == whole


def test_a_scenario_that_was_cut_off_is_written_again(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("opv2v_stage2.data.make_data.writer.write_truth", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_data(settings)
    half = next((tmp_path / "train").rglob("*.png"))
    half.write_bytes(half.read_bytes()[:20])
    make_data(settings)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"num_scenarios": (2, 1, 1)},
        {"num_frames": 2},
        {"frame_step": 2},
        {"size": "80x60"},
        {"gps_noise_m": 0.5},
        {"gps_noise_deg": 1.0},
        {"pcd": "binary"},
        {"truth": False},
        {"seed": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_data_begun_with_one_setting_are_not_continued_with_another(
    changes: dict[str, object], tmp_path: Path, quick_scenarios: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(lambda: make_data(tiny(tmp_path)), monkeypatch)
    with pytest.raises(UserError, match="expected an empty folder"):
        make_data(tiny(tmp_path, **changes))
    make_data(tiny(tmp_path))


def test_every_setting_that_changes_bytes_is_recorded() -> None:
    assert {*MakeDataSettings.__dataclass_fields__} == {*verb.RECORDED, "data_dir", "workers"}


def test_data_that_were_hardly_begun_are_begun_again(tmp_path: Path, quick_scenarios: None) -> None:
    (tmp_path / ".made").mkdir()
    make_data(tiny(tmp_path))
    assert not (tmp_path / ".made").exists()


def test_default_data_are_made_only_where_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MakeDataSettings] = []
    monkeypatch.setattr(verb, "make_data", made.append)
    ensure_data(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    ensure_data(tmp_path / "empty")
    expected = [MakeDataSettings(data_dir=tmp_path / name) for name in ("new", "empty")]
    assert made == expected
    (tmp_path / "empty" / "train").mkdir()
    ensure_data(tmp_path / "empty")
    assert made == expected


def test_unfinished_default_data_are_finished_and_others_reported(
    tmp_path: Path, quick_scenarios: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings in (MakeDataSettings(data_dir=tmp_path / "default", workers=1), tiny(tmp_path / "other")):
        begin(lambda settings=settings: make_data(settings), monkeypatch)
    made: list[MakeDataSettings] = []
    monkeypatch.setattr(verb, "make_data", made.append)
    ensure_data(tmp_path / "default")
    assert made == [MakeDataSettings(data_dir=tmp_path / "default")]
    with pytest.raises(UserError, match="data_dir: expected finished data, got unfinished data"):
        ensure_data(tmp_path / "other")
