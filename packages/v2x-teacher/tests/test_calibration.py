"""Rotations that are nearly one, lenses in both spellings, offsets that nobody measured."""

from pathlib import Path

import numpy as np
import pytest

from v2x_teacher.data.cooperative.calibration import (
    ROTATION_TOLERANCE,
    inverse,
    offset,
    read_intrinsics,
    read_transform,
    rigid_transforms,
)

from .trees import rotation_z, write_json


def rows(*rotations: np.ndarray) -> list[list[float]]:
    return [np.column_stack([rotation, [1, 2, 3]]).ravel().tolist() for rotation in rotations]


def test_a_true_rotation_is_left_as_it_is() -> None:
    matrices, valid, off = rigid_transforms(rows(rotation_z(0.3)))
    assert valid.all()
    assert off[0] < 1e-12
    np.testing.assert_array_equal(matrices[0, :3, :3], rotation_z(0.3))
    np.testing.assert_array_equal(matrices[0, :, 3], [1, 2, 3, 1])


def test_a_rounded_rotation_becomes_the_nearest_true_one() -> None:
    rough = rotation_z(0.3) * 1.02
    matrices, valid, off = rigid_transforms(rows(rough))
    assert valid.all()
    assert off[0] == pytest.approx(1.02**2 - 1)
    np.testing.assert_allclose(matrices[0, :3, :3], rotation_z(0.3), atol=1e-12)


def test_what_is_too_far_from_a_rotation_is_refused() -> None:
    scaled, mirrored = rotation_z(0.3) * 1.03, rotation_z(0.3) @ np.diag([1, 1, -1])
    infinite = np.diag([1, 1, np.inf])
    _, valid, off = rigid_transforms(rows(np.eye(3), scaled, mirrored, infinite, np.zeros((3, 3))))
    assert off[1] > ROTATION_TOLERANCE
    assert valid.tolist() == [True, False, False, False, False]


def test_no_rows_are_no_transforms() -> None:
    matrices, valid, _ = rigid_transforms([])
    assert matrices.shape == (0, 4, 4)
    assert valid.shape == (0,)


def test_the_inverse_undoes_a_transform() -> None:
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation_z(1.1), [4, 5, 6]
    np.testing.assert_allclose(inverse(transform) @ transform, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(inverse(np.stack([transform] * 2))[1], inverse(transform))


@pytest.mark.parametrize("translation", [[1, 2, 3], [[1], [2], [3]], ["1", "2", "3"]])
def test_translations_come_as_lists_and_as_columns(tmp_path: Path, translation: list) -> None:
    write_json(tmp_path / "a.json", {"rotation": np.eye(3).tolist(), "translation": translation})
    np.testing.assert_array_equal(read_transform(tmp_path / "a.json")[:3, 3], [1, 2, 3])


def test_p_is_preferred_to_cam_k(tmp_path: Path) -> None:
    cam_k = [900, 0, 400, 0, 910, 300, 0, 0, 1]
    p = [1000, 0, 500, 7, 0, 1010, 350, 8, 0, 0, 1, 0]
    write_json(tmp_path / "k.json", {"cam_K": cam_k, "cam_D": [0.1, 0, 0, 0]})
    write_json(tmp_path / "both.json", {"cam_K": cam_k, "P": p})
    np.testing.assert_array_equal(read_intrinsics(tmp_path / "k.json"), [[900, 0, 400], [0, 910, 300], [0, 0, 1]])
    np.testing.assert_array_equal(read_intrinsics(tmp_path / "both.json"), [[1000, 0, 500], [0, 1010, 350], [0, 0, 1]])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "expected P or cam_K, got {}"),
        ([], "expected P or cam_K, got []"),
        ({"P": [1] * 9}, "P: expected 12 numbers"),
        ({"cam_K": [1, 0, 0, 0, 1, 0, 0, 0, "one"]}, "expected a number, got 'one'"),
        ({"cam_K": [0, 0, 0, 0, 0, 0, 0, 0, 1]}, "cam_K: expected positive focal lengths"),
        ({"cam_K": [900, 0, 0, 0, 900, 0, 400, 300, 1]}, "a last row 0 0 1"),
    ],
)
def test_a_broken_lens_says_what_is_wrong(tmp_path: Path, document: object, message: str) -> None:
    write_json(tmp_path / "a.json", document)
    with pytest.raises(ValueError, match=r"a\.json: ") as caught:
        read_intrinsics(tmp_path / "a.json")
    assert message in str(caught.value)


def test_offsets_that_nobody_measured_are_zero() -> None:
    assert offset({"delta_x": "", "delta_y": ""}) == (0, 0)
    assert offset({"delta_x": -1.1, "delta_y": "0.66"}) == (-1.1, 0.66)
    assert offset(None) == offset("") == (0, 0)
    with pytest.raises(ValueError, match="expected delta_x and delta_y"):
        offset({"delta_x": 1})
    with pytest.raises(ValueError, match="expected a finite number"):
        offset({"delta_x": "nan", "delta_y": 0})
