"""Dense truth as a file: centimetres, the sky, and what nobody knows."""

from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2.data.recording import FrameKey
from opv2v_stage2.data.truth import Truth, read_truth, truth_path, write_truth


def truth() -> Truth:
    depth_z = np.full((4, 2, 3), 12.345, np.float32)
    depth_z[0, 0] = np.inf
    depth_z[1, 1] = (0.001, 655.34, 700.0)
    depth_z[3] = np.nan
    return Truth(depth_z, np.arange(24, dtype=np.uint8).reshape(4, 2, 3))


def test_depth_comes_back_to_half_a_centimetre(tmp_path: Path) -> None:
    write_truth(tmp_path / "deep" / "000010.npz", truth())
    found, expected = read_truth(tmp_path / "deep" / "000010.npz"), truth()
    np.testing.assert_array_equal(found.label, expected.label)
    np.testing.assert_array_equal(np.isinf(found.depth_z), np.isinf(expected.depth_z))
    near = (expected.depth_z > 1) & (expected.depth_z < 650)
    np.testing.assert_allclose(found.depth_z[near], expected.depth_z[near], atol=0.0051)
    np.testing.assert_allclose(found.depth_z[1, 1, :2], [0.01, 655.34], rtol=1e-6)


def test_a_missing_picture_and_what_is_too_far_are_not_the_sky(tmp_path: Path) -> None:
    write_truth(tmp_path / "one.npz", truth())
    found = read_truth(tmp_path / "one.npz")
    assert np.isnan(found.depth_z[3]).all()
    assert np.isnan(found.depth_z[1, 1, 2])
    assert np.isnan(found.depth_z).sum() == 7


def test_the_same_truth_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_truth(tmp_path / name, truth())
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize(
    "arrays",
    [
        {"depth_cm": np.zeros((4, 2, 3), np.uint16)},
        {"depth_cm": np.zeros((4, 2, 3), np.uint16), "label": np.zeros((4, 2, 2), np.uint8)},
        {"depth_cm": np.zeros((3, 2, 3), np.uint16), "label": np.zeros((3, 2, 3), np.uint8)},
        {"depth_cm": np.zeros((4, 2, 3), np.float32), "label": np.zeros((4, 2, 3), np.uint8)},
        {"depth_cm": np.array([{}], object), "label": np.zeros((4, 2, 3), np.uint8)},
    ],
    ids=["no labels", "other size", "three pictures", "metres", "pickled"],
)
def test_another_content_is_one_line(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(UserError, match=r"odd\.npz: expected depth_cm and label of four pictures, got [^\n]*$"):
        read_truth(tmp_path / "odd.npz")


def test_a_cut_off_file_is_one_line(tmp_path: Path) -> None:
    write_truth(tmp_path / "cut.npz", truth())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:100])
    with pytest.raises(UserError, match=r"cut\.npz: expected depth_cm and label"):
        read_truth(tmp_path / "cut.npz")


def test_truth_lies_beside_the_splits(tmp_path: Path) -> None:
    path = truth_path(tmp_path, "test", FrameKey("2021_08_18_19_48_05", "000340"), "1045")
    assert path == tmp_path / "truth" / "test" / "2021_08_18_19_48_05" / "1045" / "000340.npz"
