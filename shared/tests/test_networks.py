"""Networks as folders, and the hashes by which what was computed with them is found again."""

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from drivelab_shared.checkpoint import load_weights
from drivelab_shared.errors import UserError
from drivelab_shared.networks import Network, key_hash, read_description, save_network, weights_hash

FORM = "demo-network-1"


def network(seed=0, **facts):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return Network(FORM, "mlp", {"width": 4, "sizes": [3, 4]}, module, facts)


# --- folders


def test_a_network_is_a_description_and_weights_and_nothing_else(tmp_path):
    saved = network(steps=7)
    save_network(tmp_path / "net", saved)
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["config.json", "model.safetensors"]
    assert list(tmp_path.iterdir()) == [tmp_path / "net"]
    config = read_description(tmp_path / "net" / "config.json", FORM)
    assert config["kind"] == "mlp"
    assert config["arguments"] == {"width": 4, "sizes": [3, 4]}
    assert config["facts"] == {"steps": 7}
    other = network(seed=1).module
    load_weights(tmp_path / "net" / "model.safetensors", other)
    assert weights_hash(other) == weights_hash(saved.module)


def test_saving_again_replaces_what_was_there(tmp_path):
    for seed in (0, 1):
        save_network(tmp_path / "net", saved := network(seed, steps=seed))
    assert read_description(tmp_path / "net" / "config.json", FORM)["facts"] == {"steps": 1}
    other = network(seed=2).module
    load_weights(tmp_path / "net" / "model.safetensors", other)
    assert weights_hash(other) == weights_hash(saved.module)
    assert list(tmp_path.iterdir()) == [tmp_path / "net"]


def test_of_two_processes_that_write_the_same_network_the_slower_one_gives_way(tmp_path, monkeypatch):
    replace = os.replace

    def be_late(source, target):
        monkeypatch.setattr(os, "replace", replace)
        save_network(tmp_path / "net", network())  # the other one, just now
        replace(source, target)

    monkeypatch.setattr(os, "replace", be_late)
    save_network(tmp_path / "net", network())
    assert list(tmp_path.iterdir()) == [tmp_path / "net"]
    assert read_description(tmp_path / "net" / "config.json", FORM)["kind"] == "mlp"


def test_a_folder_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        save_network(tmp_path / "net", network())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        "not JSON",
        "[]",
        '{"model_type": "bert"}',
        json.dumps({"format": "demo-network-2", "kind": "mlp", "arguments": {}, "facts": {}}),
        json.dumps({"format": FORM, "kind": "mlp", "arguments": [], "facts": {}}),
        json.dumps({"format": FORM, "kind": "mlp", "arguments": {}}),
        None,
    ],
)
def test_another_file_is_no_description(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    expected = f"{path}: expected the description of a network in the format {FORM}, got another file"
    with pytest.raises(UserError) as caught:
        read_description(path, FORM)
    assert str(caught.value) == expected


# --- hashes


def test_the_hash_of_weights_changes_with_a_weight_a_buffer_and_a_name():
    module = network().module
    hashes = [weights_hash(module)]
    module[1].running_mean[3] += 1e-6
    hashes.append(weights_hash(module))
    with torch.no_grad():
        module[0].bias[0] += 1e-6
    hashes.append(weights_hash(module))
    assert len(set(hashes)) == 3
    assert weights_hash(nn.ModuleDict({"b": module})) != weights_hash(nn.ModuleDict({"c": module}))


def test_the_hash_of_weights_is_theirs_alone():
    first, second = network(seed=3).module, network(seed=4).module
    assert weights_hash(first) != weights_hash(second)
    second.load_state_dict(first.state_dict())
    second.requires_grad_(False).eval()
    assert weights_hash(first) == weights_hash(second)


def test_a_key_does_not_depend_on_the_order_it_was_written_in():
    assert key_hash({"a": 1, "b": Path("x")}) == key_hash({"b": "x", "a": 1})
    assert key_hash({"a": 1}) != key_hash({"a": 2})
    assert key_hash({"a": [1, 2]}) != key_hash({"a": [2, 1]})
