"""The encoder: one vector of several modalities, whatever is missing; bytes in, nothing lost."""

import pytest
import torch

from lapo_mm.config import EncoderSettings
from lapo_mm.models.encoder import ImageEncoder, LidarEncoder, ObsEncoder, Standardise, random_shift
from lapo_mm.models.shapes import Shapes

torch.set_num_threads(1)

SHAPES = Shapes(image=(3, 16, 12), state=5, lidar=(8, 2), action=2)
SETTINGS = EncoderSettings(channels=(4, 8), image_features=6, state_features=7, lidar_features=3)


def observation(batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randint(0, 256, (batch, 3, 16, 12), generator=generator, dtype=torch.uint8),
        "state": torch.randn(batch, 5, generator=generator),
        "lidar": torch.rand(batch, 8, 2, generator=generator),
    }


def encoder(shapes=SHAPES, **changes):
    torch.manual_seed(0)
    settings = {name: getattr(SETTINGS, name) for name in vars(SETTINGS)} | changes
    return ObsEncoder(shapes, EncoderSettings(**settings))


def test_the_path_that_the_request_names_exists():
    assert encoder().image_encoder.conv1.weight.shape == (4, 3, 3, 3)


@pytest.mark.parametrize("fusion", ["concat", "sum", "gated"])
@pytest.mark.parametrize("lidar", ["mlp", "cnn"])
def test_every_fusion_gives_as_many_features_as_it_says(fusion, lidar):
    network = encoder(fusion=fusion, lidar=lidar)
    assert network(observation()).shape == (4, network.num_features)


def test_concatenated_features_end_with_nothing_but_the_parts():
    assert encoder().num_features == 6 + (7 + 5) + 3


@pytest.mark.parametrize("fusion", ["concat", "sum", "gated"])
@pytest.mark.parametrize("name", ["image", "state", "lidar"])
def test_every_modality_matters_and_a_missing_one_is_a_zero(fusion, name):
    network = encoder(fusion=fusion).eval()
    full, changed = observation(), observation()
    changed[name] = observation(seed=1)[name]
    assert not torch.equal(network(full), network(changed))
    without = {key: value for key, value in full.items() if key != name}
    assert torch.isfinite(network(without)).all()
    assert not torch.equal(network(full), network(without))


def test_an_observation_without_any_known_modality_is_refused():
    with pytest.raises(ValueError, match=r"expected some of \('image', 'state', 'lidar'\), got \['sound'\]"):
        encoder()({"sound": torch.zeros(1, 2)})


def test_shapes_without_a_modality_are_refused():
    with pytest.raises(ValueError, match="at least one modality"):
        Shapes(action=2)


@pytest.mark.parametrize("name", ["image", "state", "lidar"])
def test_gradients_reach_every_parameter_of_a_lone_modality(name):
    shapes = Shapes(**{name: getattr(SHAPES, name)}, action=2)
    network = encoder(shapes)
    network({name: observation(32)[name]}).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_dropped_modalities_are_zero_and_never_all_of_them():
    network = encoder(modality_dropout=0.9).train()
    torch.manual_seed(0)
    features = network(observation(200))
    widths = list(network.widths.values())
    gone = torch.stack([(part == 0).all(dim=1) for part in features.split(widths, dim=1)], dim=1)
    assert gone.sum(dim=1).max() == 1
    assert gone.any(dim=1).float().mean().item() == pytest.approx(0.9, abs=0.08)
    assert torch.equal(network.eval()(observation(3)), network.eval()(observation(3)))


def test_the_image_enters_between_minus_and_plus_a_half():
    network = ImageEncoder((1, 4, 4), (1,), 1)
    seen = []
    network.conv1.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 4, 4))
    assert [part.unique().tolist() for part in seen[0]] == [[-0.5], [0.5]]


def test_a_lidar_turned_by_the_stride_of_its_convolutions_only_turns_what_they_see():
    network = LidarEncoder((16, 1), 3, "cnn")
    scan = torch.rand(1, 16, 1)
    layers = network.layers[:4]
    plain, turned = (layers(one.transpose(1, 2)) for one in (scan, scan.roll(4, dims=1)))
    torch.testing.assert_close(plain.roll(1, dims=2), turned)


def test_a_dimension_that_never_varies_is_not_blown_up():
    units = Standardise(2)
    units.fit(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 0.0]))
    assert units(torch.tensor([[3.0, 5.0]])).tolist() == [[1.0, 0.0]]


# --- random shift


def shifted_by_hand(image, down, right):
    height, width = image.shape[1:]
    rows = [min(max(row + down, 0), height - 1) for row in range(height)]
    columns = [min(max(column + right, 0), width - 1) for column in range(width)]
    return image[:, rows][:, :, columns]


def test_a_shift_moves_each_image_as_a_whole_and_repeats_its_border():
    images = observation(20)["image"]
    torch.manual_seed(3)
    shifted = random_shift(images, 2)
    assert shifted.dtype == torch.uint8
    moves = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    found = [
        [move for move in moves if torch.equal(after, shifted_by_hand(before, *move))]
        for before, after in zip(images, shifted, strict=True)
    ]
    assert all(len(one) == 1 for one in found)
    assert len({one[0] for one in found}) > 5


def test_a_shift_by_nothing_changes_nothing():
    images = observation()["image"]
    assert torch.equal(random_shift(images, 0), images)
