import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from safetensors.torch import save as serialize
from torch import nn

from drivelab_shared import checkpoint
from drivelab_shared.checkpoint import Parts
from drivelab_shared.errors import UserError


class Killed(BaseException):
    """Stands for a SIGKILL at this point: no code of ours handles it."""


def make_parts(accelerator, seed=0, *, width=3, names=("actor", "critic")):
    """Two prepared networks, and optimizers that have state."""
    torch.manual_seed(seed)
    networks = {name: nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width)) for name in names}
    optimizers = {f"{name}_optimizer": torch.optim.AdamW(networks[name].parameters(), lr=0.1) for name in names}
    prepared = accelerator.prepare(*networks.values(), *optimizers.values())
    parts = Parts(
        dict(zip(networks, prepared[: len(names)], strict=True)),
        dict(zip(optimizers, prepared[len(names) :], strict=True)),
    )
    learn(parts, seed)
    return parts


def learn(parts, seed):
    """One step of every network."""
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(seed))
    for network, optimizer in zip(parts.networks.values(), parts.optimizers.values(), strict=True):
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()


def weights_of(parts):
    return {f"{name}.{key}": t.clone() for name, net in parts.networks.items() for key, t in net.state_dict().items()}


def are_equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def parts(accelerator):
    return make_parts(accelerator)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def saved(accelerator, folder, parts):
    """A checkpoint of step 7."""
    return checkpoint.save(accelerator, folder, 7, parts, {})


def steps(folder):
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def rewrite_state(path, **changes):
    state = json.loads((path / "state.json").read_text()) | changes
    (path / "state.json").write_text(json.dumps({name: value for name, value in state.items() if value is not None}))


def save_steps(accelerator, folder, parts, *numbers, **options):
    for step in numbers:
        checkpoint.save(accelerator, folder, step, parts, {}, **options)


def test_training_goes_on_from_a_checkpoint_as_if_nothing_had_happened(accelerator, folder, parts):
    path = checkpoint.save(accelerator, folder, 1, parts, {"best": [1, "accuracy", 0.5]})
    learn(parts, 1)
    other = make_parts(accelerator, seed=99)
    assert checkpoint.load(accelerator, path, other) == {"best": [1, "accuracy", 0.5], "step": 1}
    learn(other, 1)
    assert are_equal(weights_of(other), weights_of(parts))


def test_weights_lie_under_their_own_names_and_nothing_is_pickled(accelerator, saved, parts):
    assert sorted(path.name for path in saved.iterdir()) == [
        "actor.safetensors", "actor_optimizer.pt", "complete",
        "critic.safetensors", "critic_optimizer.pt", "state.json",
    ]  # fmt: skip
    assert load_file(saved / "actor.safetensors").keys() == parts.networks["actor"].state_dict().keys()


def test_weights_can_be_read_by_whoever_can_read_the_rest(saved):
    assert (saved / "actor.safetensors").stat().st_mode == (saved / "state.json").stat().st_mode


class Tied(nn.Module):
    """One matrix under three names, as in a text model, and a view of a part of it."""

    def __init__(self, width=3):
        super().__init__()
        self.embed, self.tokens = nn.Embedding(4, width), nn.Embedding(4, width)
        self.tokens.weight = self.embed.weight
        self.head = nn.Linear(width, 4, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("first", self.embed.weight.detach()[0])
        self.register_buffer("zeros", torch.zeros(4, width))


def test_tied_weights_are_stored_once_and_restored_under_every_name(tmp_path):
    path, module = tmp_path / "tied.safetensors", Tied()
    checkpoint.save_weights(path, module)
    expected = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    assert load_file(path).keys() == {"embed.weight", "first", "zeros"}
    assert are_equal(checkpoint.read_weights(path), expected)
    other = Tied()
    checkpoint.load_weights(path, other)
    assert are_equal(other.state_dict(), expected)
    assert other.head.weight is other.tokens.weight is other.embed.weight


def test_a_network_that_is_not_tied_gets_the_weights_of_one_that_is(tmp_path):
    module, apart = Tied(), Tied()
    apart.head.weight = nn.Parameter(torch.zeros(4, 3))
    checkpoint.save_weights(tmp_path / "tied.safetensors", module)
    checkpoint.load_weights(tmp_path / "tied.safetensors", apart)
    assert are_equal(apart.state_dict(), module.state_dict())


def test_the_same_tied_weights_are_the_same_bytes(tmp_path):
    module = Tied()
    for number in range(20):
        checkpoint.save_weights(tmp_path / f"{number}.safetensors", module)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_tied_weights_are_also_read_from_older_files_which_store_them_under_every_name(tmp_path):
    module, other = Tied(), Tied()
    save_file({name: t.clone() for name, t in module.state_dict().items()}, tmp_path / "old.safetensors")
    checkpoint.load_weights(tmp_path / "old.safetensors", other)
    assert are_equal(other.state_dict(), module.state_dict())


@pytest.mark.parametrize(
    ("metadata", "blame"),
    [
        (None, "missing 1 names"),
        ({"format": "pt"}, "missing 1 names"),
        ({"other_names": '{"b": "nowhere"}'}, "missing 1 names"),
        ({"other_names": '{"b": "a", "c": "a"}'}, r"unknown 1 names \(c\)"),
        ({"other_names": "{"}, "expected a safetensors file, got a damaged or different one"),
        ({"other_names": "[]"}, "expected a safetensors file, got a damaged or different one"),
        ({"other_names": '{"b": ["a"]}'}, "expected a safetensors file, got a damaged or different one"),
    ],
)
def test_other_names_of_a_tensor_must_be_those_of_the_module_too(tmp_path, metadata, blame):
    module = nn.Module()
    module.register_buffer("a", torch.zeros(2))
    module.register_buffer("b", module.a)
    save_file({"a": torch.ones(2)}, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(UserError, match=blame):
        checkpoint.load_weights(tmp_path / "odd.safetensors", module)


def test_weights_that_are_not_tied_are_the_same_bytes_as_ever(tmp_path):
    module = nn.Linear(3, 2)
    checkpoint.save_weights(tmp_path / "plain.safetensors", module)
    assert (tmp_path / "plain.safetensors").read_bytes() == serialize(module.state_dict())


def test_nothing_saved_yet_is_no_checkpoint(accelerator, folder):
    assert checkpoint.latest(accelerator, folder) is None
    assert checkpoint.best(accelerator, folder) is None


def test_the_latest_is_the_highest_step_not_the_last_name(accelerator, folder, parts):
    save_steps(accelerator, folder, parts, 999_999, 1_000_000)
    assert checkpoint.latest(accelerator, folder).name == "step-1000000"


@pytest.mark.parametrize("damage", ["no marker", "cut weights", "missing file", "cut state.json", "a file"])
def test_an_incomplete_checkpoint_is_passed_over_and_named(accelerator, folder, parts, capsys, damage):
    save_steps(accelerator, folder, parts, 1, 2)
    newest = folder / "step-000002"
    if damage == "no marker":
        (newest / "complete").unlink()
    elif damage == "cut weights":
        os.truncate(newest / "actor.safetensors", 100)
    elif damage == "missing file":
        (newest / "critic_optimizer.pt").unlink()
    elif damage == "cut state.json":
        os.truncate(newest / "state.json", 40)
    else:
        shutil.rmtree(newest)
        newest.touch()
    assert checkpoint.latest(accelerator, folder).name == "step-000001"
    assert capsys.readouterr().err == f"warning: {newest}: incomplete checkpoint, passed over\n"
    with pytest.raises(UserError, match="step-000002: expected a complete checkpoint folder"):
        checkpoint.load(accelerator, newest, parts)


def test_an_incomplete_checkpoint_is_replaced_when_its_step_is_saved_again(accelerator, folder, parts):
    save_steps(accelerator, folder, parts, 1)
    os.truncate(folder / "step-000001" / "actor.safetensors", 100)
    save_steps(accelerator, folder, parts, 1)
    assert checkpoint.is_complete(folder / "step-000001")


def test_a_complete_checkpoint_of_the_step_is_kept_as_it_is(accelerator, folder, parts):
    path = checkpoint.save(accelerator, folder, 1, parts, {})
    before = weights_of(parts)
    learn(parts, 1)
    checkpoint.save(accelerator, folder, 1, parts, {})
    checkpoint.load(accelerator, path, parts)
    assert are_equal(weights_of(parts), before)


def test_folders_with_other_names_are_neither_read_nor_removed(accelerator, folder, parts):
    save_steps(accelerator, folder, parts, 1)
    for name in ("step-000009-backup", "step-", "step-²"):
        shutil.copytree(folder / "step-000001", folder / name)
    save_steps(accelerator, folder, parts, 2, 3, keep=1)
    assert checkpoint.latest(accelerator, folder).name == "step-000003"
    assert {path.name for path in folder.iterdir()} == {"step-000009-backup", "step-", "step-²", "step-000003"}


# Every call through which a save touches the disk: where it is looked up, and its name.
WRITES = [
    (Path, "mkdir"),
    (torch, "save"),
    (Path, "write_bytes"),
    (Path, "write_text"),
    (Path, "touch"),
    (os, "replace"),
    (Path, "unlink"),
    (shutil, "rmtree"),
]


def kill_before_write(monkeypatch, number):
    """Raise Killed in place of the given write, counting from 0. Returns what the writes so far were."""
    seen = []

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **named):
            if len(seen) == number:
                raise Killed
            seen.append(name)
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in WRITES:
        watch(owner, name)
    return seen


def test_a_kill_between_any_two_writes_of_a_save_leaves_a_checkpoint_to_go_on_from(accelerator, tmp_path, monkeypatch):
    parts = make_parts(accelerator)
    weights = {}
    for step in (1, 2, 3):
        learn(parts, step)
        checkpoint.save(accelerator, tmp_path / "before", step, parts, {}, keep=2)
        weights[step] = weights_of(parts)
    learn(parts, 4)
    weights[4] = weights_of(parts)
    found = []
    for number in range(100):
        folder = tmp_path / f"killed-{number}"
        shutil.copytree(tmp_path / "before", folder)
        with monkeypatch.context() as patch:
            writes = kill_before_write(patch, number)
            try:
                checkpoint.save(accelerator, folder, 4, parts, {}, keep=2)
            except Killed:
                pass
            else:
                break
        other = make_parts(accelerator, seed=99)
        newest = checkpoint.latest(accelerator, folder)
        step = checkpoint.load(accelerator, newest, other)["step"]
        assert are_equal(weights_of(other), weights[step])
        found.append(step)
        checkpoint.save(accelerator, folder, 4, parts, {}, keep=2)  # the next attempt
        assert {path.name for path in folder.iterdir()} == {"step-000003", "step-000004"}
    renamed = writes.index("replace")
    assert found == [3] * (renamed + 1) + [4] * (len(writes) - renamed - 1)
    assert writes.count("write_bytes") == writes.count("save") == 2
    assert writes[renamed:] == ["replace", "unlink", "rmtree"]


def test_a_deletion_that_was_interrupted_leaves_nothing_valid_and_is_completed_later(
    accelerator, folder, parts, monkeypatch
):
    save_steps(accelerator, folder, parts, 1, 2)

    def kill_half_way(path, **_):
        (path / "actor.safetensors").unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", kill_half_way)
        with pytest.raises(Killed):
            checkpoint.prune(folder, keep=1)
    assert not checkpoint.is_complete(folder / "step-000001")
    assert (folder / "step-000001").exists()
    checkpoint.prune(folder, keep=1)
    assert steps(folder) == [2]


def test_the_last_ones_and_the_best_stay(accelerator, folder, parts):
    save_steps(accelerator, folder, parts, 1, 2)
    checkpoint.mark_best(folder, 2, "accuracy", 0.75)
    save_steps(accelerator, folder, parts, 3, 4, 5, keep=2)
    assert steps(folder) == [2, 4, 5]
    assert checkpoint.best(accelerator, folder).name == "step-000002"
    checkpoint.mark_best(folder, 5, "accuracy", 0.8)
    save_steps(accelerator, folder, parts, 6, keep=1)
    assert steps(folder) == [5, 6]
    assert json.loads((folder / "best.json").read_text()) == {"step": 5, "metric": "accuracy", "value": 0.8}


def test_the_latest_stays_even_where_none_are_to_be_kept(accelerator, folder, parts):
    save_steps(accelerator, folder, parts, 1, 2, keep=0)
    assert steps(folder) == [2]


def test_pruning_counts_complete_ones_and_leaves_newer_incomplete_ones_alone(accelerator, folder, parts):
    save_steps(accelerator, folder, parts, 1, 2, 3, keep=3)
    (folder / "step-000003" / "complete").unlink()  # perhaps a copy on its way
    checkpoint.prune(folder, keep=1)
    assert steps(folder) == [2, 3]


def test_what_an_interrupted_save_left_is_not_seen_and_goes_away_with_the_next_one(accelerator, folder, saved, parts):
    shutil.copytree(saved, folder / ".tmp-step-000008")
    assert checkpoint.latest(accelerator, folder) == saved
    save_steps(accelerator, folder, parts, 9)
    assert not (folder / ".tmp-step-000008").exists()


def test_a_checkpoint_that_another_process_removes_meanwhile_is_no_error(accelerator, folder, parts, monkeypatch):
    save_steps(accelerator, folder, parts, 1, 2)
    unlink = Path.unlink

    def after_another(path, **options):
        shutil.rmtree(path.parent)
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", after_another)
        checkpoint.prune(folder, keep=1)
    assert steps(folder) == [2]


def test_the_best_is_a_pointer_that_may_point_to_nothing(accelerator, folder, saved):
    checkpoint.mark_best(folder, 5, "accuracy", 0.8)
    assert checkpoint.best(accelerator, folder) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"step": null}', '{"step": Infinity}', '{"step": "../../x"}'])
def test_a_damaged_pointer_is_refused(accelerator, folder, saved, text):
    (folder / "best.json").write_text(text)
    with pytest.raises(UserError, match=r"best\.json: expected an object with a step"):
        checkpoint.best(accelerator, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "drivelab-checkpoint-9"}, "format: expected drivelab-checkpoint-1, got 'drivelab-checkpoint-9'"),
        ({"step": "7"}, "state.json: step: expected int, got '7'"),
        ({"networks": None}, "state.json: networks: expected list, got None"),
        ({"progress": [1]}, "state.json: progress: expected dict, got [1]"),
        ({"networks": ["actor", 5]}, "networks: expected actor, critic, got actor, 5"),
        ({"optimizers": []}, "optimizers: expected actor_optimizer, critic_optimizer, got none"),
    ],
)
def test_a_state_that_is_not_ours_is_refused(accelerator, saved, parts, changes, message):
    rewrite_state(saved, **changes)
    with pytest.raises(UserError) as refusal:
        checkpoint.load(accelerator, saved, parts)
    assert str(refusal.value) in (f"{saved}: {message}", f"{saved}/{message}")


@pytest.mark.parametrize("text", ["[]", "7", '{"files": 5}', '{"files": {"actor.safetensors": "many"}}', "{}"])
def test_a_state_that_lists_no_files_is_no_checkpoint(accelerator, saved, parts, text):
    (saved / "state.json").write_text(text)
    with pytest.raises(UserError, match="expected a complete checkpoint folder"):
        checkpoint.load(accelerator, saved, parts)


def test_a_state_cannot_name_files_outside_its_folder(accelerator, saved):
    rewrite_state(saved, files={"../../elsewhere": 3})
    (saved.parent.parent / "elsewhere").write_text("abc")
    assert not checkpoint.is_complete(saved)


def test_other_network_names_are_refused(accelerator, saved):
    with pytest.raises(UserError, match="networks: expected actor, judge, got actor, critic"):
        checkpoint.load(accelerator, saved, make_parts(accelerator, names=("actor", "judge")))


def test_other_shapes_are_refused(accelerator, saved):
    with pytest.raises(UserError, match=r"actor.safetensors: 0.bias: expected shape \[4\], got \[3\]"):
        checkpoint.load(accelerator, saved, make_parts(accelerator, width=4))


def test_the_state_of_another_optimizer_is_refused(accelerator, saved, parts):
    wider = nn.Linear(2, 2)
    other = torch.optim.SGD([{"params": [wider.weight]}, {"params": [wider.bias]}], lr=0.1)
    torch.save(other.state_dict(), saved / "actor_optimizer.pt")
    torch.save([1, 2], saved / "critic_optimizer.pt")
    rewrite_state(saved, files={})
    with pytest.raises(UserError, match=r"actor_optimizer.pt: expected the state of this optimizer, got another one"):
        checkpoint.load(accelerator, saved, parts)
    shutil.copy(saved / "critic_optimizer.pt", saved / "actor_optimizer.pt")
    with pytest.raises(UserError, match=r"actor_optimizer.pt: expected the state of this optimizer, got another one"):
        checkpoint.load(accelerator, saved, parts)


def test_other_circumstances_are_one_warning(accelerator, saved, parts, capsys):
    rewrite_state(saved, world_size=8, threads=3)
    checkpoint.load(accelerator, saved, parts)
    assert capsys.readouterr().err == (
        f"warning: {saved}: world_size was 8, is 1; threads was 3, is 1: numbers will differ\n"
    )


def test_the_same_circumstances_are_none(accelerator, saved, parts, capsys):
    checkpoint.load(accelerator, saved, parts)
    assert capsys.readouterr().err == ""


def refusal_of(path, module=None):
    with pytest.raises(UserError) as refusal:
        checkpoint.load_weights(path, module or nn.Linear(2, 2))
    assert "\n" not in str(refusal.value)
    return str(refusal.value).removeprefix(f"{path}: ")


def test_a_state_dict_saved_by_torch_is_read(tmp_path):
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    torch.save(source.state_dict(), tmp_path / "model.pt")
    checkpoint.load_weights(tmp_path / "model.pt", target)
    assert torch.equal(target.weight, source.weight)


def test_a_pickled_object_is_refused_by_name(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    expected = "expected tensors and plain types, got a pickled torch.nn.modules.linear.Linear, which is not loaded"
    assert refusal_of(tmp_path / "model.pt") == expected


@pytest.mark.parametrize("content", [b"", b"hello world", bytes(range(256)), b"PK\x03\x04 and no more"])
def test_a_file_that_torch_did_not_write_is_refused(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    assert refusal_of(tmp_path / "model.pt") == "expected tensors and plain types, got a damaged or different file"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"state_dict": {"weight": torch.ones(2, 2)}, "epoch": 3}, "keys 2 names (state_dict, epoch)"),
        ({0: torch.ones(2)}, "keys 1 names (0)"),
        ({}, "dict {}"),
        ([1, 2], "list [1, 2]"),
        (5, "int 5"),
    ],
)
def test_a_file_with_something_else_in_it_is_refused(tmp_path, content, found):
    torch.save(content, tmp_path / "model.pt")
    assert refusal_of(tmp_path / "model.pt") == f"expected a state dict (tensors by name), got {found}"


def test_a_path_without_weights_is_refused(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    assert refusal_of(tmp_path / "folder.pt") == "expected a weight file, got a folder"
    assert refusal_of(tmp_path / "none.pt") == "expected a weight file, got nothing"


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_damaged_safetensors_are_refused(tmp_path, length):
    path = tmp_path / "model.safetensors"
    save_file(nn.Linear(2, 2).state_dict(), path)
    os.truncate(path, length % path.stat().st_size)
    assert refusal_of(path).startswith("expected a safetensors file, got a damaged or different one (")


def test_weights_of_another_network_are_refused_with_the_names(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"trunk.weight": torch.ones(2, 2), "bias": torch.ones(2)}, path)
    assert refusal_of(path) == (
        "expected 2 names (weight, bias), got 2 names (bias, trunk.weight); "
        "missing 1 names (weight), unknown 1 names (trunk.weight)"
    )


def test_a_new_head_on_an_old_trunk_stays_fresh_and_is_reported(tmp_path, capsys):
    old = nn.ModuleDict({"trunk": nn.Linear(2, 2), "head": nn.Linear(2, 3)})
    new = nn.ModuleDict({"trunk": nn.Linear(2, 2), "head": nn.Linear(2, 5, bias=False)})
    head = new["head"].weight.detach().clone()
    path = tmp_path / "model.safetensors"
    checkpoint.save_weights(path, old)
    assert "unknown 1 names (head.bias)" in refusal_of(path, new)
    checkpoint.load_weights(path, new, fresh=("head.",))
    assert torch.equal(new["trunk"].weight, old["trunk"].weight)
    assert torch.equal(new["head"].weight, head)
    assert capsys.readouterr().err == f"warning: {path}: not loaded, as asked: head.weight, head.bias\n"


def test_a_fresh_head_does_not_excuse_a_missing_trunk(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"head.weight": torch.ones(3, 2)}, path)
    new = nn.ModuleDict({"trunk": nn.Linear(2, 2, bias=False), "head": nn.Linear(2, 3, bias=False)})
    with pytest.raises(UserError, match=r"missing 1 names \(trunk.weight\)$"):
        checkpoint.load_weights(path, new, fresh=("head.",))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is always full")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".json"])
def test_a_full_disk_is_reported_as_one(accelerator, folder, parts, monkeypatch, suffix):
    original = Path.open

    def on_a_full_disk(path, *arguments, **named):
        return original(Path("/dev/full") if path.suffix == suffix else path, *arguments, **named)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.save(accelerator, folder, 1, parts, {})
    assert checkpoint.latest(accelerator, folder) is None
