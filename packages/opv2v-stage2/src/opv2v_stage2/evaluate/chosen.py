"""Which frames and models an evaluation is about."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from drivelab_shared.errors import UserError
from opv2v_stage2.config import EvaluateSettings, Modality, Mode
from opv2v_stage2.data.frame_list import (
    FrameList,
    ListedFrame,
    hash_v2,
    make_frame_list,
    read_frame_list,
    write_frame_list,
)
from opv2v_stage2.data.samples import Sample, sample_of
from opv2v_stage2.data.store import Store
from opv2v_stage2.data.tree import Tree
from opv2v_stage2.evaluate.methods import Method, flat_ground, lidar_scaled, model_method, oracle
from opv2v_stage2.storage import load_model
from opv2v_stage2.trained import TrainedRun

BATCH = 4


def frame_list(tree: Tree, settings: EvaluateSettings, output: Path) -> FrameList:
    """The frames that are asked for; written beside the results, whose frames they must match.

    Raises:
        UserError: the list is of another split, names frames that are not there, or other frames were measured before.
    """
    if settings.frames_json is not None:
        frames = read_frame_list(settings.frames_json)
        if frames.split != settings.split:
            raise UserError(f"{settings.frames_json}: split: expected {settings.split}, got {frames.split}")
        _require_frames(tree, frames, settings.frames_json)
    else:
        frames = make_frame_list(tree, settings.split, sample_size=settings.sample_size, seed=settings.seed)
    path = output / f"frames_{settings.split}.json"
    if path.exists() and not settings.force:
        ours, theirs = (hash_v2(one.frames) for one in (frames, read_frame_list(path)))
        if ours != theirs:
            raise UserError(f"{path}: expected the same frames as before, {theirs}, got {ours}; --force replaces them")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frame_list(path, frames)
    return frames


def _require_frames(tree: Tree, frames: FrameList, source: Path) -> None:
    there = tree.files.get(frames.split, {})
    for frame in frames.frames:
        missing = [agent for agent in frame.agents if agent not in there.get(frame.key, {})]
        if missing:
            found = f"none of {', '.join(missing)}"
            raise UserError(f"{source}: {frame.key}: expected agents that are in {tree.root}, got {found}")


def listed_samples(store: Store, frames: FrameList, mode: Mode) -> list[tuple[ListedFrame, Sample]]:
    """The frames of a mode with their rows; those with one vehicle cannot cooperate."""
    return [
        (frame, sample_of(store, frame.key, frame.agents if mode == "coop" else (frame.main_agent,)))
        for frame in frames.frames
        if mode == "single" or frame.coop_agents
    ]


def batched(
    listed: Sequence[tuple[ListedFrame, Sample]],
) -> Iterator[tuple[int, list[tuple[ListedFrame, Sample]]]]:
    """(number of the first, some neighbours with as many vehicles each)."""
    start = 0
    while start < len(listed):
        end, vehicles = start, len(listed[start][1].rows)
        while end < min(start + BATCH, len(listed)) and len(listed[end][1].rows) == vehicles:
            end += 1
        yield start, list(listed[start:end])
        start = end


def methods_of(trained: TrainedRun, settings: EvaluateSettings, store: Store) -> list[Method]:
    """The models, then the baselines.

    Raises:
        UserError: a model is not there, or model_filter names another one.
    """
    modality = effective_modality(trained, settings)
    folders = model_folders(trained, settings)
    methods = [
        model_method(name, load_model(folder)[0].to(trained.device), modality, trained.device, folder)
        for name, folder in folders.items()
    ]
    baselines = [flat_ground(trained.settings.model, modality, trained.device)]
    baselines += [lidar_scaled(method) for method in methods if method.name != "stage2"][:1]
    baselines.append(oracle(dense=False))
    if store.has_dense:
        baselines.append(oracle(dense=True))
    return methods + baselines


def model_folders(trained: TrainedRun, settings: EvaluateSettings) -> dict[str, Path]:
    """By name, in order; those of the run where none are named.

    Raises:
        UserError: model_filter names one that is not among them.
    """
    folders = {stage: trained.folder / "models" / stage for stage in trained.stages}
    if settings.models:
        named = [model.partition("=") for model in settings.models]
        folders = {name: model_folder(Path(path)) for name, _, path in named}
    unknown = [name for name in settings.model_filter if name not in folders]
    if unknown:
        raise UserError(f"model_filter: expected some of {', '.join(folders)}, got {', '.join(unknown)}")
    return {name: folders[name] for name in settings.model_filter or folders}


def model_folder(path: Path) -> Path:
    """The folder of a model: itself, or the newest stage of a run."""
    stages = [path / "models" / stage for stage in ("stage2", "stage1")]
    return next((stage for stage in stages if stage.is_dir()), path)


def effective_modality(trained: TrainedRun, settings: EvaluateSettings) -> Modality:
    """What models are given, with the flags that add to it."""
    if settings.keep_camera_poses:
        return "posed_sfm"
    modality = settings.model_task or trained.settings.modality
    return "rig" if settings.keep_main_agent_poses and modality in ("images_only", "calibrated_sfm") else modality
