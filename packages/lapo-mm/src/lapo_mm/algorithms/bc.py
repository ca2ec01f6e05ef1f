"""Behaviour cloning: the row that every table of offline RL owes its readers. `top_share` makes it %BC."""

from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from lapo_mm.algorithms.base import Algorithm, Backward, bare, figures
from lapo_mm.config import TrainSettings
from lapo_mm.data.batches import Batch
from lapo_mm.losses import cloning_loss
from lapo_mm.models.encoder import Observation
from lapo_mm.models.heads import ActionPolicy
from lapo_mm.models.shapes import Shapes


class BehaviourCloning(Algorithm):
    """The encoder is trained by cloning."""

    def __init__(self, shapes: Shapes, settings: TrainSettings) -> None:
        super().__init__(shapes, settings)
        self.actor = ActionPolicy(
            self.obs_encoder.num_features, shapes.action, settings.hidden_sizes, is_bounded=settings.bounded_decoder
        )

    def build_optimizers(self) -> dict[str, Optimizer]:
        """One for all."""
        return {"actor_optimizer": self.adam([self.actor, self.obs_encoder], self.settings.actor_lr)}

    def update(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """A step towards the recorded actions."""
        observation, _, actions, _ = self.scaled(batch)
        loss = cloning_loss(self.actor(self.obs_encoder(observation)), actions)
        self.actor_optimizer.zero_grad()
        backward("actor", loss)
        self.actor_optimizer.step()
        return figures(actor=loss)

    def policy(self, observation: Observation) -> Float[Tensor, "batch actions"]:
        """The cloned action."""
        return bare(self.actor)(bare(self.obs_encoder)(observation))
