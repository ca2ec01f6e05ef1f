"""The files of one scenario, exactly as OPV2V has them, and dense truth beside them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from jaxtyping import Float64, UInt8

from drivelab_shared.files import replace_text
from drivelab_shared.scenes import standing
from opv2v_stage2.config import MakeDataSettings, parse_size
from opv2v_stage2.data.agent_yaml import AgentDocument, CameraCalibration, VehicleState, write_agent_yaml
from opv2v_stage2.data.make_data.actors import LIDAR_ABOVE_M, LIDAR_BEHIND_M, Actor
from opv2v_stage2.data.make_data.plan import RATE_HZ, Scenario
from opv2v_stage2.data.make_data.sensors import LIDAR, LIDAR_FROM_CAMERA, Recording, camera_of, record
from opv2v_stage2.data.make_data.streets import roads_of, scene_of
from opv2v_stage2.data.make_data.traffic import MOTORWAY_MPS, WORST_APART_M, traffic
from opv2v_stage2.data.pcd import write_pcd
from opv2v_stage2.data.recording import FrameKey
from opv2v_stage2.data.truth import Truth, truth_path, write_truth
from opv2v_stage2.geometry import cords_of_camera, pose_of_body, ue_matrix

KMH = 3.6
LIDAR_FROM_EGO = standing(LIDAR_BEHIND_M, 0.0, 0.0, -LIDAR_ABOVE_M)
TURNS_HZ = 20
PLANNED_S = np.arange(1, 11) * 0.2
WORST_PLACE_M = (600.89 - WORST_APART_M / 2, 27.825)
"""Right-handed: the middle of the motorway, so that vehicle 1045 is at x = 600.89, y = 16.95 at the first moment."""


def write_scenario(settings: MakeDataSettings, scenario: Scenario) -> None:
    """Build the street, record every agent at every moment, write. The same bytes every time."""
    roads = roads_of(scenario)
    agents, others = traffic(scenario, roads)
    scene, camera = scene_of(scenario, roads), camera_of(*parse_size(settings.size))
    world_from_street = place(scenario)
    for index, time_s in enumerate(scenario.times_s):
        bodies = {actor: actor.body(time_s) for actor in (*agents, *others)}
        for number, agent in enumerate(agents):
            rng = scenario.rng(5, index, number)
            recording = record(scene, bodies, agent, time_s, camera, rng)
            noise = _gnss_noise(settings, scenario, index, number)
            document = _document(scenario, settings, agent, recording, time_s, world_from_street, noise)
            _write(settings, scenario, index, agent, recording, document)
    _write_protocol(settings, scenario, agents, world_from_street)


def place(scenario: Scenario) -> Float64[np.ndarray, "4 4"]:
    """`world_from_street`, right-handed. Somewhere, at some height; the worst motorway where the real one is."""
    if scenario.is_worst:
        travelled_m = MOTORWAY_MPS * scenario.times_s[0]
        return standing(WORST_PLACE_M[0] - travelled_m, WORST_PLACE_M[1], 0.0)
    rng = scenario.rng(6)
    return standing(*rng.uniform(-350, 350, 2), rng.uniform(-np.pi, np.pi), rng.uniform(0, 12))


def _gnss_noise(settings: MakeDataSettings, scenario: Scenario, index: int, number: int) -> Float64[np.ndarray, "6"]:
    """To be added to the UE pose: x, y and yaw. One receiver in some scenarios counts on beyond a full turn."""
    x, y, yaw = scenario.rng(7, index, number).normal(0, 1, 3)
    turn = 360.0 if number == 0 and scenario.number % 4 == 0 else 0.0
    return np.array([settings.gps_noise_m * x, settings.gps_noise_m * y, 0, 0, settings.gps_noise_deg * yaw + turn, 0])


def _document(
    scenario: Scenario,
    settings: MakeDataSettings,
    agent: Actor,
    recording: Recording,
    time_s: float,
    world_from_street: Float64[np.ndarray, "4 4"],
    noise: Float64[np.ndarray, "6"],
) -> AgentDocument:
    world_from_lidar = world_from_street @ agent.street_from_lidar(time_s)
    true_ego_pos = pose_of_body(world_from_lidar @ LIDAR_FROM_EGO)
    lidar_pose = pose_of_body(world_from_lidar)
    return AgentDocument(
        lidar_pose=lidar_pose,
        true_ego_pos=true_ego_pos,
        predicted_ego_pos=true_ego_pos + noise,
        ego_speed=KMH * agent.speed_over_ground(time_s),
        plan_trajectory=_plan(agent, time_s, world_from_street),
        cameras={
            number: _calibration(lidar_pose, world_from_lidar @ lidar_from_camera, settings)
            for number, lidar_from_camera in enumerate(LIDAR_FROM_CAMERA)
        },
        vehicles={
            actor.id: _vehicle(actor, time_s, world_from_street) for actor in recording.seen if not actor.is_roadside
        },
        is_roadside=agent.is_roadside if scenario.has_roadside else None,
    )


def _plan(
    agent: Actor, time_s: float, world_from_street: Float64[np.ndarray, "4 4"]
) -> Float64[np.ndarray, "points 3"]:
    """Positions in the UE world and km/h, for the next two seconds; a roadside unit has no plans."""
    if agent.is_roadside:
        return np.zeros((0, 3))
    points, _ = agent.along(time_s + PLANNED_S)
    x, y = (points @ world_from_street[:2, :2].T + world_from_street[:2, 3]).T
    return np.stack([x, -y, np.full(len(x), KMH * agent.speed_over_ground(time_s))], axis=1)


def _calibration(
    lidar_pose: Float64[np.ndarray, "6"], world_from_camera: Float64[np.ndarray, "4 4"], settings: MakeDataSettings
) -> CameraCalibration:
    cords, matrix = cords_of_camera(world_from_camera), camera_of(*parse_size(settings.size)).matrix
    matrix[:2, 2] += 0.5
    # Of the poses as they are written: in the real files, too, the product is exact.
    return CameraCalibration(cords, np.linalg.inv(ue_matrix(cords)) @ ue_matrix(lidar_pose), matrix)


def _vehicle(actor: Actor, time_s: float, world_from_street: Float64[np.ndarray, "4 4"]) -> VehicleState:
    pose, half = pose_of_body(world_from_street @ actor.street_from_body(time_s)), np.array(actor.size_m) / 2
    return VehicleState(
        angle=pose[3:],
        center=np.array([0.0, 0.0, half[2]]),
        extent=half,
        location=pose[:3],
        speed=KMH * actor.speed_over_ground(time_s),
    )


def _write(
    settings: MakeDataSettings,
    scenario: Scenario,
    index: int,
    agent: Actor,
    recording: Recording,
    document: AgentDocument,
) -> None:
    key, name = FrameKey(scenario.name, scenario.frames[index]), str(agent.id)
    folder = settings.data_dir / scenario.split / scenario.name / name
    write_agent_yaml(folder / f"{key.frame}.yaml", document)
    points = recording.sweep.points * np.array([1, -1, 1], np.float32)  # the files are left-handed
    write_pcd(folder / f"{key.frame}.pcd", points, recording.sweep.intensity, settings.pcd)
    for number, view in enumerate(recording.views):
        if number not in scenario.missing_cameras:
            _write_picture(folder / f"{key.frame}_camera{number}.png", view.rgb)
    if settings.truth:
        depth_z, label = (np.stack([getattr(view, name) for view in recording.views]) for name in ("depth_z", "label"))
        depth_z[list(scenario.missing_cameras)] = np.nan
        write_truth(truth_path(settings.data_dir, scenario.split, key, name), Truth(depth_z, label))


def _write_picture(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    """PNG, quick rather than small."""
    _, encoded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    path.write_bytes(encoded.tobytes())


def _write_protocol(
    settings: MakeDataSettings,
    scenario: Scenario,
    agents: Sequence[Actor],
    world_from_street: Float64[np.ndarray, "4 4"],
) -> None:
    """What made the scenario, in the words of OpenCDA's protocols."""
    start_s = scenario.times_s[0]
    spawned = [
        {
            "name": f"cav{number}",
            "spawn_position": pose_of_body(world_from_street @ agent.street_from_body(start_s)).tolist(),
            "max_speed": round(KMH * agent.speed_mps, 1),
        }
        for number, agent in enumerate(agents)
        if not agent.is_roadside
    ]
    lidar = {
        "channels": LIDAR.num_beams,
        "range": LIDAR.range_m,
        "points_per_second": len(LIDAR.directions) * TURNS_HZ,
        "rotation_frequency": TURNS_HZ,
        "upper_fov": LIDAR.high_deg,
        "lower_fov": LIDAR.low_deg,
        "dropoff_general_rate": LIDAR.dropout,
        "noise_stddev": LIDAR.noise_m,
    }
    noise = {
        "noise_x_stddev": settings.gps_noise_m,
        "noise_y_stddev": settings.gps_noise_m,
        "noise_heading_stddev": settings.gps_noise_deg,
    }
    content = {
        "world": {"sync_mode": True, "fixed_delta_seconds": 0.05, "seed": scenario.seed, "record_rate_hz": RATE_HZ},
        "vehicle_base": {"sensing": {"camera": {"num": len(LIDAR_FROM_CAMERA)}, "lidar": lidar, "localization": noise}},
        "scenario": {"street": scenario.kind, "single_cav_list": spawned},
    }
    path = settings.data_dir / scenario.split / scenario.name / "data_protocol.yaml"
    replace_text(path, yaml.safe_dump(content, sort_keys=False))
