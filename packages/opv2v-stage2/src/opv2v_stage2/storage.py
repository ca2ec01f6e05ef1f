"""Trained models as folders: config.json, model.safetensors (see `drivelab_shared.networks`)."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from drivelab_shared.checkpoint import load_weights
from drivelab_shared.errors import UserError
from drivelab_shared.networks import CONFIG, WEIGHTS, Network, read_description, save_network
from opv2v_stage2.config import ModelSettings
from opv2v_stage2.models.build import build_model

FORMAT = "opv2v-stage2-network-1"


def save_model(folder: Path, model: nn.Module, settings: ModelSettings, facts: Mapping[str, Any]) -> None:
    """Everything that a reconstruction needs."""
    arguments = dataclasses.asdict(settings) | {"path": settings.path and str(settings.path)}
    save_network(folder, Network(FORMAT, settings.kind, arguments, model, dict(facts)))


def load_model(folder: Path) -> tuple[nn.Module, ModelSettings, dict[str, Any]]:
    """The model in eval mode, how it was built, and the facts it was saved with.

    Raises:
        UserError: there is nothing, or something else.
    """
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: expected a trained model ({CONFIG} and {WEIGHTS}), got none")
    config = read_description(folder / CONFIG, FORMAT)
    try:
        arguments = config["arguments"]
        settings = ModelSettings(**arguments | {"path": arguments["path"] and Path(arguments["path"])})
    except (KeyError, TypeError, ValueError) as problem:
        raise UserError(f"{folder / CONFIG}: arguments: {problem}") from problem
    model = build_model(settings)
    load_weights(folder / WEIGHTS, model)
    return model.eval(), settings, config["facts"]
