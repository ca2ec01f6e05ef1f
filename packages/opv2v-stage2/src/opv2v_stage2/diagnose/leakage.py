"""Whether the truth reaches the model: true poses in the files are moved, what GPS says of them is not."""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from drivelab_shared.seeding import keyed_rng
from opv2v_stage2.config import Modality
from opv2v_stage2.data.agent_files import AgentFiles
from opv2v_stage2.data.agent_yaml import AgentDocument, write_agent_yaml
from opv2v_stage2.data.samples import Sample, sample_of
from opv2v_stage2.data.store import Store
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.diagnose.check import Check, at_most, compared, more_than
from opv2v_stage2.diagnose.subject import Case
from opv2v_stage2.geometry import ue_matrix, ue_pose
from opv2v_stage2.models.interface import Reconstruction, View
from opv2v_stage2.teacher import EXACT
from opv2v_stage2.trained import TrainedRun
from opv2v_stage2.views import make_views

MODEL = "model"
SAME = 1e-3
"""Metres that single precision may leave, at poses hundreds of metres from the origin."""
MOVED_M, TURNED_DEG = 3.0, 5.0
"""Standard deviations by which each vehicle's true pose is moved."""


def leakage_checks(trained: TrainedRun, case: Case, split: str, seed: int) -> Iterator[Check]:
    """What the model is given, and what it says, with the files as they are and with other true poses in them."""
    files = {agent: trained.tree.files[split][case.listed.key][agent] for agent in case.listed.agents}
    with tempfile.TemporaryDirectory() as scratch:
        store = _other_store(trained, case, files, Path(scratch), seed)
        samples = {"true": (case.moment.store, case.moment.sample)}
        samples["moved"] = (store, sample_of(store, case.listed.key, case.listed.agents))
        modality = trained.settings.modality
        given = {name: _views(trained, *one, modality) for name, one in samples.items()}
        leaking = {name: _views(trained, *one, "posed_sfm") for name, one in samples.items()}
    said = f"true poses moved by about {MOVED_M:g} m and {TURNED_DEG:g} deg, GPS not"
    if modality == "posed_sfm":
        change = _input_change(*given.values())
        yield compared(MODEL, f"{said}: change of its inputs", change, expected="a leak: posed_sfm is an upper bound")
        return
    yield at_most(MODEL, f"{said}: change of its inputs", _input_change(*given.values()), SAME)
    model = trained.model(trained.stages[-1])
    found = [Reconstruction.of(model.infer(views, apply_mask=False)) for views in given.values()]
    yield at_most(MODEL, f"{said}: change of its points", _largest(found[0].points - found[1].points), 10 * SAME, "m")
    yield more_than(MODEL, f"{said}: change of the inputs of posed_sfm", _input_change(*leaking.values()), 0.1)


def _other_store(trained: TrainedRun, case: Case, files: Mapping[str, AgentFiles], scratch: Path, seed: int) -> Store:
    """The arrays of the same moment from files whose true poses are others."""
    scenario = scratch / case.listed.sequence
    for number, (agent, document) in enumerate(case.documents.items()):
        folder = scenario / agent
        write_agent_yaml(folder / files[agent].yaml_path.name, _moved(document, keyed_rng(seed, number)))
        copied = [files[agent].image_path(camera) for camera in files[agent].cameras]
        for path in [*copied, *([files[agent].lidar_path] if files[agent].has_lidar else [])]:
            shutil.copyfile(path, folder / path.name)
    settings = dataclasses.replace(trained.settings, cache_dir=scratch / "cache")
    other = dataclasses.replace(trained, tree=open_tree(scenario), settings=settings)
    return _in_memory(other.store("test"))


def _in_memory(store: Store) -> Store:
    """Without the files, which are about to go."""
    return dataclasses.replace(store, arrays={name: np.array(array) for name, array in store.arrays.items()})


def _moved(document: AgentDocument, rng: np.random.Generator) -> AgentDocument:
    """The vehicle with its lidar and cameras somewhere else; what GPS says stays."""
    by = np.zeros(6)
    by[:2], by[4] = MOVED_M * rng.normal(size=2), TURNED_DEG * rng.normal()
    motion = ue_matrix(document.true_ego_pos) @ ue_matrix(by) @ np.linalg.inv(ue_matrix(document.true_ego_pos))

    def moved(pose: Float64[np.ndarray, "6"]) -> Float64[np.ndarray, "6"]:
        return ue_pose(motion @ ue_matrix(pose))

    cameras = {
        number: dataclasses.replace(camera, cords=moved(camera.cords)) for number, camera in document.cameras.items()
    }
    return dataclasses.replace(
        document,
        lidar_pose=moved(document.lidar_pose),
        true_ego_pos=moved(document.true_ego_pos),
        cameras=cameras,
    )


def _views(trained: TrainedRun, store: Store, sample: Sample, modality: Modality) -> list[View]:
    return make_views(store, [sample], modality, EXACT, (), trained.device)


def _input_change(views: Sequence[View], others: Sequence[View]) -> float:
    """The largest difference of any number that the model is given; infinite where it is given other things."""
    largest = 0.0
    for view, other in zip(views, others, strict=True):
        if view.keys() != other.keys():
            return float("inf")
        for key, value in view.items():
            if isinstance(value, torch.Tensor):
                largest = max(largest, _largest(value.float() - other[key].float()))
    return largest


def _largest(difference: torch.Tensor) -> float:
    return float(difference.abs().max())
