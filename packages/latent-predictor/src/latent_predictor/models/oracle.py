"""The state oracle: what a model can know about the future lane when it is told the true state and the road ahead."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_predictor.models.judges import CLASSES

STATE_FEATURES = (3, 4, 5)
"""Columns of the state that it reads: lateral offset / half width, heading error, speed."""


class StateOracle(nn.Module):
    """GRU over real states and past actions, then over future actions alone; a class at each future step.

    A trained reference, not a bound: no picture is involved, so what it misses is the difficulty of the task itself.
    """

    def __init__(self, action_size: int, num_tiles_ahead: int, hidden_size: int = 128) -> None:
        super().__init__()
        self.past = nn.GRU(len(STATE_FEATURES) + action_size, hidden_size, batch_first=True)
        self.road = nn.Linear(hidden_size + num_tiles_ahead, hidden_size)
        self.future = nn.GRU(action_size, hidden_size, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden_size, hidden_size), nn.SiLU(), nn.Linear(hidden_size, len(CLASSES)))
        inputs = len(STATE_FEATURES) + action_size + num_tiles_ahead
        self.register_buffer("input_mean", torch.zeros(inputs))
        self.register_buffer("input_std", torch.ones(inputs))

    def normalise(self, mean: Float[Tensor, " inputs"], std: Float[Tensor, " inputs"]) -> None:
        """Set the statistics of (state features, actions, track ahead) from the training split."""
        self.input_mean.copy_(mean)
        self.input_std.copy_(std.clamp_min(0.05))

    def forward(
        self,
        states: Float[Tensor, "batch context features"],
        actions: Float[Tensor, "batch time action"],
        track_ahead: Float[Tensor, "batch tiles"],
    ) -> Float[Tensor, "batch horizon 3"]:
        """Logits of the frames context .. time.

        Args:
            states: offset, heading error and speed of the frames 0 .. context-1.
            actions: of the frames 0 .. time-1; `actions[:, t]` leads from frame t to t+1.
            track_ahead: relative heading of the road's next tiles at frame context-1, rad.
        """
        context, width = states.shape[1:]
        mean, std = self.input_mean, self.input_std
        states = (states - mean[:width]) / std[:width]
        actions = (actions - mean[width : width + actions.shape[-1]]) / std[width : width + actions.shape[-1]]
        track_ahead = (track_ahead - mean[-track_ahead.shape[-1] :]) / std[-track_ahead.shape[-1] :]
        # The action before the first frame is not known; the mean stands in for it.
        before = nn.functional.pad(actions[:, : context - 1], (0, 0, 1, 0))
        _, memory = self.past(torch.cat([states, before], dim=-1))
        memory = torch.tanh(self.road(torch.cat([memory[0], track_ahead], dim=-1)))
        outputs, _ = self.future(actions[:, context - 1 :], memory[None].contiguous())
        return self.head(outputs)
