"""TD3+BC on the same encoder, which its critic trains.

Source: Fujimoto and Gu, arXiv 2106.06860. The policy moves at every step; target actions carry clipped noise.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from lapo_mm.algorithms.base import Algorithm, Backward, bare, figures
from lapo_mm.config import TrainSettings
from lapo_mm.data.batches import Batch
from lapo_mm.losses import td3bc_loss, td_target, twin_loss
from lapo_mm.models.encoder import Observation
from lapo_mm.models.heads import ActionPolicy, TwinQ, constant
from lapo_mm.models.shapes import Shapes

NOISE_STD, NOISE_LIMIT = 0.2, 0.5
"""On the target policy's standardised actions."""


class Td3Bc(Algorithm):
    """Q of the target policy's next action; a policy that climbs Q and clones."""

    targets = {"target_critic": "critic", "target_actor": "actor"}  # noqa: RUF012

    def __init__(self, shapes: Shapes, settings: TrainSettings) -> None:
        super().__init__(shapes, settings)
        features = self.obs_encoder.num_features
        self.critic = TwinQ(features, shapes.action, settings.hidden_sizes)
        self.actor = ActionPolicy(features, shapes.action, settings.hidden_sizes, is_bounded=settings.bounded_decoder)
        self.target_critic = self.copy_of(self.critic)
        self.target_actor = self.copy_of(self.actor)

    def build_optimizers(self) -> dict[str, Optimizer]:
        """The encoder belongs to the critic."""
        return {
            "critic_optimizer": self.adam([self.critic, self.obs_encoder], self.settings.critic_lr),
            "actor_optimizer": self.adam([self.actor], self.settings.actor_lr),
        }

    def update(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Critic and encoder, then policy, then the targets."""
        observation, next_observation, actions, rewards = self.scaled(batch)
        features = self.obs_encoder(observation)
        with torch.no_grad():
            next_features = self.obs_encoder(next_observation)
            next_actions = self.target_actor(next_features)
            noise = (NOISE_STD * torch.randn_like(next_actions)).clamp(-NOISE_LIMIT, NOISE_LIMIT)
            next_actions = self.units.standardise(self.units.raw(next_actions + noise))
            next_q = torch.minimum(*self.target_critic(next_features, next_actions))
            q_target = td_target(rewards, batch.terminals, next_q, self.settings.gamma)

        q1, q2 = self.critic(features, actions)
        critic_loss = twin_loss(q1, q2, q_target)
        self.critic_optimizer.zero_grad()
        backward("critic", critic_loss)
        self.critic_optimizer.step()

        chosen = self.actor(features.detach())
        q = constant(bare(self.critic), features.detach(), chosen)[0]
        actor_loss = td3bc_loss(q, chosen, actions, self.settings.td3bc_alpha)
        self.actor_optimizer.zero_grad()
        backward("actor", actor_loss)
        self.actor_optimizer.step()

        self.follow()
        return figures(critic=critic_loss, actor=actor_loss, mean_q=q1.mean())

    def policy(self, observation: Observation) -> Float[Tensor, "batch actions"]:
        """The policy's action."""
        return bare(self.actor)(bare(self.obs_encoder)(observation))

    def twin_values(
        self, observation: Observation, actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Of the trained critic."""
        return bare(self.critic)(bare(self.obs_encoder)(observation), actions)
