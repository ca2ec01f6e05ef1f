"""Trained algorithms as folders: config.json, model.safetensors (see `drivelab_shared.networks`) and settings.yaml."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivelab_shared.checkpoint import load_weights
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.networks import CONFIG, WEIGHTS, Network, read_description, save_network
from drivelab_shared.settings import dump, load
from lapo_mm.algorithms import Algorithm, build
from lapo_mm.config import TrainSettings
from lapo_mm.models.shapes import Shapes

FORMAT = "lapo-mm-network-1"
SETTINGS = "settings.yaml"


def save_algorithm(folder: Path, algorithm: Algorithm, facts: Mapping[str, Any]) -> None:
    """Everything that acting needs: weights, targets, units and settings. Neither data nor optimizers."""
    settings = dataclasses.replace(algorithm.settings, resume=None)
    arguments = dataclasses.asdict(algorithm.shapes)
    save_network(folder, Network(FORMAT, settings.algorithm, arguments, algorithm, dict(facts)))
    replace_text(folder / SETTINGS, dump(settings))


def load_algorithm(folder: Path) -> tuple[Algorithm, dict[str, Any]]:
    """The algorithm in eval mode, and the facts it was saved with.

    Raises:
        UserError: there is nothing, or something else.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: expected a trained policy ({CONFIG}, {WEIGHTS} and {SETTINGS}), got none")
    config = read_description(folder / CONFIG, FORMAT)
    settings = load(TrainSettings, folder / SETTINGS)
    try:
        sizes = {name: tuple(size) if isinstance(size, list) else size for name, size in config["arguments"].items()}
        algorithm = build(Shapes(**sizes), settings)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise UserError(f"{folder / CONFIG}: arguments: {problem}") from problem
    load_weights(folder / WEIGHTS, algorithm)
    return algorithm.eval(), config["facts"]
