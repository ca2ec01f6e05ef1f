"""A network as a folder: config.json says how to build it, model.safetensors holds its weights. No pickles.

The same folder is what a run keeps of each stage, what the cache keeps, and what `export` writes.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from drivelab_shared.checkpoint import load_weights, read_weights, save_weights
from drivelab_shared.errors import UserError
from latent_predictor.models import KINDS

FORMAT = "latent-predictor-network-1"


@dataclass(frozen=True)
class Network:
    """A module, how it was built, and what was measured of it."""

    kind: str
    """Key of `models.KINDS`."""
    arguments: dict[str, Any]
    module: nn.Module
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def build(cls, kind: str, **arguments: Any) -> "Network":
        """A fresh network, with random weights from torch's generator."""
        return cls(kind, arguments, KINDS[kind](**arguments))

    def description(self) -> str:
        """config.json: what `load_network` needs to build the module again."""
        config = {"format": FORMAT, "kind": self.kind, "arguments": self.arguments, "facts": self.facts}
        return json.dumps(config, indent=1) + "\n"


def save_network(folder: Path, network: Network) -> None:
    """Write the folder aside, then rename it. One that is there already is replaced."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    aside.mkdir(parents=True)
    save_weights(aside / "model.safetensors", network.module)
    (aside / "config.json").write_text(network.description())
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.replace(aside, folder)
    except OSError:
        shutil.rmtree(aside)
        if not (folder / "config.json").exists():  # else another process was faster and wrote the same
            raise


def load_network(path: Path, *kinds: str, name: str = "") -> Network:
    """A network from its folder, from a run that has it as models/<name>, or from a bare weight file.

    A weight file (.safetensors, or a state dict saved by torch) is built as the config.json beside it says; without
    one, VAE and latent classifier are recognised by the shapes of their weights.

    Raises:
        UserError: there is nothing, something else, or a network of another kind.
    """
    folder, weights = _locate(path, name)
    if (folder / "config.json").is_file():
        config = _read_config(folder / "config.json")
    elif weights.is_file():
        config = _recognise(weights, kinds)
    else:
        raise UserError(
            f"{path}: expected a network (config.json and model.safetensors), a run or a weight file, got none"
        )
    if config["kind"] not in kinds:
        raise UserError(f"{path}: kind: expected {' or '.join(kinds)}, got {config['kind']}")
    try:
        network = Network.build(config["kind"], **config["arguments"])
    except (TypeError, ValueError, RuntimeError) as problem:
        raise UserError(f"{folder / 'config.json'}: arguments: {problem}") from problem
    load_weights(weights, network.module)
    network.facts.update(config["facts"])
    return network


def _locate(path: Path, name: str) -> tuple[Path, Path]:
    if path.suffix in (".pt", ".pth", ".bin", ".safetensors"):
        return path.parent, path
    folder = path / "models" / name if name and (path / "models" / name).is_dir() else path
    return folder, folder / "model.safetensors"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
        if (
            config["format"] != FORMAT
            or not isinstance(config["arguments"], dict)
            or not isinstance(config["facts"], dict)
        ):
            raise ValueError
        return config
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(
            f"{path}: expected the description of a network in the format {FORMAT}, got another file"
        ) from problem


def _recognise(path: Path, kinds: tuple[str, ...]) -> dict[str, Any]:
    shapes = {name: tuple(tensor.shape) for name, tensor in read_weights(path).items()}
    if "vae" in kinds and "encoder.6.weight" in shapes:
        widths = [shapes[f"encoder.{index}.weight"][0] for index in (0, 2, 4) if f"encoder.{index}.weight" in shapes]
        return {
            "kind": "vae",
            "arguments": {"latent_dim": shapes["encoder.6.weight"][0] // 2, "widths": widths},
            "facts": {},
        }
    if "latent_mlp" in kinds and len(shapes.get("layers.0.weight", ())) == 2:
        return {"kind": "latent_mlp", "arguments": {"latent_dim": shapes["layers.0.weight"][1] // 16}, "facts": {}}
    names = ", ".join(list(shapes)[:3])
    raise UserError(
        f"{path}: expected the weights of {' or '.join(kinds)}, or a config.json beside it, got tensors {names}, ..."
    )


def weights_hash(module: nn.Module) -> str:
    """Of all parameters and buffers: part of the key of whatever was computed with them."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def key_hash(key: Mapping[str, Any]) -> str:
    """Of a key that JSON can hold, or that becomes text."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()
