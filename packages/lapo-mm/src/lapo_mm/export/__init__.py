"""Export: one policy as a folder without pickles, from which it acts without the data it has learned from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from drivelab_shared import runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.modules import freeze
from drivelab_shared.onnx_files import require_extra
from lapo_mm.algorithms import Algorithm
from lapo_mm.config import ExportSettings
from lapo_mm.export.onnx_file import ONNX_FILE, write_onnx
from lapo_mm.export.readme import readme
from lapo_mm.storage import load_algorithm, save_algorithm
from lapo_mm.trained import AGENT

PACKAGE = "lapo-mm"
POLICY = "policy"


def export(settings: ExportSettings) -> None:
    """Write policy/ and README.md, and policy.onnx if wanted.

    Raises:
        UserError: there is no such run, the folder holds something else, or ONNX is wanted but not installed.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    if settings.onnx:
        require_extra()
    algorithm, facts = load_algorithm(run / "models" / AGENT)
    output = settings.output_dir or run / "export"
    _prepare(output)
    save_algorithm(output / POLICY, algorithm, facts)
    difference = write_onnx(output / ONNX_FILE, algorithm) if settings.onnx else None
    replace_text(output / "README.md", readme(run.name, algorithm, facts, difference))
    print(f"exported to {output}")


def _prepare(output: Path) -> None:
    """An export replaces an earlier one, and nothing else."""
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()) and not (output / POLICY / "config.json").is_file():
        raise UserError(f"{output}: output_dir: expected an empty folder or an earlier export, got other files")
    (output / ONNX_FILE).unlink(missing_ok=True)  # of another run, perhaps


@dataclass(frozen=True, eq=False)
class ExportedPolicy:
    """A policy, ready to act."""

    algorithm: Algorithm
    facts: Mapping[str, Any]
    """What it was trained on."""
    device: torch.device

    def act(self, observation: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "*batch actions"]:
        """The action for one observation, or one for each of a batch of them, inside the action box.

        Args:
            observation: `image` uint8 [channels, height, width], `state` [numbers], `lidar` [beams, numbers], all
                in the units of the environment; all with one more dimension in front for a batch. A modality that is
                left out counts as zero features.

        Raises:
            ValueError: an array of another shape, or none that the policy knows.
        """
        arrays, batched = self._arrays(observation)
        with torch.no_grad():
            actions = self.algorithm({name: torch.from_numpy(one).to(self.device) for name, one in arrays.items()})
        return actions.cpu().numpy() if batched else actions[0].cpu().numpy()

    def _arrays(self, observation: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], bool]:
        arrays, batched = {}, set()
        for name in self.algorithm.shapes.modalities:
            if name not in observation:
                continue
            expected = self.algorithm.shapes.size(name)
            array = np.asarray(observation[name], np.uint8 if name == "image" else np.float32)
            if array.shape[-len(expected) :] != expected or array.ndim not in (len(expected), len(expected) + 1):
                raise ValueError(f"{name}: expected {list(expected)}, or a batch of these, got {list(array.shape)}")
            batched.add(array.ndim > len(expected))
            arrays[name] = np.ascontiguousarray(array.reshape(-1, *expected))
        if len(batched) > 1:
            raise ValueError("observation: expected a batch of every modality, or of none, got some of each")
        return arrays, batched == {True}


def load_policy(folder: Path | str, device: str = "cpu") -> ExportedPolicy:
    """The policy of an exported folder.

    Raises:
        UserError: there is none, or something else.
    """
    algorithm, facts = load_algorithm(Path(folder) / POLICY)
    chosen = torch.device(device)
    return ExportedPolicy(freeze(algorithm.to(chosen)), facts, chosen)
