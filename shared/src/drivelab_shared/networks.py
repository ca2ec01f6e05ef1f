"""A network as a folder: config.json says how to build it, model.safetensors holds its weights. No pickles.

The same folder is what a run keeps of each stage, what a cache keeps, and what `export` writes. Which classes there are
is the package's business: it builds the module that the description asks for.
"""

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from drivelab_shared.checkpoint import save_weights
from drivelab_shared.digests import key_hash as key_hash
from drivelab_shared.errors import UserError

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Network:
    """A module, how it was built, and what was measured of it."""

    form: str
    """Format of config.json, `<package>-network-<version>`."""
    kind: str
    """Name under which the package knows the class."""
    arguments: dict[str, Any]
    """Of its constructor, as JSON can hold them."""
    module: nn.Module
    facts: dict[str, Any] = field(default_factory=dict)

    def description(self) -> str:
        """config.json."""
        config = {"format": self.form, "kind": self.kind, "arguments": self.arguments, "facts": self.facts}
        return json.dumps(config, indent=1) + "\n"


def save_network(folder: Path, network: Network) -> None:
    """Write the folder aside, then rename it. One that is there already is replaced."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    aside.mkdir(parents=True)
    save_weights(aside / WEIGHTS, network.module)
    (aside / CONFIG).write_text(network.description())
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.replace(aside, folder)
    except OSError:
        shutil.rmtree(aside)
        if not (folder / CONFIG).exists():  # else another process was faster and wrote the same
            raise


def read_description(path: Path, form: str) -> dict[str, Any]:
    """config.json of a network: its kind, arguments and facts.

    Raises:
        UserError: it is something else.
    """
    try:
        config = json.loads(path.read_text())
        if config["format"] != form or not all(isinstance(config[key], dict) for key in ("arguments", "facts")):
            raise ValueError
        return config
    except (OSError, ValueError, KeyError, TypeError) as problem:
        expected = f"expected the description of a network in the format {form}"
        raise UserError(f"{path}: {expected}, got another file") from problem


def weights_hash(module: nn.Module) -> str:
    """Of all parameters and buffers: part of the key of whatever was computed with them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()
