"""Data: labels from the lidar, the readers of the two text formats, and the renderer."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml
from jaxtyping import Float32

from drivelab_shared.results import Row, Table
from drivelab_shared.timing import Work, interleave, timed
from opv2v_stage2.bench.inputs import some_frames
from opv2v_stage2.config import BenchSettings, LabelSettings, MakeDataSettings, ModelSettings
from opv2v_stage2.data.agent_files import read_lidar
from opv2v_stage2.data.agent_yaml import read_agent_yaml
from opv2v_stage2.data.depth_labels import OCCLUSION_SIZE, depth_labels, is_visible, z_buffer
from opv2v_stage2.data.make_data import make_data
from opv2v_stage2.data.pcd import read_pcd, write_pcd
from opv2v_stage2.data.projection import project
from opv2v_stage2.data.recording import AgentFrame, CameraView
from opv2v_stage2.data.tree import Tree

NUM_AGENTS = 3
LABELS = LabelSettings(coverage=1.0)
RESIZED, PROJECTED = "projected at 800 x 600, then resized", "projected at the model's size (ours)"
LOADTXT, ASCII, BINARY = "ASCII PCD by numpy.loadtxt", "ASCII PCD, checked (ours)", "binary PCD, checked (ours)"
PURE, CHECKED = "YAML in pure Python", "YAML in C, checked (ours)"
RENDERED = "make-data, everything included"
PCD_HEADER_LINES = 11


def bench_data(tree: Tree, settings: BenchSettings, scratch: Path) -> list[Table]:
    """Labels that stay and what they cost; sweeps, YAML files and rendered pictures per CPU-second."""
    frames = some_frames(tree, NUM_AGENTS)
    return [_projection(frames, settings), _files(frames, settings, scratch)]


def _projection(frames: Sequence[AgentFrame], settings: BenchSettings) -> Table:
    model = ModelSettings()
    size = (model.width, model.height)
    views = [(read_lidar(frame)[0], camera) for frame in frames for camera in frame.cameras.values()]

    def labels(make: Callable[[np.ndarray, CameraView, tuple[int, int]], np.ndarray]) -> list[np.ndarray]:
        return [make(points, camera, size) for points, camera in views]

    ways = {RESIZED: resized_labels, PROJECTED: lambda *arguments: depth_labels(*arguments, LABELS, (settings.seed,))}
    works = {name: timed(lambda make=make: len(labels(make))) for name, make in ways.items()}
    timings = interleave("projection", works, settings.repeats)
    shares = {name: 100 * float(np.mean([(found > 0).mean() for found in labels(make)])) for name, make in ways.items()}
    rows = [Row(name, "pixels with a label [%]", share, n=len(views)) for name, share in shares.items()]
    rows += [Row(name, "CPU time of a picture [ms]", **vars(timings.milliseconds(name))) for name in ways]
    rows.append(Row(PROJECTED, f"times {RESIZED}", **vars(timings.times(PROJECTED, RESIZED))))
    conclusions = [
        f"**At {size[0]} x {size[1]} pixels, projecting at that size labels {shares[PROJECTED]:.1f} % of the pixels; "
        f"resizing a finished map leaves {shares[RESIZED]:.1f} %**. The first is "
        f"{timings.times(PROJECTED, RESIZED).shown('times', 2)} as fast as the second.",
    ]
    title = f"Lidar to labels, {len(views)} pictures, {settings.repeats} times in turns"
    return Table.create("projection", title, rows, [settings.seed], conclusions, threads=settings.threads)


def resized_labels(
    points: Float32[np.ndarray, "points 3"], camera: CameraView, size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """What is usually done: a map of the native size, shrunk by nearest neighbour."""
    points = points[np.linalg.norm(points[:, :2], axis=1) > LABELS.own_body_m]
    points = points[is_visible(points, camera, LABELS)]
    native = z_buffer(*project(points, camera, OCCLUSION_SIZE), OCCLUSION_SIZE)
    return cv2.resize(native, size, interpolation=cv2.INTER_NEAREST)


def _files(frames: Sequence[AgentFrame], settings: BenchSettings, scratch: Path) -> Table:
    ascii_sweep, binary_sweep = scratch / "ascii.pcd", scratch / "binary.pcd"
    cloud = read_pcd(frames[0].lidar_path)
    intensity = np.ones(len(cloud.points)) if cloud.intensity is None else cloud.intensity
    write_pcd(ascii_sweep, cloud.points, intensity)
    write_pcd(binary_sweep, cloud.points, intensity, form="binary")
    documents = [frame.lidar_path.with_suffix(".yaml") for frame in frames]
    works = {
        LOADTXT: _each(lambda path: np.loadtxt(path, skiprows=PCD_HEADER_LINES), [ascii_sweep]),
        ASCII: _each(read_pcd, [ascii_sweep]),
        BINARY: _each(read_pcd, [binary_sweep] * 20),
        PURE: _each(lambda path: yaml.load(path.read_text(), Loader=yaml.SafeLoader), documents),
        CHECKED: _each(read_agent_yaml, documents * 5),
        RENDERED: timed(lambda: _render(settings, scratch)),
    }
    timings = interleave("files", works, settings.repeats)
    rows = [Row(name, "files per CPU-second", **vars(timings.rate(name))) for name in works if name != RENDERED]
    gains = {name: timings.times(name, plain) for name, plain in ((ASCII, LOADTXT), (BINARY, LOADTXT), (CHECKED, PURE))}
    rows += [Row(name, "times the plain reader", **vars(gain)) for name, gain in gains.items()]
    rendered, size = timings.rate(RENDERED), MakeDataSettings().size
    rows.append(Row(RENDERED, "pictures per CPU-second", **vars(rendered)))
    conclusions = [
        f"A sweep of {len(cloud.points)} points in ASCII is read {gains[ASCII].shown('times', 2)} as fast as by "
        f"numpy.loadtxt, checks included; a binary one {gains[BINARY].shown('times', 0)}.",
        f"A YAML file is read {gains[CHECKED].shown('times', 1)} as fast as by PyYAML without C, checks included.",
        f"make-data writes {rendered.shown()} pictures of {size} pixels per CPU-second, with sweeps, dense depth, "
        "poses and boxes; on several cores it makes several scenarios at a time.",
    ]
    title = f"Readers and renderer, {settings.repeats} times in turns"
    return Table.create("files", title, rows, [settings.seed], conclusions, threads=settings.threads)


def _each(read: Callable[[Path], object], paths: Sequence[Path]) -> Work:
    def run() -> int:
        for path in paths:
            read(path)
        return len(paths)

    return timed(run)


def _render(settings: BenchSettings, scratch: Path) -> int:
    """A scenario of each split; returns how many pictures."""
    folder = Path(tempfile.mkdtemp(dir=scratch)) / "data"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        make_data(
            MakeDataSettings(data_dir=folder, num_scenarios=(1, 1, 1), num_frames=1, workers=1, seed=settings.seed)
        )
    count = sum(1 for _ in folder.rglob("*_camera*.png"))
    shutil.rmtree(folder)
    return count
