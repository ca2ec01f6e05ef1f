"""Which frame, action and label belong together: every row of the scripted store says where it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from latent_predictor import imagine as imagine_module
from latent_predictor.data.splits import Span
from latent_predictor.data.store import Store, window_starts
from latent_predictor.imagine import Windows, imagine
from latent_predictor.models.predictor import Predictor
from latent_predictor.train import window_batch

CPU = torch.device("cpu")
SPANS = (Span("a", "test", 0, 20), Span("b", "train", 20, 20), Span("short", "test", 40, 8), Span("c", "test", 48, 14))
ROWS = 62


def scripted_store() -> Store:
    """Column 0 of the actions is the row, column 1 what it adds to the latent; the label is the row modulo 3."""
    rng = np.random.default_rng(0)
    actions = np.stack([np.arange(ROWS), rng.integers(-5, 6, ROWS)], axis=1).astype(np.float32)
    labels = (np.arange(ROWS) % 3).astype(np.int8)
    return Store(
        data_dir=Path("scripted"),
        frames=np.zeros((ROWS, 64, 64, 3), np.uint8),
        actions=actions,
        labels=labels,
        judge_labels=labels,
        state=None,
        track_ahead=None,
        trajectories=SPANS,
        dt=0.08,
        frames_fingerprint="",
        fingerprint="",
        left_out=(),
    )


def latents_of(store: Store) -> np.ndarray:
    """[rows, 1]: what the actions before a row add up to, so that latent t+1 is latent t plus action t."""
    moves = store.actions[:, 1:].astype(np.float64)
    return (np.cumsum(moves, axis=0) - moves).astype(np.float32)


class Adder(Predictor):
    """Knows the scripted world: the next latent is this one plus the action's column 1."""

    def __init__(self):
        super().__init__(latent_size=1, action_size=2, residual=True)

    def step(self, inputs, actions, memory):
        return actions[:, 1:], None


class Spy(Predictor):
    """Notes what it is shown."""

    def __init__(self):
        super().__init__(latent_size=1, action_size=2, residual=True)
        self.seen = []

    def forward(self, real, actions):
        self.seen.append((real[..., 0].numpy(), actions[..., 0].numpy()))
        return actions[..., :1]

    def step(self, inputs, actions, memory):
        raise NotImplementedError


def row_latents() -> np.ndarray:
    """Latents that are the row."""
    return np.arange(ROWS, dtype=np.float32)[:, None]


def test_prediction_h_is_the_frame_at_context_minus_1_plus_h():
    store = scripted_store()
    windows = Windows.of(store, "test", context=4, horizon=5, stride=2)
    latents = latents_of(store)
    future = imagine(Adder(), latents, store, windows, CPU)
    assert future.shape == (len(windows.starts), 5, 1)
    for h in range(1, 6):
        assert (windows.rows(h) == windows.starts + 4 - 1 + h).all()
        assert future[:, h - 1].numpy().tolist() == latents[windows.rows(h)].tolist()


def test_the_predictor_sees_the_context_and_the_actions_up_to_the_last_imagined_frame():
    store, spy = scripted_store(), Spy()
    windows = Windows(np.array([0, 50]), np.array([0, 1]), context=4, horizon=3)
    future = imagine(spy, row_latents(), store, windows, CPU)
    (real, actions), *_ = spy.seen
    assert real.tolist() == [[0, 1, 2, 3], [50, 51, 52, 53]]
    # The last action, 5 or 55, leads to the last imagined frame, 6 or 56.
    assert actions.tolist() == [[0, 1, 2, 3, 4, 5], [50, 51, 52, 53, 54, 55]]
    assert (windows.rows(3) == [6, 56]).all()
    # The action beside the last real frame is the one that leads to the first imagined one.
    assert future[..., 0].tolist() == [[3, 4, 5], [53, 54, 55]]


def test_windows_do_not_depend_on_how_many_are_imagined_at_once(monkeypatch):
    store, latents = scripted_store(), latents_of(scripted_store())
    windows = Windows.of(store, "test", context=4, horizon=5, stride=1)
    at_once = imagine(Adder(), latents, store, windows, CPU)
    monkeypatch.setattr(imagine_module, "CHUNK", 3)
    assert torch.equal(imagine(Adder(), latents, store, windows, CPU), at_once)


def test_windows_lie_within_one_trajectory_of_their_split_and_reach_its_last_frame():
    windows = Windows.of(scripted_store(), "test", context=4, horizon=5, stride=1)
    assert sorted(windows.starts) == [*range(12), *range(48, 54)]  # none in the train drive and the one of 8 frames
    assert windows.rows(5).max() == ROWS - 1


def test_groups_count_the_trajectories_that_have_a_window():
    windows = Windows.of(scripted_store(), "test", context=4, horizon=5, stride=1)
    assert windows.num_groups == 2
    assert windows.groups[windows.starts < 20].tolist() == [0] * 12
    assert windows.groups[windows.starts >= 48].tolist() == [1] * 6


def test_swapped_windows_come_from_another_trajectory_and_are_a_function_of_the_seed():
    windows = Windows.of(scripted_store(), "all", context=4, horizon=5, stride=1)
    assert windows.num_groups == 3
    swapped = windows.swapped(seed=0)
    assert (windows.groups[swapped] != windows.groups).all()
    assert np.array_equal(swapped, windows.swapped(seed=0))
    assert not np.array_equal(swapped, windows.swapped(seed=1))


def test_one_trajectory_alone_has_nothing_to_swap_with():
    assert Windows.of(scripted_store(), "train", context=4, horizon=5, stride=1).swapped(seed=0) is None


def test_swapping_replaces_the_future_actions_and_leaves_those_between_real_frames():
    store, spy = scripted_store(), Spy()
    windows = Windows(np.array([0, 50]), np.array([0, 1]), context=4, horizon=3)
    imagine(spy, row_latents(), store, windows, CPU, future_of=np.array([1, 0]))
    (real, actions), *_ = spy.seen
    assert real.tolist() == [[0, 1, 2, 3], [50, 51, 52, 53]]
    assert actions.tolist() == [[0, 1, 2, 53, 54, 55], [50, 51, 52, 3, 4, 5]]


def test_nobody_is_swapped_when_every_window_has_its_own_future():
    store, latents = scripted_store(), latents_of(scripted_store())
    windows = Windows.of(store, "test", context=4, horizon=5, stride=3)
    own = imagine(Adder(), latents, store, windows, CPU, future_of=np.arange(len(windows.starts)))
    assert torch.equal(own, imagine(Adder(), latents, store, windows, CPU))


@pytest.mark.parametrize("length", [1, 6])
def test_a_training_window_pairs_each_prediction_with_the_label_of_its_own_frame(length):
    store = scripted_store()
    starts = window_starts(store, "train", length + 1, 2)
    real, actions, labels = window_batch(row_latents(), store, starts, length, CPU)
    targets = real[:, 1:, 0]
    assert real[:, 0, 0].tolist() == starts.tolist()
    assert torch.equal(actions[..., 0], targets - 1)  # the action taken one frame before leads to the target
    assert torch.equal(labels.float(), targets % 3)
    assert targets.max() <= 39  # the last frame of the drive


def test_a_predictor_that_knows_the_world_has_no_training_error():
    store, latents = scripted_store(), latents_of(scripted_store())
    real, actions, _ = window_batch(latents, store, window_starts(store, "train", 9, 1), 8, CPU)
    assert torch.equal(Adder()(real[:, :3], actions), real[:, 1:])
