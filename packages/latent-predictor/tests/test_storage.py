import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from drivelab_shared.errors import UserError
from drivelab_shared.networks import save_network, weights_hash
from latent_predictor.models import LatentMlp
from latent_predictor.stages import require_same_latents
from latent_predictor.storage import build, load_network

LSTM = {"latent_size": 64, "action_size": 3, "hidden_size": 8, "conditioning": "concat"}
VAE = {"latent_dim": 4, "widths": [4, 4, 8]}


def network(kind, seed=0, **arguments):
    torch.manual_seed(seed)
    return build(kind, **arguments)


def refusal(path, *kinds, **arguments):
    """The message, which must be one line that starts with the place."""
    with pytest.raises(UserError) as caught:
        load_network(path, *kinds, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def save_state(folder: Path, name: str, module: nn.Module) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), folder / name)
    return folder / name


def test_a_network_comes_back_as_it_was_saved(tmp_path):
    saved = network("lstm", **LSTM)
    saved.module.normalise("latent", torch.randn(64), torch.rand(64) + 1)
    saved.facts.update(steps=7)
    save_network(tmp_path / "net", saved)
    loaded = load_network(tmp_path / "net", "lstm")
    assert loaded.arguments == LSTM
    assert loaded.facts == {"steps": 7}
    assert loaded.module.conditioning == "concat"
    assert weights_hash(loaded.module) == weights_hash(saved.module)


def test_a_run_stands_for_its_network_of_that_name(tmp_path):
    save_network(tmp_path / "models" / "predictor", saved := network("lstm", **LSTM))
    assert weights_hash(load_network(tmp_path, "lstm", name="predictor").module) == weights_hash(saved.module)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_a_state_dict_is_built_as_the_config_beside_it_says(tmp_path, suffix):
    saved = network("lstm", **LSTM)
    path = save_state(tmp_path, f"best_model{suffix}", saved.module)
    (tmp_path / "config.json").write_text(saved.description())
    loaded = load_network(path, "lstm", name="predictor")
    assert loaded.module.conditioning == "concat"
    assert weights_hash(loaded.module) == weights_hash(saved.module)


@pytest.mark.parametrize("latent_dim", [4, 8])
def test_a_bare_vae_is_recognised_by_its_shapes(tmp_path, latent_dim):
    saved = network("vae", latent_dim=latent_dim, widths=[4, 6, 8])
    loaded = load_network(save_state(tmp_path, "best_model.pt", saved.module), "vae", name="vae")
    assert loaded.arguments == {"latent_dim": latent_dim, "widths": [4, 6, 8]}
    assert weights_hash(loaded.module) == weights_hash(saved.module)


def test_a_bare_latent_classifier_is_recognised_by_its_shapes(tmp_path):
    saved = network("latent_mlp", latent_dim=8)
    loaded = load_network(save_state(tmp_path, "best_model.pt", saved.module), "latent_mlp", "latent_cnn")
    assert loaded.module.latent_dim == 8
    assert weights_hash(loaded.module) == weights_hash(saved.module)


def test_nothing_there_is_refused(tmp_path):
    assert "expected a network (config.json and model.safetensors)" in refusal(tmp_path / "net", "vae")
    assert "got none" in refusal(tmp_path / "best_model.pt", "vae")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert "expected the description of a network" in refusal(tmp_path, "vae")
    (tmp_path / "config.json").write_text("not JSON")
    assert "expected the description of a network" in refusal(tmp_path, "vae")


def test_another_kind_of_network_is_refused_by_name(tmp_path):
    save_network(tmp_path / "net", network("vae", **VAE))
    assert "kind: expected latent_mlp or latent_cnn, got vae" in refusal(tmp_path / "net", "latent_mlp", "latent_cnn")


def test_a_bare_file_of_another_kind_is_refused_with_what_was_found(tmp_path):
    path = save_state(tmp_path, "best_model.pt", nn.Linear(2, 2))
    assert "expected the weights of vae, or a config.json beside it, got tensors weight, bias" in refusal(path, "vae")


def test_a_bare_predictor_needs_its_description(tmp_path):
    path = save_state(tmp_path, "best_model.pt", network("lstm", **LSTM).module)
    assert "or a config.json beside it" in refusal(path, "lstm")


class Payload:
    """What a pickle can do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("dump", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_pickled_objects_are_refused_and_not_run(tmp_path, dump):
    dump({"encoder.6.weight": Payload(tmp_path / "was-here")}, tmp_path / "best_model.pt")
    refusal(tmp_path / "best_model.pt", "vae")
    assert not (tmp_path / "was-here").exists()


def test_a_checkpoint_with_more_than_weights_is_refused_by_its_keys(tmp_path):
    torch.save({"model_state": network("vae", **VAE).module.state_dict(), "epoch": 3}, tmp_path / "best_model.pt")
    assert "expected a state dict (tensors by name), got keys" in refusal(tmp_path / "best_model.pt", "vae")


def test_weights_of_another_size_are_refused_with_both_shapes(tmp_path):
    save_network(tmp_path / "net", network("latent_mlp", latent_dim=4))
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    config["arguments"]["latent_dim"] = 8
    (tmp_path / "net" / "config.json").write_text(json.dumps(config))
    assert "expected shape [128, 128], got [128, 64]" in refusal(tmp_path / "net", "latent_mlp")


def test_arguments_that_no_network_takes_are_refused(tmp_path):
    save_network(tmp_path / "net", network("latent_mlp", latent_dim=4))
    config = (tmp_path / "net" / "config.json").read_text().replace("latent_dim", "latent_dims")
    (tmp_path / "net" / "config.json").write_text(config)
    assert "latent_dims" in refusal(tmp_path / "net", "latent_mlp")


def test_a_damaged_weight_file_is_refused(tmp_path):
    save_network(tmp_path / "net", network("vae", **VAE))
    weights = tmp_path / "net" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in refusal(tmp_path / "net", "vae")


def test_a_classifier_of_other_latents_is_refused_with_both_sizes():
    vae, classifier = network("vae", **VAE).module, LatentMlp(8)
    with pytest.raises(UserError, match=r"^judge: latent_dim: expected 4 as in the VAE, got 8$"):
        require_same_latents(Path("judge"), classifier, vae)
    require_same_latents(Path("judge"), LatentMlp(4), vae)
