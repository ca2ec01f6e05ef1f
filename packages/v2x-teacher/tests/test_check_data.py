"""check-data: one run names every fault with its file, is silent where nothing is wrong, refuses row-wise labels."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drivelab_shared.report import Report
from v2x_teacher.cli import main
from v2x_teacher.config import CheckDataSettings, LabelSettings, MakeDataSettings
from v2x_teacher.data.check_data import find
from v2x_teacher.data.check_data.motion import flipped, strongest_acceleration
from v2x_teacher.data.make_data import make_data
from v2x_teacher.data.recording import Poses

from .damages import DAMAGES, SPLITS, Copy
from .trees import edit, rotation_z, straight, three_drives, write_dair, write_spd


def check(folder: Path, *arguments: str, report: Path) -> int:
    return main(["check-data", "--data_dir", str(folder), "--report", str(report), *arguments])


@pytest.fixture
def without_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all that is looked at here; the first test does it."""
    monkeypatch.setattr("v2x_teacher.data.check_data.page.page", lambda findings: Report("", ""))


def findings(folder: Path, **labels: str) -> str:
    """Problems and answers, without a page."""
    found = find(CheckDataSettings(data_dir=folder, labels=LabelSettings(**labels)))
    return "\n".join([*map(str, found.problems), *found.answers])


@pytest.fixture(scope="module")
def clean_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine drives of 7 s with at least six listed pairs each. Nobody may write into it."""
    folder = tmp_path_factory.mktemp("clean") / "data"
    make_data(MakeDataSettings(data_dir=folder, num_sequences=9, seconds=7, width=64, picture_every=3, workers=1))
    return folder


def severities(output: str) -> set[str]:
    return set(re.findall(r"^(error|warning|note): ", output, re.MULTILINE))


# --- one tree with every fault ----------------------------------------------------------------------------------------


def test_every_fault_of_a_tree_is_named_with_its_file_in_one_run(
    clean_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "data"
    shutil.copytree(clean_data, root)
    copy = Copy.of(root)
    expected = [(severity, message, inject(copy), inject.__name__) for severity, message, inject in DAMAGES]
    capsys.readouterr()
    assert check(root, report=tmp_path / "check.html") == 2
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    unnamed = [
        f"{name}: {severity}: {path}: {message}"
        for severity, message, path, name in expected
        if not any(line.startswith(f"{severity}: ") and message in line and Path(path).name in line for line in lines)
    ]
    assert unnamed == [], captured.out
    assert "expected data without errors" in captured.err
    assert captured.err.count("\n") == 1
    page = (tmp_path / "check.html").read_text()
    assert "turned around by about 180 degrees" in page


# --- trees with nothing wrong -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_page")
def test_clean_data_give_no_warning_and_three_answers(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert check(tiny_data, report=tmp_path / "check.html") == 0
    captured = capsys.readouterr()
    assert severities(captured.out) <= {"note"}, captured.out
    assert captured.err == ""
    for answer in (
        "Real coordinate range: x ",
        "Is normalisation needed: yes, as the default does it: per step and axis",
        "Are there outliers: no. No label exceeds 40 m/s",
        "Which labels: by time, the default",
        "Which axis is forward: x.",
        f"What next: `v2x-teacher train --data_dir {tiny_data}`.",
    ):
        assert answer in captured.out, captured.out


def test_a_clean_tree_of_the_other_layout_has_no_warnings(tmp_path: Path) -> None:
    folder = tmp_path / "dair"
    make_data(MakeDataSettings(data_dir=folder, layout="dair", num_sequences=3, seconds=7, width=64, workers=1))
    output = findings(folder)
    assert severities(output) == {"note"}, output
    assert re.search("neighbouring rows of [123] sequences are more than 1 s apart", output)


# --- one fault at a time, where its size counts -----------------------------------------------------------------------


def test_a_frame_that_points_left_is_found_used_and_noted(tmp_path: Path) -> None:
    root = write_spd(tmp_path, three_drives(), forward_axis="-y")
    output = findings(root)
    assert (
        f"note: {root}/vehicle-side/calib/novatel_to_world: the vehicle frame points forward along -y, not x" in output
    )
    assert "Which axis is forward: -y." in output
    assert "Are there outliers: no." in output
    output = findings(root, forward_axis="x")
    assert "error: " in output
    assert "labels.forward_axis: expected '-y', which points along, got 'x'" in output


def test_positions_that_jitter_are_a_warning(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    drives = three_drives()
    for drive in drives:
        drive.positions[:] += rng.normal(0, 0.4, drive.positions.shape)
    output = findings(write_spd(tmp_path, drives))
    found = re.search(r"expected positions within 0.2 m of a smooth path, got noise of ([0-9.]+) m", output)
    assert found
    assert float(found.group(1)) == pytest.approx(0.4, abs=0.08)


def test_a_sequence_shorter_than_the_horizon_is_named(tmp_path: Path) -> None:
    root = write_spd(tmp_path, [*three_drives(), straight("0003", "train", frames=40, start_s=90.0)])
    expected = (
        "expected sequences longer than the horizon of 4.5 s, got one that gives no label: 1 x, sequence 0003 3.9 s"
    )
    assert expected in findings(root)


def test_rows_that_are_seconds_apart_are_noted(tmp_path: Path) -> None:
    root = write_dair(tmp_path, three_drives(), pair_every=15)
    assert "neighbouring rows of 3 sequences are more than 1 s apart, 1.5 s in 0000" in findings(root)


def test_the_same_fault_of_many_files_is_one_line_that_counts_them(tmp_path: Path) -> None:
    root = write_spd(tmp_path, three_drives())
    for path in sorted((root / "vehicle-side" / "image").iterdir())[:25]:
        path.unlink()
    lines = [line for line in findings(root).splitlines() if "expected this picture" in line]
    assert len(lines) == 1
    assert "000000.jpg: expected this picture" in lines[0]
    assert lines[0].endswith(f"the same in 24 more: {', '.join(f'{n:06d}.jpg' for n in range(1, 10))} ...")


def test_data_without_a_single_usable_pose_are_described_all_the_same(tmp_path: Path) -> None:
    root = write_spd(tmp_path, three_drives())
    shutil.rmtree(root / "vehicle-side" / "calib" / "novatel_to_world")
    found = find(CheckDataSettings(data_dir=root))
    assert any("the same in 179 more" in problem.message for problem in found.errors)
    assert found.answers == ["What next: nothing can be learned from these data; begin with the errors above."]


# --- measures by hand -------------------------------------------------------------------------------------------------


def poses(times_s: np.ndarray, yaws: np.ndarray) -> Poses:
    transforms = np.tile(np.eye(4), (len(times_s), 1, 1))
    transforms[:, :3, :3] = [rotation_z(yaw) for yaw in yaws]
    return Poses(tuple(map(str, range(len(times_s)))), (times_s * 1e6).astype(np.int64), transforms)


def test_flipped_frames_are_the_fewer_ones_between_two_jumps() -> None:
    times = np.arange(20) / 10
    yaws = 3.0 + 0.05 * np.arange(20)  # across 180 degrees, where the angle itself jumps
    turned = (np.arange(20) >= 4) & (np.arange(20) < 7)
    np.testing.assert_array_equal(flipped(poses(times, yaws + np.pi * turned)), turned)
    np.testing.assert_array_equal(flipped(poses(times, yaws + np.pi * ~turned)), turned)
    later = times + 5.0 * (np.arange(20) >= 10)
    assert not flipped(poses(later, yaws + np.pi * (np.arange(20) >= 10))).any(), "in 5 s a car may turn around"


def test_the_strongest_acceleration_is_read_from_half_seconds() -> None:
    times = np.sort(np.arange(40) / 10 + np.random.default_rng(0).uniform(-0.01, 0.01, 40))
    times -= times[0]
    braking = np.stack([20 * times - 3 * times**2, 0 * times], axis=-1)
    assert strongest_acceleration(times, braking)[1] == pytest.approx(6.0, abs=0.1)
    leap = np.stack([10 * times + 2.5 * (times > 2), 0 * times], axis=-1)
    at, peak = strongest_acceleration(times, leap)
    # 2.5 m more in one half second than in the one before.
    assert peak == pytest.approx(10.0, abs=0.2)
    assert at == pytest.approx(2.0, abs=0.6)


def test_a_flipped_frame_spoils_the_labels_that_look_back_at_it(tmp_path: Path) -> None:
    root = write_spd(tmp_path, three_drives())
    edit(
        root / "vehicle-side/calib/novatel_to_world/000003.json",
        lambda d: d.update(rotation=(-np.diag([1, 1, -1])).tolist()),
    )
    found = find(CheckDataSettings(data_dir=root))
    # At 0.3 s: labels from there to 0.8 s have it in their last half second. The gate alone takes it for reverse gear.
    assert found.left_out == {"heading turned around": 6}


# --- what may go on ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_page")
def test_skip_invalid_ends_well_if_something_usable_is_left(
    clean_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "data"
    shutil.copytree(clean_data, root)
    document = json.loads((root / SPLITS).read_text())
    name = document["cooperative_split"]["train"][0]
    (root / "vehicle-side" / "image" / f"{name}.jpg").write_bytes(b"")
    usable = len(document["cooperative_split"]["train"]) - 1
    assert check(root, report=tmp_path / "check.html") == 2
    capsys.readouterr()
    assert check(root, "--skip_invalid", report=tmp_path / "check.html") == 0
    output = capsys.readouterr().out
    assert f"{name}.jpg: expected a picture, got something else" in output
    assert (
        f"Left out beside what the errors name: 1 unreadable picture. Training labels that are left: {usable}."
        in output
    )
    document["cooperative_split"]["train"] = [name]
    (root / SPLITS).write_text(json.dumps(document))
    assert check(root, "--skip_invalid", report=tmp_path / "check.html") == 2
    assert "expected usable training labels, got none" in capsys.readouterr().err


# --- the folder of finished trajectories ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flat_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Row-wise labels, as the request has them. Nobody may write into it."""
    folder = tmp_path_factory.mktemp("flat") / "data"
    make_data(
        MakeDataSettings(
            data_dir=folder, layout="flat", num_sequences=9, seconds=7, width=64, picture_every=3, workers=1
        )
    )
    return folder


@pytest.mark.usefixtures("without_page")
def test_a_flat_folder_of_row_windows_is_refused_with_the_reason(
    flat_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert check(flat_data, "--skip_invalid", report=tmp_path / "check.html") == 2
    captured = capsys.readouterr()
    assert (
        "expected labels that a car can drive, got rows read as time. These labels cannot be repaired" in captured.err
    )
    assert re.search(r"error: .*/ground_truth_trajectories/\d+\.npy: .* that are faster than 40 m/s", captured.out)
    assert "Is normalisation needed: it would not help." in captured.out
    assert "What made them most likely: rows of a list that were read as steps of 0.1 s." in captured.out
    assert "they are windows of 45 rows over one list" in captured.out
    assert re.search(r"got training positions in \d+ of \d+ other trajectories, a leak", captured.out)
    assert "point --data_dir at the DAIR-V2X or V2X-Seq tree" in captured.out


def test_every_fault_of_a_flat_folder_is_named_with_its_file_in_one_run(flat_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "flat"
    shutil.copytree(flat_data, root)
    names = (root / "split" / "train.txt").read_text().split()
    trajectories, prompts = root / "ground_truth_trajectories", root / "text_prompts"
    np.save(trajectories / f"{names[0]}.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(trajectories / f"{names[1]}.npy", np.zeros((44, 2)))
    np.save(trajectories / f"{names[2]}.npy", np.full((45, 2), np.nan))
    (trajectories / f"{names[3]}.npy").unlink()
    (prompts / f"{names[4]}.txt").write_text("")
    (prompts / f"{names[5]}.txt").write_text("The vehicle is at (2636.1, 1745.2) and drives 8.3 m/s.")
    (prompts / f"{names[6]}.txt").write_text("At yizhuang06, 120.5 m ahead is a light.")
    (prompts / f"{names[7]}.txt").write_text("It turns left in 100.25 m.")
    (root / "vehicle_images" / f"{names[8]}.jpg").unlink()
    with (root / "split" / "val.txt").open("a") as file:
        file.write(f"{names[9]}\n")
    output = findings(root)
    for line in (
        f"error: {trajectories}/{names[0]}.npy: expected an npy file of numbers [45, 2], got pickled objects",
        f"error: {trajectories}/{names[1]}.npy: expected numbers [45, 2], got float64 [44, 2]",
        f"error: {trajectories}/{names[2]}.npy: expected finite numbers, got 90 NaN",
        f"error: {trajectories}/{names[3]}.npy: expected this trajectory, got no such file",
        f"error: {prompts}/{names[4]}.txt: expected a prompt, got an empty file",
        f"warning: {prompts}/{names[5]}.txt: expected a prompt without global coordinates, which name the junction, ",
        f"warning: {prompts}/{names[6]}.txt: expected a prompt without the name of the junction, got 'yizhuang06'",
        f"warning: {prompts}/{names[7]}.txt: expected a prompt without the manoeuvre, which is known afterwards only, ",
        f"error: {root}/vehicle_images/{names[8]}.jpg: expected this picture, got none",
        f"error: {root}/split: expected {names[9]} in one split, got train and val: a leak",
    ):
        assert line in output, f"{line}\n\n{output}"


def test_a_flat_folder_that_a_car_can_drive_is_not_refused(tmp_path: Path) -> None:
    picture = Image.effect_noise((64, 36), 50).convert("RGB")
    for folder in ("split", "vehicle_images", "infrastructure_images", "text_prompts", "ground_truth_trajectories"):
        (tmp_path / folder).mkdir(parents=True)
    times = np.arange(45) / 10
    for index in range(6):
        name = f"{index * 100:06d}"
        for side in ("vehicle", "infrastructure"):
            picture.save(tmp_path / f"{side}_images" / f"{name}.jpg")
        (tmp_path / "text_prompts" / f"{name}.txt").write_text("Predict the path.")
        path = np.stack([2636.0 + 50 * index + 8 * times, 1745.0 + 0 * times], axis=-1)
        np.save(tmp_path / "ground_truth_trajectories" / f"{name}.npy", path)
    (tmp_path / "split" / "train.txt").write_text("000000\n000100\n000200\n000300\n")
    (tmp_path / "split" / "val.txt").write_text("000400\n000500\n")
    found = find(CheckDataSettings(data_dir=tmp_path))
    assert found.errors == []
    output = "\n".join(found.answers)
    assert "Which labels: these (`--labels.kind rows`)" in output
    assert "What made them" not in output
    assert f"`v2x-teacher train --data_dir {tmp_path} --labels.kind rows`" in output
    # 45 points, k x 0.8 m away: 17.6 m on average, 35.2 m in the end. Smooth L1, over x and y: 0 and 0.32 for the first
    # two points, half a metre less than the distance for the others: (0.32 + 791.2 - 21.5) / 90. MSE: 0.64 k^2 / 2.
    _, body = found.tables["What doing nothing scores, in the units of common losses"]
    assert body[0] == ["stand still, by rows", "17.6", "35.2", "8.6", "208.9"]
