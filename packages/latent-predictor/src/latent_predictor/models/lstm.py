"""The LSTM predictor: from the request's (raw latent and action side by side) to FiLM-conditioned on the action."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latent_predictor.models.predictor import Memory, Predictor


class LstmPredictor(Predictor):
    """One LSTM layer between a linear reading of the latent and a linear head.

    Args:
        latent_size: values in a latent.
        action_size: numbers in an action.
        hidden_size: units of the LSTM.
        bottleneck: linear + LayerNorm between latent and LSTM; 0 feeds the latent itself.
        conditioning: how actions enter: `none`; `concat`, beside the latent; `film`, the same and as a scale and shift
            of the LSTM's output, zero at the start (Perez et al., FiLM, 2018).
        action_embedding: width of the embedded action; 0 uses the action itself.
        residual: predict the change of the latent.
        zero_init_head: start with a head that outputs 0.
        dropout: after the bottleneck.
    """

    def __init__(
        self,
        latent_size: int,
        action_size: int,
        *,
        hidden_size: int = 256,
        bottleneck: int = 128,
        conditioning: str = "film",
        action_embedding: int = 64,
        residual: bool = True,
        zero_init_head: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(latent_size, action_size, residual=residual)
        self.conditioning = conditioning if action_size else "none"
        self.uses_actions = self.conditioning != "none"
        self.read = _bottleneck(latent_size, bottleneck, dropout) if bottleneck else nn.Identity()
        width = 0
        self.embed: nn.Module = nn.Identity()
        if self.conditioning != "none":
            width = action_embedding or action_size
            if action_embedding:
                hidden = nn.Linear(action_size, width)
                self.embed = nn.Sequential(hidden, nn.SiLU(), nn.Linear(width, width))
        self.lstm = nn.LSTM((bottleneck or latent_size) + width, hidden_size, batch_first=True)
        self.film = nn.Linear(width, 2 * hidden_size) if self.conditioning == "film" else None
        self.head = nn.Linear(hidden_size, latent_size)
        for layer in (self.film, self.head if zero_init_head else None):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def step(
        self, inputs: Float[Tensor, "batch latent"], actions: Float[Tensor, "batch action"], memory: Memory
    ) -> tuple[Float[Tensor, "batch latent"], Memory]:
        """See Predictor."""
        outputs, memory = self.forced(inputs[:, None], actions[:, None], memory)
        return outputs[:, 0], memory

    def forced(
        self,
        inputs: Float[Tensor, "batch time latent"],
        actions: Float[Tensor, "batch time action"],
        memory: Memory = None,
    ) -> tuple[Float[Tensor, "batch time latent"], Memory]:
        """All steps in one fused call of the LSTM."""
        features = self.read(inputs)
        if self.conditioning == "none":
            outputs, memory = self.lstm(features, memory)
            return self.head(outputs), memory
        embedded = self.embed(actions)
        outputs, memory = self.lstm(torch.cat([features, embedded], dim=-1), memory)
        if self.film is not None:
            scale, shift = self.film(embedded).chunk(2, dim=-1)
            outputs = nn.functional.silu(outputs * (1 + scale) + shift)
        return self.head(outputs), memory


def _bottleneck(latent_size: int, width: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Linear(latent_size, width), nn.LayerNorm(width), nn.Dropout(dropout))
