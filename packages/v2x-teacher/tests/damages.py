"""Every fault that a V2X-Seq-SPD tree can have, each done to files of its own so that all of them fit into one tree."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .trees import edit, rotation_z

VEHICLE, INFRASTRUCTURE = "vehicle-side/data_info.json", "infrastructure-side/data_info.json"
COOPERATIVE, SPLITS = "cooperative/data_info.json", "cooperative-split-data-spd.json"
ARCHIVE = "V2X-Seq-SPD-infrastructure-side-image"


@dataclass(frozen=True)
class Copy:
    """Of clean data, to be damaged."""

    root: Path
    vehicle: list[dict]
    pairs: list[dict]
    listed: list[str]
    """Vehicle frames of the pairs that the split file lists."""

    @classmethod
    def of(cls, root: Path) -> "Copy":
        """Read before anything is damaged."""
        vehicle, pairs, splits = (json.loads((root / path).read_text()) for path in (VEHICLE, COOPERATIVE, SPLITS))
        lists = splits["cooperative_split"]
        return cls(root, vehicle, pairs, sorted(name for split in ("train", "val", "test") for name in lists[split]))

    def frame(self, sequence: int, index: int) -> str:
        """A vehicle frame of a sequence."""
        return [row["frame_id"] for row in self.vehicle if row["sequence_id"] == f"{sequence:04d}"][index]

    def pair(self, sequence: int, index: int) -> str:
        """The vehicle frame of a listed pair of a sequence."""
        frames = {row["frame_id"] for row in self.vehicle if row["sequence_id"] == f"{sequence:04d}"}
        return [name for name in self.listed if name in frames][index]

    def infrastructure(self, vehicle_id: str) -> str:
        """The other frame of a pair."""
        return next(row["infrastructure_frame"] for row in self.pairs if row["vehicle_frame"] == vehicle_id)

    def train(self, index: int) -> str:
        """A sequence of the training split."""
        return json.loads((self.root / SPLITS).read_text())["batch_split"]["train"][index]

    def edit(self, path: str, change: Callable[[list | dict], object]) -> None:
        edit(self.root / path, change)

    def edit_frame(self, frame_id: str, **fields: object) -> None:
        self.edit(VEHICLE, lambda rows: next(r for r in rows if r["frame_id"] == frame_id).update(fields))

    def time_us(self, frame_id: str) -> int:
        return int(next(row["pointcloud_timestamp"] for row in self.vehicle if row["frame_id"] == frame_id))

    def pose(self, frame_id: str) -> str:
        return f"vehicle-side/calib/novatel_to_world/{frame_id}.json"

    def move(self, frame_id: str, *, metres: float = 0.0, turn: float = 0.0) -> str:
        """Displace the vehicle to the east and turn its frame; returns the file."""

        def change(document: dict) -> None:
            document["rotation"] = (np.array(document["rotation"]) @ rotation_z(turn)).tolist()
            document["translation"][0][0] += metres

        self.edit(self.pose(frame_id), change)
        return self.pose(frame_id)


DAMAGES: list[tuple[str, str, Callable[[Copy], str]]] = []
"""Severity, what the message says, and how it is done; that returns the file to be named."""


def damage(severity: str, message: str) -> Callable:
    def add(inject: Callable[[Copy], str]) -> Callable[[Copy], str]:
        DAMAGES.append((severity, message, inject))
        return inject

    return add


@damage("error", "expected this picture, or ")
def missing_picture(copy: Copy) -> str:
    path = f"vehicle-side/image/{copy.pair(0, 0)}.jpg"
    (copy.root / path).unlink()
    return path


@damage("warning", "expected this picture, or ")
def missing_infrastructure_picture(copy: Copy) -> str:
    path = f"infrastructure-side/image/{copy.infrastructure(copy.pair(0, 1))}.jpg"
    (copy.root / path).unlink()
    return path


@damage("error", "expected this picture, or ")
def wrong_path_in_the_list(copy: Copy) -> str:
    copy.edit_frame(copy.pair(0, 2), image_path="image/wrong.jpg")
    return "vehicle-side/image/wrong.jpg"


@damage("error", "image_path: expected a path inside the data set")
def path_that_leads_out(copy: Copy) -> str:
    copy.edit_frame(copy.frame(0, 1), image_path="../../secret.jpg")
    return VEHICLE


@damage("error", "truncated")
def cut_picture(copy: Copy) -> str:
    path = f"vehicle-side/image/{copy.pair(0, 3)}.jpg"
    content = (copy.root / path).read_bytes()
    (copy.root / path).write_bytes(content[: len(content) // 2])
    return path


@damage("error", "expected a picture, got something else")
def no_picture_at_all(copy: Copy) -> str:
    path = f"infrastructure-side/image/{copy.infrastructure(copy.pair(0, 4))}.jpg"
    (copy.root / path).write_bytes(b"not a picture")
    return path


@damage("warning", "expected 64 x 36 pixels as most of this side, got 32 x 18")
def picture_of_another_size(copy: Copy) -> str:
    path = f"infrastructure-side/image/{copy.infrastructure(copy.pair(0, 5))}.jpg"
    with Image.open(copy.root / path) as picture:
        picture.resize((32, 18)).save(copy.root / path)
    return path


@damage("warning", "got a single colour")
def covered_lens(copy: Copy) -> str:
    path = f"infrastructure-side/image/{copy.infrastructure(copy.pair(1, 0))}.jpg"
    Image.new("RGB", (64, 36), (12, 12, 12)).save(copy.root / path)
    return path


@damage("note", "1 pictures of infrastructure-side are read from here")
def sibling_folder(copy: Copy) -> str:
    name = f"{copy.infrastructure(copy.pair(1, 1))}.jpg"
    (copy.root.parent / ARCHIVE).mkdir()
    (copy.root / "infrastructure-side/image" / name).rename(copy.root.parent / ARCHIVE / name)
    return ARCHIVE


@damage("error", "expected this file for frame")
def missing_pose(copy: Copy) -> str:
    path = copy.pose(copy.frame(1, 30))
    (copy.root / path).unlink()
    return path


@damage("error", "got one that mirrors")
def mirrored_pose(copy: Copy) -> str:
    path = copy.pose(copy.frame(1, 40))
    copy.edit(path, lambda document: document.update(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]))
    return path


@damage("error", "turned around by about 180 degrees")
def flipped_heading(copy: Copy) -> str:
    return copy.move(copy.pair(1, 2), turn=np.pi)


@damage("error", "expected less than 40 m/s from frame to frame")
def jump(copy: Copy) -> str:
    return copy.move(copy.frame(2, 20), metres=30.0)


@damage("error", "that are faster than 40 m/s")
def labels_over_the_jump(copy: Copy) -> str:
    """The consequence of `jump`: the first label whose 4.5 s contain it."""
    return copy.pose(copy.pair(2, 0))


@damage("warning", "expected at most 10 m/s2 over half a second")
def jolt(copy: Copy) -> str:
    return copy.move(copy.frame(2, 45), metres=3.5)


@damage("error", "expected x forward as in most sequences")
def sequence_with_another_axis(copy: Copy) -> str:
    for row in copy.vehicle:
        if row["sequence_id"] == "0003":
            copy.move(row["frame_id"], turn=-np.pi / 2)
    return copy.pose(copy.frame(3, 0))


@damage("error", "expected one axis of the vehicle frame along the motion")
def unclear_axis(copy: Copy) -> str:
    """The consequence for all sequences together."""
    return "vehicle-side/calib/novatel_to_world"


@damage("warning", "expected frames at most 0.25 s apart, got a gap: 1 x, sequence 0004 2.")
def gap(copy: Copy) -> str:
    first = copy.time_us(copy.frame(4, 20))

    def later(rows: list) -> None:
        for row in rows:
            if row["sequence_id"] == "0004" and int(row["pointcloud_timestamp"]) > first:
                for field in ("pointcloud_timestamp", "image_timestamp"):
                    row[field] = str(int(row[field]) + 2_000_000)

    copy.edit(VEHICLE, later)
    copy.edit(INFRASTRUCTURE, later)
    return VEHICLE


@damage("warning", "a gap of more than 0.25 s within the horizon")
def pairs_lost_to_the_gap(copy: Copy) -> str:
    return ""


@damage("error", "sequence 0005: expected one frame per time")
def time_twice(copy: Copy) -> str:
    copy.edit_frame(copy.frame(5, 11), pointcloud_timestamp=str(copy.time_us(copy.frame(5, 10))))
    return VEHICLE


@damage("error", "expected microseconds since 1970, 16 digits, got milliseconds")
def another_unit(copy: Copy) -> str:
    name = copy.frame(5, 14)
    copy.edit_frame(name, pointcloud_timestamp=str(copy.time_us(name) // 1000))
    return VEHICLE


@damage("warning", "expected the rows of a sequence in order of time")
def rows_out_of_order(copy: Copy) -> str:
    def swap(rows: list) -> None:
        first = next(index for index, row in enumerate(rows) if row["frame_id"] == copy.frame(5, 30))
        rows[first], rows[first + 1] = rows[first + 1], rows[first]

    copy.edit(VEHICLE, swap)
    return VEHICLE


@damage("warning", "image_timestamp: expected within 0.25 s of pointcloud_timestamp")
def picture_of_another_time(copy: Copy) -> str:
    name = copy.frame(5, 40)
    copy.edit_frame(name, image_timestamp=str(copy.time_us(name) + 1_000_000))
    return VEHICLE


@damage("warning", "image_timestamp: expected microseconds since 1970, 16 digits")
def picture_time_in_another_unit(copy: Copy) -> str:
    name = copy.frame(5, 41)
    copy.edit_frame(name, image_timestamp=copy.time_us(name) // 1_000_000)
    return VEHICLE


@damage("warning", "expected pairs taken within 0.25 s of each other")
def partner_of_another_time(copy: Copy) -> str:
    names = copy.pair(6, 0), copy.pair(6, 4)
    other = copy.infrastructure(names[1])
    copy.edit(COOPERATIVE, lambda rows: _row(rows, names[0]).update(infrastructure_frame=other))
    return COOPERATIVE


@damage("warning", "expected one pair per vehicle frame")
def pair_twice(copy: Copy) -> str:
    copy.edit(COOPERATIVE, lambda rows: rows.append(dict(_row(rows, copy.pair(6, 1)))))
    return COOPERATIVE


@damage("error", "in one split, got train and test: a leak")
def sequence_in_two_splits(copy: Copy) -> str:
    copy.edit(SPLITS, lambda document: document["batch_split"]["test"].append(copy.train(-1)))
    return SPLITS


@damage("error", "as batch_split says, got them in cooperative_split train: a leak")
def pair_in_another_split_than_its_sequence(copy: Copy) -> str:
    def move(document: dict) -> None:
        lists = document["cooperative_split"]
        lists["train"].append(lists["val"].pop(0))

    copy.edit(SPLITS, move)
    return COOPERATIVE


@damage("warning", "expected the optical axis near the middle of 64 x 36 pixels, got (960, 540)")
def lens_of_another_picture(copy: Copy) -> str:
    path = f"vehicle-side/calib/camera_intrinsic/{copy.pair(6, 2)}.json"
    lens = {"cam_D": [0] * 5, "cam_K": [1000, 0, 960, 0, 1000, 540, 0, 0, 1]}
    (copy.root / path).write_text(json.dumps(lens))
    return path


@damage("warning", "expected a focal length that fits pictures 64 pixels wide, got 2000")
def lens_of_a_telescope(copy: Copy) -> str:
    path = f"infrastructure-side/calib/camera_intrinsic/{copy.infrastructure(copy.pair(6, 2))}.json"
    (copy.root / path).write_text(json.dumps({"cam_K": [2000, 0, 32, 0, 2000, 18, 0, 0, 1]}))
    return path


@damage("warning", "expected a file per pair, got none for 1 of")
def missing_lens(copy: Copy) -> str:
    path = f"vehicle-side/calib/camera_intrinsic/{copy.pair(6, 3)}.json"
    (copy.root / path).unlink()
    return copy.pair(6, 3)


@damage("warning", "expected a camera on the vehicle")
def camera_beside_the_vehicle(copy: Copy) -> str:
    path = f"vehicle-side/calib/lidar_to_camera/{copy.pair(7, 0)}.json"
    copy.edit(path, lambda document: document.update(translation=[[30], [0], [0]]))
    return path


@damage("warning", "expected a camera that looks ahead, got one that looks 180 degrees away from it")
def camera_that_looks_back(copy: Copy) -> str:
    path = f"vehicle-side/calib/lidar_to_camera/{copy.pair(7, 1)}.json"
    copy.edit(path, lambda document: document.update(rotation=[[0, 1, 0], [0, 0, -1], [-1, 0, 0]]))
    return path


@damage("warning", "expected a camera above the road")
def camera_below_the_road(copy: Copy) -> str:
    path = f"infrastructure-side/calib/virtuallidar_to_world/{copy.infrastructure(copy.pair(7, 2))}.json"
    copy.edit(path, lambda document: document["translation"][2].__setitem__(0, 0.0))
    return path


@damage("warning", "expected a camera within 300 m of the vehicle")
def camera_at_another_junction(copy: Copy) -> str:
    path = f"infrastructure-side/calib/virtuallidar_to_world/{copy.infrastructure(copy.pair(7, 3))}.json"
    copy.edit(path, lambda document: document["translation"][0].__setitem__(0, 9000.0))
    return path


@damage("error", "got one that mirrors")
def mirrored_camera(copy: Copy) -> str:
    path = f"infrastructure-side/calib/virtuallidar_to_camera/{copy.infrastructure(copy.pair(7, 4))}.json"
    copy.edit(path, lambda document: document.update(rotation=(-np.array(document["rotation"])).tolist()))
    return path


def _label(copy: Copy, index: int) -> str:
    """One of the label files of sequences 5 to 7 that have several road users, far enough from the others."""
    names = [row["vehicle_frame"] for row in copy.pairs if row["vehicle_sequence"] in ("0005", "0006", "0007")]
    files = [f"cooperative/label/{name}.json" for name in names]
    return [path for path in files if len(json.loads((copy.root / path).read_text())) > 1][10 * index]


@damage("warning", "expected a label file per pair, got none for 1 of")
def missing_label(copy: Copy) -> str:
    path = f"cooperative/label/{copy.pair(4, 0)}.json"
    (copy.root / path).unlink()
    return path


@damage("error", "expected JSON")
def broken_label(copy: Copy) -> str:
    path = f"cooperative/label/{copy.pair(4, 1)}.json"
    (copy.root / path).write_text("[{")
    return path


@damage("warning", "expected each once, got 000999 several times")
def track_twice(copy: Copy) -> str:
    path = _label(copy, 0)
    copy.edit(path, lambda rows: [row.update(track_id="000999") for row in rows[:2]])
    return path


@damage("warning", "expected the same road user all the time, got a leap of")
def track_of_two_road_users(copy: Copy) -> str:
    path = _label(copy, 1)
    copy.edit(path, lambda rows: rows[0]["3d_location"].update(x=rows[0]["3d_location"]["x"] + 60))
    return path


@damage("warning", "expected a heading that changes slowly, got a turn of 1")
def box_turned_around(copy: Copy) -> str:
    path = _label(copy, 3)
    copy.edit(path, lambda rows: rows[0].update(rotation=rows[0]["rotation"] + np.pi))
    return path


@damage("warning", "expected road users within 300 m of the vehicle")
def label_in_another_frame(copy: Copy) -> str:
    """World coordinates where the lidar's are expected."""
    path = _label(copy, 2)
    copy.edit(path, lambda rows: rows[0]["3d_location"].update(x=2636.0, y=1745.0))
    return path


@damage("note", "intersection_loc: expected the name of one junction, got none or several")
def unknown_junction(copy: Copy) -> str:
    copy.edit_frame(copy.frame(8, 3), intersection_loc="")
    return VEHICLE


@damage("note", "expected a map in the coordinates of the poses")
def map_in_other_coordinates(copy: Copy) -> str:
    path = "maps/yizhuang07.json"
    (copy.root / path).write_text(json.dumps({"LANE": {"0": {"centerline": ["(419849.0, 4730993.0)"]}}}))
    return path


@damage("note", "neighbouring frame ids lie in different splits")
def ids_that_run_on(copy: Copy) -> str:
    """In the clean data too, as in the real ones."""
    return VEHICLE


@damage("note", "45 rows of this list are not 4.4 s")
def list_with_holes(copy: Copy) -> str:
    return COOPERATIVE


def _row(rows: list[dict], vehicle_id: str) -> dict:
    return next(row for row in rows if row["vehicle_frame"] == vehicle_id)
