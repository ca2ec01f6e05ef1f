"""The networks of this package as folders (see `drivelab_shared.networks`), and as the bare weight files users have."""

from pathlib import Path
from typing import Any

from drivelab_shared.checkpoint import load_weights, read_weights
from drivelab_shared.errors import UserError
from drivelab_shared.networks import Network, read_description
from latent_predictor.models import KINDS

FORMAT = "latent-predictor-network-1"


def build(kind: str, **arguments: Any) -> Network:
    """A fresh network, with random weights from torch's generator."""
    return Network(FORMAT, kind, arguments, KINDS[kind](**arguments))


def load_network(path: Path, *kinds: str, name: str = "") -> Network:
    """A network from its folder, from a run that has it as models/<name>, or from a bare weight file.

    A weight file (.safetensors, or a state dict saved by torch) is built as the config.json beside it says; without
    one, VAE and latent classifier are recognised by the shapes of their weights.

    Raises:
        UserError: there is nothing, something else, or a network of another kind.
    """
    folder, weights = _locate(path, name)
    if (folder / "config.json").is_file():
        config = read_description(folder / "config.json", FORMAT)
    elif weights.is_file():
        config = _recognise(weights, kinds)
    else:
        raise UserError(
            f"{path}: expected a network (config.json and model.safetensors), a run or a weight file, got none"
        )
    if config["kind"] not in kinds:
        raise UserError(f"{path}: kind: expected {' or '.join(kinds)}, got {config['kind']}")
    try:
        network = build(config["kind"], **config["arguments"])
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
