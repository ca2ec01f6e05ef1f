import struct
from pathlib import Path

import numpy as np
import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2.data import lzf
from opv2v_stage2.data.pcd import read_pcd, write_pcd

HEADER = b"VERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\n"
ROWS = np.array([[1, 2, 3, 0], [4, 5, 6, 0]], "<f4")


def some_cloud(num_points: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 40, (num_points, 3)).astype(np.float32)
    return points, rng.integers(0, 256, num_points).astype(np.float32) / 255


@pytest.mark.parametrize("form", ["ascii", "binary", "binary_compressed"])
def test_what_is_written_is_read(tmp_path: Path, form: str) -> None:
    points, intensity = some_cloud()
    write_pcd(tmp_path / "a.pcd", points, intensity, form)
    cloud = read_pcd(tmp_path / "a.pcd")
    np.testing.assert_allclose(cloud.points, points, rtol=0, atol=6e-4 if form == "ascii" else 0)
    np.testing.assert_array_equal(cloud.intensity, intensity)
    assert cloud.points.dtype == cloud.intensity.dtype == np.float32


@pytest.mark.parametrize("form", ["ascii", "binary", "binary_compressed"])
def test_a_cloud_without_points_is_one(tmp_path: Path, form: str) -> None:
    write_pcd(tmp_path / "a.pcd", np.zeros((0, 3)), np.zeros(0), form)
    assert read_pcd(tmp_path / "a.pcd").points.shape == (0, 3)


def test_the_header_has_the_eleven_lines_of_version_07(tmp_path: Path) -> None:
    write_pcd(tmp_path / "a.pcd", np.array([[1.5, -2.25, 0.0004]]), np.array([200 / 255]))
    lines = (tmp_path / "a.pcd").read_text().splitlines()
    assert lines[:11] == [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS x y z rgb",
        "SIZE 4 4 4 4",
        "TYPE F F F F",
        "COUNT 1 1 1 1",
        "WIDTH 1",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        "POINTS 1",
        "DATA ascii",
    ]
    x, y, z, rgb = lines[11].split()
    assert (x, y, z) == ("1.500", "-2.250", "0.000")
    (packed,) = struct.unpack("<I", struct.pack("<f", float(rgb)))
    assert packed == 200 << 16


def test_ascii_equals_plain_formatting(tmp_path: Path) -> None:
    points, intensity = some_cloud()
    points[:4] = [[0, -0.0004, 0.0005], [9.9996, -9.9996, 99.9999], [1234567, -0.5, 1e-9], [-1, -10, -100]]
    write_pcd(tmp_path / "a.pcd", points, intensity)
    rows = (tmp_path / "a.pcd").read_text().splitlines()[11:]
    for row, point in zip(rows, points.astype(float), strict=True):
        assert row.split()[:3] == [f"{value:z.3f}" for value in point], point


def test_fields_may_stand_in_any_order_and_have_company(tmp_path: Path) -> None:
    dtype = np.dtype([("ring", "<u2"), ("z", "<f8"), ("rgb", "<u4"), ("pad", "u1", (3,)), ("x", "<f4"), ("y", "<f4")])
    rows = np.zeros(2, dtype)
    rows["x"], rows["y"], rows["z"], rows["rgb"] = [1, 4], [2, 5], [3, 6], [255 << 16, 51 << 16 | 7]
    header = (
        "FIELDS ring z rgb _ x y\nSIZE 2 8 4 1 4 4\nTYPE U F U U F F\nCOUNT 1 1 1 3 1 1\nWIDTH 2\nHEIGHT 1\nPOINTS 2\n"
    )
    path = tmp_path / "a.pcd"
    ascii_rows = "7 3 16711680 0 0 0 1 2\n7 6 3342343 0 0 0 4 5\n"
    compressed = lzf.compress(b"".join(rows[name].tobytes() for name in dtype.names))
    size = struct.pack("<II", len(compressed), rows.nbytes)
    for content in (
        f"DATA ascii\n{ascii_rows}".encode(),
        b"DATA binary\n" + rows.tobytes(),
        b"DATA binary_compressed\n" + size + compressed,
    ):
        path.write_bytes(header.encode() + content)
        cloud = read_pcd(path)
        np.testing.assert_array_equal(cloud.points, [[1, 2, 3], [4, 5, 6]])
        np.testing.assert_allclose(cloud.intensity, [1, 0.2])


def test_a_cloud_without_rgb_has_no_intensity(tmp_path: Path) -> None:
    path = tmp_path / "a.pcd"
    header = b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nHEIGHT 1\nPOINTS 1\nDATA ascii\n1 2 3\n"
    path.write_bytes(header)
    assert read_pcd(path).intensity is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"POINTS 2", b"POINTS 1000000000000", "POINTS: expected a number of points"),
        (b"WIDTH 2\nHEIGHT 1\nPOINTS 2", b"WIDTH 999999999\nHEIGHT 1\nPOINTS 999999999", "expected 999999999 points"),
        (b"POINTS 2", b"POINTS -2", "POINTS: expected a number of points, got -2"),
        (b"POINTS 2\n", b"", "POINTS: expected a number of points, got no such line"),
        (b"WIDTH 2", b"WIDTH 3", "POINTS: expected WIDTH x HEIGHT, got 2 and 3 x 1"),
        (b"SIZE 4 4 4 4", b"SIZE 4 4 4 -4", "rgb: expected a TYPE with SIZE and COUNT"),
        (b"SIZE 4 4 4 4", b"SIZE 4 4 4", "FIELDS, SIZE, TYPE, COUNT: expected as many entries"),
        (b"COUNT 1 1 1 1", b"COUNT 1 1 1 99999", "SIZE: expected points of at most"),
        (b"COUNT 1 1 1 1", b"COUNT 2 1 1 1", "expected"),
        (b"TYPE F F F F", b"TYPE F F F S", "rgb: expected a TYPE with SIZE and COUNT"),
        (b"FIELDS x y z rgb", b"FIELDS x y rgb a", "FIELDS: expected x, y and z, got no z"),
        (b"DATA ", b"DATA my_", "DATA: expected ascii, binary or binary_compressed"),
    ],
)
@pytest.mark.parametrize("form", ["ascii", "binary"])
def test_a_hostile_header_is_one_line(tmp_path: Path, form: str, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / "a.pcd"
    data = b"1 2 3 0\n4 5 6 0\n" if form == "ascii" else ROWS.tobytes()
    content = HEADER + b"DATA " + form.encode() + b"\n" + data
    path.write_bytes(content)
    read_pcd(path)
    path.write_bytes(content.replace(old, new))
    with pytest.raises(UserError) as error:
        read_pcd(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["ascii", "binary", "binary_compressed"])
def test_a_truncated_file_is_one_line(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.pcd"
    write_pcd(path, *some_cloud(), form)
    content = path.read_bytes()
    for size in (0, 40, 200, 230, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:size])
        with pytest.raises(UserError) as error:
            read_pcd(path)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="expected a PCD file, got: No such file"):
        read_pcd(tmp_path / "b.pcd")


@pytest.mark.parametrize("row", [b"4 5 6 a\n", b"4 5 6\n", b"4 nan 6 0\n", b"4 1e99 6 0\n", b"4 5 6 0\n7 8 9 0\n"])
def test_a_row_that_is_none_is_an_error(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "a.pcd"
    path.write_bytes(HEADER + b"DATA ascii\n1 2 3 0\n" + row)
    with pytest.raises(UserError):
        read_pcd(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"a", b"abc", bytes(5000), b"abcabcabcabc" * 50, np.random.default_rng(0).bytes(3000) * 2],
)
def test_lzf_survives_the_way_there_and_back(content: bytes) -> None:
    small = lzf.compress(content)
    assert lzf.decompress(small, len(content)) == content
    assert len(small) <= len(content) * 33 // 32 + 1


def test_lzf_decodes_what_the_format_says() -> None:
    # Three literals; then 5 bytes from 3 back, which run into what they append; then 9 + 1 from 1 back.
    encoded = bytes([2]) + b"abc" + bytes([3 << 5, 2]) + bytes([7 << 5, 1, 0])
    assert lzf.decompress(encoded, 18) == b"abc" + b"abcab" + b"b" * 10


@pytest.mark.parametrize(
    ("encoded", "size"),
    [
        (bytes([31]) + b"short", 32),
        (bytes([1 << 5, 9]), 3),
        (bytes([0]) + b"a" + bytes([7 << 5]), 9),
        (bytes([0]) + b"a" + bytes([7 << 5, 255]), 265),
        (bytes([0]) + b"a", 2),
        (bytes([1]) + b"ab", 1),
        (bytes([0]) + b"a", 1 << 31),
    ],
)
def test_damaged_lzf_is_refused(encoded: bytes, size: int) -> None:
    with pytest.raises(ValueError, match="expected LZF of"):
        lzf.decompress(encoded, size)
