import pytest
import torch
from torch.nn import functional

from v2x_teacher.models.backbone import Encoded
from v2x_teacher.models.pooling import num_vectors, pool

torch.set_num_threads(1)


def made_up(lengths=(7, 5, 1), num_image_tokens=6, width=4):
    """Tokens of samples with padding after `lengths` of them; padding is huge, so that it cannot hide."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(len(lengths), max(lengths), width, generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens[~mask] = 1e6
    image_tokens = torch.randn(len(lengths), num_image_tokens, width, generator=generator)
    return Encoded(image_tokens, tokens, mask, torch.randn(len(lengths), width, generator=generator))


def test_original_is_the_requests_formula_without_the_padding():
    encoded = made_up()
    for index, length in enumerate((7, 5, 1)):
        weights = torch.linspace(0.5, 1.0, length)
        encoder = sum(weights[i] * encoded.tokens[index, i] for i in range(length)) / weights.sum()
        expected = functional.layer_norm(0.6 * encoded.decoder[index] + 0.4 * encoder, (4,))
        torch.testing.assert_close(pool(encoded, "original", 2)[index, 0], expected)


def test_fixed_is_the_last_decoder_token_plus_the_mean_encoder_token():
    encoded = made_up()
    for index, length in enumerate((7, 5, 1)):
        expected = encoded.decoder[index] + encoded.tokens[index, :length].mean(0)
        torch.testing.assert_close(pool(encoded, "fixed", 2)[index, 0], expected)


def test_mean_has_one_vector_per_group_of_image_tokens():
    encoded = made_up()
    features = pool(encoded, "mean", 2)
    torch.testing.assert_close(features[:, 0], encoded.image_tokens[:, :3].mean(1))
    torch.testing.assert_close(features[:, 1], encoded.image_tokens[:, 3:].mean(1))
    torch.testing.assert_close(pool(encoded, "mean", 1)[:, 0], encoded.image_tokens.mean(1))


@pytest.mark.parametrize("kind", ["flat", "attn"])
def test_the_learned_poolings_get_all_image_tokens(kind):
    encoded = made_up()
    assert torch.equal(pool(encoded, kind, 2), encoded.image_tokens)


@pytest.mark.parametrize("kind", ["original", "fixed", "mean", "flat", "attn"])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_number_of_vectors_is_known_beforehand(kind, groups):
    assert pool(made_up(), kind, groups).shape == (3, num_vectors(kind, groups, 6), 4)
