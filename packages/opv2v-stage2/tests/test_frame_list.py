import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from drivelab_shared.errors import UserError
from opv2v_stage2.data.frame_list import (
    FINE_EDGES_M,
    FrameList,
    ListedFrame,
    bucket,
    coarse_bucket,
    hash_v1,
    hash_v2,
    make_frame_list,
    read_frame_list,
    write_frame_list,
)
from opv2v_stage2.data.tree import Tree, open_tree

SCENARIO = "2021_08_18_19_48_05"


@pytest.fixture
def tree(tmp_path: Path, write_scenario, agent_document) -> Tree:
    """Vehicles at 0, 40 and 9 m; a roadside unit nearer than all; and a frame with one vehicle."""
    scenario = tmp_path / "test" / SCENARIO
    agents = {"7": agent_document(), "12": agent_document(40), "101": agent_document(9), "-1": agent_document(1)}
    write_scenario(scenario, agents)
    write_scenario(scenario, {"12": agent_document()}, frames=("000340",))
    return open_tree(tmp_path)


def test_partners_are_the_nearest_vehicles_and_not_the_first(tree: Tree) -> None:
    first = make_frame_list(tree, "test").frames[0]
    assert (first.main_agent, first.coop_agents, first.baseline_bucket) == ("7", ("101",), "[0,15)")
    assert first.baseline_distance_m == pytest.approx(9)
    assert first.agents == ("7", "101")


def test_the_distance_is_that_of_the_farthest_partner(tree: Tree) -> None:
    first = make_frame_list(tree, "test", num_agents=5).frames[0]
    assert (first.coop_agents, first.baseline_bucket) == (("101", "12"), "[30,60)")
    assert first.baseline_distance_m == pytest.approx(40)


def test_a_frame_with_one_vehicle_is_listed_as_single(tree: Tree) -> None:
    last = make_frame_list(tree, "test").frames[-1]
    assert (last.key, last.coop_agents, last.baseline_bucket) == ((SCENARIO, "000340"), (), "single")


def test_a_sample_is_a_function_of_the_seed_and_in_order(tree: Tree) -> None:
    samples = {
        seed: [f.frame for f in make_frame_list(tree, "test", sample_size=2, seed=seed).frames] for seed in range(9)
    }
    assert samples[0] == [f.frame for f in make_frame_list(tree, "test", sample_size=2, seed=0).frames]
    assert all(frames == sorted(frames) and len(frames) == 2 for frames in samples.values())
    assert len({tuple(frames) for frames in samples.values()}) > 1
    assert len(make_frame_list(tree, "test", sample_size=99).frames) == 3


def test_an_empty_split_is_an_error(tree: Tree) -> None:
    with pytest.raises(UserError, match="expected frames with vehicles in the split train, got none"):
        make_frame_list(tree, "train")


def listed(frame: str = "000340", main: str = "1045", coop: tuple[str, ...] = ("1054", "1060")) -> ListedFrame:
    return ListedFrame(SCENARIO, frame, main, coop, 50.0, "[30,60)")


def test_the_hashes_are_those_of_the_contract() -> None:
    frames = [listed(), listed("000113", coop=())]
    lines = f"{SCENARIO}/000113/main=1045/coop=\n{SCENARIO}/000340/main=1045/coop=1054,1060"
    assert hash_v2(frames) == hashlib.md5(lines.encode()).hexdigest()
    assert hash_v1(frames) == hashlib.md5(f"{SCENARIO}/000113\n{SCENARIO}/000340".encode()).hexdigest()


def test_only_the_second_hash_sees_another_pairing_and_none_sees_an_order() -> None:
    frames = [listed(), listed("000113")]
    other = [listed(), listed("000113", coop=("1054",))]
    assert hash_v1(frames) == hash_v1(other)
    assert hash_v2(frames) != hash_v2(other)
    turned = [listed("000113", coop=("1060", "1054")), listed(), listed()]
    assert hash_v2(frames) == hash_v2(turned)


@pytest.mark.parametrize(
    ("distance", "fine", "coarse"),
    [
        (0.0, "[0,15)", "near"),
        (15.0, "[15,30)", "near"),
        (30.0, "[30,60)", "mid"),
        (99.9, "[60,100)", "far"),
        (166.0, "[100,inf)", "tail"),
    ],
)
def test_buckets_are_closed_below_and_open_above(distance: float, fine: str, coarse: str) -> None:
    assert bucket(distance) == fine
    assert coarse_bucket(distance) == coarse


def test_a_list_survives_the_way_there_and_back(tmp_path: Path, tree: Tree) -> None:
    frame_list = make_frame_list(tree, "test", seed=4)
    write_frame_list(tmp_path / "frames.json", frame_list)
    assert read_frame_list(tmp_path / "frames.json") == frame_list
    assert json.loads((tmp_path / "frames.json").read_text())["hash_v2"] == hash_v2(frame_list.frames)


def test_somebody_elses_list_may_have_numbers_as_agents_and_no_buckets(tmp_path: Path) -> None:
    frame = {
        "sequence": SCENARIO,
        "frame": "000340",
        "main_agent": 1054,
        "coop_agents": [1045],
        "baseline_distance_m": 50,
    }
    path = tmp_path / "frames.json"
    path.write_text(json.dumps({"split": "test", "frames": [frame]}))
    frames = (replace(listed(main="1054", coop=("1045",)), baseline_distance_m=50.0),)
    assert read_frame_list(path) == FrameList("test", 0, "unknown", FINE_EDGES_M, frames)
    assert math.isinf(FINE_EDGES_M[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": []}, "no frames"),
        ({"frames": 3}, "expected a list of frames"),
        ({"split": None}, "which is no name"),
        ({"bucket_edges_m": [0, 0]}, "which do not rise"),
        ({"frame": 340}, "which has lost its zeros"),
        ({"coop_agents": ["1045"]}, "not all different"),
        ({"coop_agents": "1054"}, "not all different"),
        ({"baseline_distance_m": float("nan")}, "baseline_distance_m nan"),
        ({"main_agent": {}}, "which is no name"),
    ],
)
def test_a_broken_list_is_one_line(tmp_path: Path, change: dict, message: str) -> None:
    frame = {"sequence": SCENARIO, "frame": "000340", "main_agent": "1045", "coop_agents": ["1054"]}
    frame |= {key: value for key, value in change.items() if key not in ("frames", "split", "bucket_edges_m")}
    content = {"split": "test", "frames": [frame]} | {key: change[key] for key in change if key not in frame}
    path = tmp_path / "frames.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        read_frame_list(path)
    assert str(error.value).startswith(f"{path}: expected a list of frames, got")
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100000, b'{"frames": [{}]}'])
def test_a_file_that_is_no_list_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "frames.json").write_bytes(content)
    with pytest.raises(UserError, match="expected a list of frames"):
        read_frame_list(tmp_path / "frames.json")
    with pytest.raises(UserError, match="No such file"):
        read_frame_list(tmp_path / "other.json")
