"""Implicit Q-learning on the same encoder, which its critic trains.

Source: Kostrikov et al., arXiv 2110.06169. The policy is deterministic, so its weighted log-likelihood is a weighted
squared error.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from lapo_mm.algorithms.base import Algorithm, Backward, bare, figures
from lapo_mm.config import TrainSettings
from lapo_mm.data.batches import Batch
from lapo_mm.losses import MAX_WEIGHT, cloning_loss, expectile_loss, td_target, twin_loss
from lapo_mm.models.encoder import Observation
from lapo_mm.models.heads import ActionPolicy, Critic
from lapo_mm.models.shapes import Shapes


class Iql(Algorithm):
    """V by expectile regression, Q by V of the next state, the policy by weighted cloning."""

    targets = {"target_q": "critic.q"}  # noqa: RUF012

    def __init__(self, shapes: Shapes, settings: TrainSettings) -> None:
        super().__init__(shapes, settings)
        features = self.obs_encoder.num_features
        self.critic = Critic(features, shapes.action, settings.hidden_sizes)
        self.actor = ActionPolicy(features, shapes.action, settings.hidden_sizes, is_bounded=settings.bounded_decoder)
        self.target_q = self.copy_of(self.critic.q)

    def build_optimizers(self) -> dict[str, Optimizer]:
        """The encoder belongs to the critic."""
        return {
            "critic_optimizer": self.adam([self.critic, self.obs_encoder], self.settings.critic_lr),
            "actor_optimizer": self.adam([self.actor], self.settings.actor_lr),
        }

    def update(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Critic and encoder, then policy, then the target."""
        observation, next_observation, actions, rewards = self.scaled(batch)
        features = self.obs_encoder(observation)
        with torch.no_grad():
            next_v = bare(self.critic).v(self.obs_encoder(next_observation))
            q_target = td_target(rewards, batch.terminals, next_v, self.settings.gamma)
            slow_q = torch.minimum(*self.target_q(features, actions))

        q1, q2, v = self.critic(features, actions)
        q_loss, v_loss = twin_loss(q1, q2, q_target), expectile_loss(slow_q - v, self.settings.iql_expectile)
        critic_loss = q_loss + v_loss
        self.critic_optimizer.zero_grad()
        backward("critic", critic_loss)
        self.critic_optimizer.step()

        advantages = slow_q - v.detach()
        weights = (self.settings.iql_beta * advantages / advantages.std().clamp(min=1e-6)).exp().clamp(max=MAX_WEIGHT)
        actor_loss = cloning_loss(self.actor(features.detach()), actions, weights)
        self.actor_optimizer.zero_grad()
        backward("actor", actor_loss)
        self.actor_optimizer.step()

        self.follow()
        return figures(critic=critic_loss, actor=actor_loss, q=q_loss, v=v_loss, mean_q=q1.mean())

    def policy(self, observation: Observation) -> Float[Tensor, "batch actions"]:
        """The policy's action."""
        return bare(self.actor)(bare(self.obs_encoder)(observation))

    def twin_values(
        self, observation: Observation, actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """They value the best actions of the data, not the extracted policy's."""
        return bare(self.critic).q(bare(self.obs_encoder)(observation), actions)
