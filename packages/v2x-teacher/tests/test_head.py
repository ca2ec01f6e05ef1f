"""The head: units by hand, what it answers before training, the request's layers, dropout, pooling, modes."""

import numpy as np
import pytest
import torch
from torch import nn

from drivelab_shared.modules import num_parameters
from v2x_teacher.models.head import AttentionPool, Standardiser, TrajectoryHead

torch.set_num_threads(1)

RNG = np.random.default_rng(0)
ROWS = np.arange(0, 60, 2)
FEATURES = (RNG.normal(3.0, 2.0, (60, 2, 5)) * [0.001, 0.5, 1, 2, 4]).astype(np.float32)
EGO = RNG.normal([8, 0, 0.1, -1], [3, 0.2, 0.05, 2], (60, 4)).astype(np.float32)
PRIOR = RNG.normal(0, 20, (60, 45, 2)).astype(np.float32)
TRUTH = PRIOR + RNG.normal([1.0, -0.5], [3.0, 0.7], (60, 45, 2)).astype(np.float32)


def head_of(seed=0, **changes):
    torch.manual_seed(seed)
    return TrajectoryHead(**({"vectors": 2, "width": 5, "hidden_size": 8} | changes))


def fitted(targets="standardised", scale=100.0, **changes):
    head = head_of(**changes)
    head.fit_units(FEATURES if head.vectors else None, EGO, TRUTH - PRIOR, ROWS, targets, scale)
    return head


def tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


def shapes(layers):
    return [tuple(layer.weight.shape) for layer in layers if isinstance(layer, nn.Linear)]


# --- units of the inputs


def test_features_are_standardised_by_the_training_rows_with_a_floor_and_a_limit():
    values = FEATURES.copy()
    values[7] = 1e4  # not a training row
    standardiser = Standardiser(2, 5)
    standardiser.fit(values, ROWS)
    mean, std = FEATURES[ROWS].astype(np.float64).mean(0), FEATURES[ROWS].astype(np.float64).std(0)
    floor = 0.1 * np.median(std)
    assert (std < floor).any()
    assert (std > floor).any()
    expected = np.clip((values - mean) / np.maximum(std, floor), -5, 5)
    found = standardiser(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found[7] == 5).all()


def test_mean_and_std_do_not_depend_on_the_pieces_they_are_added_up_in():
    values = np.random.default_rng(1).normal(100, 1, (700, 3)).astype(np.float32)  # two pieces, and a large offset
    standardiser = Standardiser(3)
    standardiser.fit(values, np.arange(700))
    np.testing.assert_allclose(standardiser.mean, values.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(standardiser.std, values.astype(np.float64).std(0), rtol=1e-5)


def test_features_that_never_vary_become_zeros():
    standardiser = Standardiser(3)
    standardiser.fit(np.full((10, 3), 7.0, np.float32), np.arange(10))
    assert standardiser(torch.full((2, 3), 7.0)).tolist() == [[0.0] * 3] * 2


def test_dimensions_of_different_units_are_not_guarded_by_one_another():
    values = np.array([[10.0, 0.01, 7.1], [30.0, 0.03, 7.1]])
    standardiser = Standardiser(3, has_one_unit=False)
    standardiser.fit(values, np.arange(2))
    np.testing.assert_allclose(standardiser(torch.from_numpy(values)), [[-1, -1, 0], [1, 1, 0]], atol=1e-6)


def test_before_it_is_fitted_a_standardiser_changes_nothing():
    values = torch.tensor([[1e6, -1e6, 0.5]])
    assert torch.equal(Standardiser(3)(values), values)


def test_without_standardisation_features_stay_as_they_are_and_the_motion_does_not():
    head = fitted(standardise_features=False)
    features, ego = tensors(FEATURES[:1], EGO[:1])
    assert torch.equal(head.features(features), features)
    expected = (EGO[:1] - EGO[ROWS].mean(0)) / EGO[ROWS].std(0)
    np.testing.assert_allclose(head.ego(ego), expected, rtol=1e-3)


# --- units of the targets


@pytest.mark.parametrize("targets", ["standardised", "scaled", "metres"])
def test_metres_undo_targets(targets):
    head = fitted(targets, scale=30.0)
    truth, prior = tensors(TRUTH, PRIOR)
    there = head.targets(truth, prior)
    torch.testing.assert_close(head.metres(there, prior), truth, atol=2e-5, rtol=0)
    values = there[ROWS].numpy()
    if targets == "standardised":
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-5)
    else:
        np.testing.assert_allclose(values, (TRUTH - PRIOR)[ROWS] / (30.0 if targets == "scaled" else 1.0), rtol=1e-5)


def test_a_step_that_hardly_varies_counts_as_if_it_did_by_two_centimetres():
    head = head_of()
    head.fit_units(FEATURES, EGO, np.ones_like(TRUTH), ROWS, "standardised", 1.0)
    assert torch.equal(head.target_std, torch.full((45, 2), 0.02))


def test_steps_that_are_not_known_do_not_count_in_the_units():
    residual = TRUTH - PRIOR
    residual[ROWS[3], 30:] = np.nan
    head = head_of()
    head.fit_units(FEATURES, EGO, residual, ROWS, "standardised", 1.0)
    known = np.delete(residual[ROWS], 3, axis=0)
    np.testing.assert_allclose(head.target_mean[30:], known[:, 30:].mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.target_std[30:], known[:, 30:].std(0), rtol=1e-4)


# --- before training


@pytest.mark.parametrize("targets", ["scaled", "metres"])
def test_an_untrained_head_answers_exactly_the_prior(targets):
    head = fitted(targets)
    features, ego, prior = tensors(FEATURES, EGO, PRIOR)
    assert torch.equal(head.metres(head(features, ego).mean, prior), prior)


@torch.no_grad()
def test_with_standardised_targets_it_answers_the_prior_and_what_the_prior_misses_on_average():
    head = fitted("standardised")
    features, ego, prior = tensors(FEATURES, EGO, PRIOR)
    found = head.metres(head(features, ego).mean, prior)
    np.testing.assert_allclose(found, PRIOR + (TRUTH - PRIOR)[ROWS].mean(0), atol=1e-5)


@pytest.mark.parametrize("init", ["original", "fixed"])
def test_the_requests_initialisations_have_their_spread_in_every_layer(init):
    head = head_of(vectors=1, width=128, fusion="fixed", init=init)
    layers = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        # Kaiming, fan out, relu: 2 / outputs is the variance.
        expected = 0.5 if init == "original" else (2 / layer.out_features) ** 0.5
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert not layer.bias.any()


# --- layers


@pytest.mark.parametrize(
    ("fusion", "fused", "layers"),
    [
        ("none", [], [(8, 14), (8, 8), (90, 8)]),
        ("original", [(20, 10), (10, 20)], [(10, 14), (10, 10), (5, 10), (90, 5)]),
        ("fixed", [(10, 10)], [(10, 14), (10, 10), (5, 10), (90, 5)]),
    ],
)
def test_layers_have_the_shapes_of_the_fusion(fusion, fused, layers):
    head = head_of(fusion=fusion)  # two vectors of width 5, and four numbers of motion
    assert shapes(head.fusion.modules()) == fused
    assert shapes(head.layers) == layers
    assert any(isinstance(part, nn.LayerNorm) for part in head.fusion.modules()) == (fusion == "original")


def test_the_requests_head_has_its_ten_million_parameters():
    with torch.device("meta"):
        head = TrajectoryHead(vectors=1, width=1024, fusion="fixed", use_ego=False)
    # 1024 -> 1024; then 1024 -> 2048 -> 2048 -> 1024 -> 90, with biases.
    expected = 1025 * 1024 + 1025 * 2048 + 2049 * 2048 + 2049 * 1024 + 1025 * 90
    assert num_parameters(head) == expected == 9_535_578


def test_the_motion_alone_can_be_the_input():
    head = fitted(vectors=0, width=0, init="fixed")
    assert shapes(head.layers) == [(8, 4), (8, 8), (90, 8)]
    assert head(None, torch.from_numpy(EGO)).mean.shape == (60, 45, 2)


def test_pictures_alone_can_be_the_input():
    head = fitted(use_ego=False, init="fixed")
    features, ego = tensors(FEATURES, EGO)
    assert torch.equal(head(features, ego).mean, head(features, ego + 1).mean)


def test_neither_is_refused():
    with pytest.raises(ValueError, match="head: expected features or the motion as input, got neither"):
        head_of(vectors=0, use_ego=False)


# --- dropout


def test_a_share_of_the_features_is_left_out_in_training_alone():
    head = head_of(vectors=10, width=50, feature_dropout=0.3, fusion="fixed")
    seen = []
    head.fusion.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    features = torch.ones(100, 10, 50)
    head.train()(features, torch.zeros(100, 4))
    head.eval()(features, torch.zeros(100, 4))
    in_training, in_use = seen
    assert (in_training == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(in_training[in_training != 0].unique(), torch.tensor([1 / 0.7]))
    assert torch.equal(in_use, features.flatten(1))


def test_the_motion_is_never_left_out():
    head = head_of(feature_dropout=0.9, dropout=0.0, init="fixed").train()
    ego = torch.from_numpy(EGO)
    without_features = torch.zeros(60, 2, 5)
    assert torch.equal(head(without_features, ego).mean, head(without_features, ego).mean)


# --- attention


def test_attention_gives_each_query_the_softmax_weighted_mean_of_the_values():
    torch.manual_seed(0)
    pool, tokens = AttentionPool(6, 3), torch.randn(2, 3, 6)
    nn.init.normal_(pool.queries)  # so that the weights differ
    found = pool(tokens)
    assert found.shape == (2, 4, 6)
    for sample in range(2):
        keys = [pool.key(tokens[sample, place] + pool.places[place]) for place in range(3)]
        values = [pool.value(tokens[sample, place]) for place in range(3)]
        for query in range(4):
            scores = torch.stack([key @ pool.queries[query] / 6**0.5 for key in keys])
            weights = scores.exp() / scores.exp().sum()
            expected = sum(weight * value for weight, value in zip(weights, values, strict=True))
            torch.testing.assert_close(found[sample, query], expected)


def test_the_head_reads_what_four_queries_found():
    head = head_of(vectors=7, pooling="attn", use_ego=False)
    assert shapes(head.layers)[0] == (8, 4 * 5)
    head(torch.randn(2, 7, 5), torch.zeros(2, 4)).mean.sum().backward()
    assert head.attention is not None
    assert head_of(pooling="flat").attention is None


# --- several modes, and a scale


@torch.no_grad()
def test_of_several_modes_the_most_probable_one_is_the_answer():
    head = fitted("metres", num_modes=3)
    # The last layer's weights are 0: its biases are the answer to everything.
    head.layers[-1].bias.copy_(torch.cat([torch.arange(3).repeat_interleave(90), torch.tensor([0.0, 0.2, 0.1])]))
    features, ego, prior = tensors(FEATURES, EGO, PRIOR)
    found = head(features, ego)
    assert found.raw_scale is None
    assert found.logits[0].tolist() == pytest.approx([0.0, 0.2, 0.1])
    assert found.modes.shape == (60, 3, 45, 2)
    assert [found.modes[5, mode].unique().item() for mode in range(3)] == [0, 1, 2]
    assert torch.equal(found.mean, torch.ones(60, 45, 2))
    in_metres = head.metres(found.modes, prior[:, None])
    torch.testing.assert_close(in_metres[:, 2], prior + 2)


def test_samples_have_their_own_most_probable_mode():
    head = fitted(num_modes=3, init="original")
    features, ego = tensors(FEATURES, EGO)
    found = head(features, ego)
    chosen = found.logits.argmax(dim=1)
    assert set(chosen.tolist()) == {0, 1, 2}
    for sample, mode in enumerate(chosen):
        assert torch.equal(found.mean[sample], found.modes[sample, mode])


@torch.no_grad()
def test_a_laplace_head_has_a_scale_in_metres_for_every_step_and_axis():
    head = fitted("standardised", has_scale=True)
    head.layers[-1].bias.copy_(torch.arange(180) / 180)
    features, ego = tensors(FEATURES, EGO)
    found = head(features, ego)
    raw = np.arange(90, 180).reshape(45, 2) / 180
    np.testing.assert_allclose(found.mean[3], np.arange(90).reshape(45, 2) / 180, rtol=1e-5)
    np.testing.assert_allclose(found.raw_scale[3], raw, rtol=1e-5)
    expected = (np.log1p(np.exp(raw)) + 1e-3) * (TRUTH - PRIOR)[ROWS].std(0)
    np.testing.assert_allclose(head.scale_m(found.raw_scale)[3], expected, rtol=1e-4)
    assert found.modes is None
