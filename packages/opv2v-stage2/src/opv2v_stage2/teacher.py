"""The teacher of stage 2: a frozen model that sees one vehicle at a time, and what it says, computed once.

A vehicle's answer depends on its pictures, the weights and what the teacher is shown, and on nothing that changes
between steps; so it is kept on disk, mapped, and costs a training step next to nothing.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from drivelab_shared.arrays import map_arrays, write_arrays
from drivelab_shared.digests import key_hash
from drivelab_shared.modules import freeze
from drivelab_shared.networks import weights_hash
from drivelab_shared.runs import Progress
from opv2v_stage2.config import Modality
from opv2v_stage2.data.samples import Sample
from opv2v_stage2.data.store import Store
from opv2v_stage2.losses.targets import TeacherTargets
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.rotations import inverse_rigid
from opv2v_stage2.views import Noise, make_views

VERSION = 2
"""Part of the key: raise it when the same weights say something else."""
BATCH = 8
EXACT = Noise(0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen model and what it is shown."""

    model: nn.Module
    modality: Modality
    sees_lidar: bool = False
    """It is also given the labels, as no student is."""

    @classmethod
    def frozen(cls, model: nn.Module, modality: Modality, *, sees_lidar: bool = False) -> "Teacher":
        """A copy of a model that no training changes."""
        return cls(freeze(copy.deepcopy(model)), modality, sees_lidar)

    def answers(self, store: Store, rows: list[int], device: torch.device) -> TeacherTargets:
        """What it says of vehicles, each alone; one view axis of four cameras per row."""
        samples = [Sample(store.keys[row], (row,), 0.0) for row in rows]
        views = make_views(store, samples, self.modality, EXACT, (), device, with_depth=self.sees_lidar)
        predictions = self.model.infer(views, apply_mask=False)
        # What infer gives may be inference tensors, which break a backward pass even when detached; clones do not.
        found = Reconstruction.of([{key: value.clone() for key, value in view.items()} for view in predictions])
        return TeacherTargets(
            depth=found.depth,
            validity=found.validity_logits.sigmoid(),
            confidence=found.confidence,
            camera_pose=inverse_rigid(found.camera_pose[:, :1]) @ found.camera_pose,
            scale=found.scale[:, None],
        )


class CachedTeacher:
    """A teacher's answers for all rows of a store.

    Args:
        teacher: asked only for what is not on disk yet.
        store: whose rows are looked up.
        cache_dir: folder that is safe to delete.
        device: where it computes, and where answers are put.
    """

    def __init__(self, teacher: Teacher, store: Store, cache_dir: Path, device: torch.device) -> None:
        key = {
            "version": VERSION,
            "weights": weights_hash(teacher.model),
            "modality": teacher.modality,
            "sees_lidar": teacher.sees_lidar,
            "store": store.fingerprint,
            "device": device.type,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        folder = cache_dir / f"teacher-{key_hash(key)[:16]}"
        if not folder.is_dir():
            write_arrays(folder, _ask(teacher, store, device), len(store))
        self._arrays = map_arrays(folder)
        self._device = device

    def answers(self, rows: list[int]) -> TeacherTargets:
        """What the teacher says of these rows."""

        def gathered(name: str) -> Float[Tensor, "rows ..."]:
            return torch.from_numpy(self._arrays[name][rows].astype(np.float32)).to(self._device)

        return TeacherTargets(**{name: gathered(name) for name in TeacherTargets.__dataclass_fields__})


def by_sample(answers: TeacherTargets, samples: Sequence[Sample]) -> TeacherTargets:
    """Answers for single vehicles, one behind the other, as those for samples of several."""
    grid = (len(samples), len(samples[0].rows))

    def joined(name: str) -> Tensor:
        return getattr(answers, name).unflatten(0, grid).flatten(1, 2)

    return TeacherTargets(**{name: joined(name) for name in TeacherTargets.__dataclass_fields__})


def _ask(teacher: Teacher, store: Store, device: torch.device) -> Iterator[dict[str, np.ndarray]]:
    """Its answers for all rows, block after block."""
    with Progress("teacher", len(store)) as bar, torch.random.fork_rng([device] if device.type == "cuda" else []):
        for start in range(0, len(store), BATCH):
            rows = list(range(start, min(start + BATCH, len(store))))
            answers = vars(teacher.answers(store, rows, device))
            yield {name: answer.float().cpu().numpy().astype(_dtype(name)) for name, answer in answers.items()}
            bar.update(rows[-1] + 1)


def _dtype(name: str) -> type:
    """Half precision where pixels are many; poses and scale stay exact."""
    return np.float16 if name in ("depth", "validity", "confidence") else np.float32
