"""LAPO's step as one would write it first: what the request's code and the released one do, with pictures."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam, Optimizer

from lapo_mm.algorithms.base import Backward
from lapo_mm.algorithms.lapo import NOISE_LIMIT, NOISE_STD, Lapo
from lapo_mm.data.batches import Batch
from lapo_mm.losses import advantage_weights, mixed, td_target, twin_loss, vae_terms


class PlainLapo(Lapo):
    """Encodes anew for every loss, keeps the advantage's graph, fills the critic's gradients for the policy's loss.

    It learns the same; only the work differs. `shares_features` encodes once per batch instead.
    """

    shares_features = False

    def build_optimizers(self) -> dict[str, Optimizer]:
        """Adam as it comes, parameter by parameter."""
        lr = self.settings.critic_lr
        groups = {
            "critic_optimizer": [self.critic, self.obs_encoder],
            "actorvae_optimizer": [self.actor_vae],
            "actor_optimizer": [self.actor],
        }
        return {
            name: Adam([{"params": list(module.parameters())} for module in modules], lr=lr, foreach=False)
            for name, modules in groups.items()
        }

    def update(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Critic (and encoder), then VAE, then policy, then the targets."""
        settings = self.settings
        observation, next_observation, actions, rewards = self.scaled(batch)
        shared = self.obs_encoder(observation) if self.shares_features else None
        next_shared = self.obs_encoder(next_observation) if self.shares_features else None

        def features() -> Tensor:
            return self.obs_encoder(observation) if shared is None else shared

        def next_features() -> Tensor:
            return self.obs_encoder(next_observation) if next_shared is None else next_shared

        with torch.no_grad():
            q_target = td_target(rewards, batch.terminals, self.critic.v(next_features()), settings.gamma)
            seen = features()
            latents = self.target_actor(seen)
            latents = latents + (NOISE_STD * torch.randn_like(latents)).clamp(-NOISE_LIMIT, NOISE_LIMIT)
            v_target = self._value_of(seen, seen, latents).clamp(self.units.value_low, self.units.value_high)
        q1, q2, v = self.critic(features(), actions)
        critic_loss = twin_loss(q1, q2, q_target) + functional.mse_loss(v, v_target)
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        self.critic_optimizer.step()

        seen, coming = features().detach(), next_features()
        next_q = mixed(*self.target_q(coming, self.target_decoder(coming, self.target_actor(coming))), 1.0)
        advantages = td_target(rewards, batch.terminals, next_q, settings.gamma) - self.critic.v(seen)
        weights = advantage_weights(advantages, settings.weighting, settings.expectile, settings.temperature)
        reconstruction, mean, log_variance = self.actor_vae(seen, actions)
        error, kl = vae_terms(reconstruction, actions, mean, log_variance, weights)
        self.actorvae_optimizer.zero_grad()
        (error + settings.kl_beta * kl).backward()
        self.actorvae_optimizer.step()

        seen = features().detach()
        actor_loss = -self.critic.q(seen, self.target_decoder(seen, self.actor(seen)))[0].mean()
        self.actor_optimizer.zero_grad()
        actor_loss.backward()
        self.actor_optimizer.step()

        with torch.no_grad():
            for name, path in self.targets.items():
                for slow, fast in zip(getattr(self, name).parameters(), self.resolve(path).parameters(), strict=True):
                    slow.copy_(settings.tau * fast + (1 - settings.tau) * slow)
        return {"critic": critic_loss.detach()}


class SharedFeaturesLapo(PlainLapo):
    """The same, with one encoder pass per batch."""

    shares_features = True
