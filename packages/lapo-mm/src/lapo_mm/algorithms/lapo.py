"""LAPO from several modalities: twin Q and V, an action VAE weighted by the advantage, a policy in its latent space.

Who trains the encoder is `wiring`:

| wiring     | the encoder is moved by                            | features of VAE and policy           |
|------------|----------------------------------------------------|--------------------------------------|
| `critic`   | critic_optimizer, by the critic's loss             | the critic's, detached               |
| `vae`      | actorvae_optimizer, by the VAE's loss              | shared; the VAE's loss reaches it    |
| `both`     | encoder_optimizer, by the sum of both              | shared; both losses reach it         |
| `separate` | the critic's by the critic, another one by the VAE | those of the VAE's own encoder       |
| `none`     | nobody: random weights                             | the same random features             |

In `vae`, the critic's loss does put gradients on the encoder; `actorvae_optimizer.zero_grad()` deletes them before
anybody uses them. That is the bug that this package began with, kept to be measured.

Sources: "Latent-variable Advantage-weighted Policy Optimization", NeurIPS 2022, and its released code,
pcchenxi/LAPO-offlienRL:algos/algos_vae.py; a critic that alone trains the encoder: facebookresearch/drqv2:drqv2.py.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from lapo_mm.algorithms.base import Algorithm, Backward, bare, figures
from lapo_mm.config import TrainSettings
from lapo_mm.data.batches import Batch
from lapo_mm.losses import advantage_weights, mixed, td_target, twin_loss, vae_terms
from lapo_mm.models.encoder import ObsEncoder, Observation
from lapo_mm.models.heads import ActionVae, Critic, LatentPolicy, constant
from lapo_mm.models.shapes import Shapes

NOISE_STD, NOISE_LIMIT = 0.1, 0.2
"""On the target policy's latent in the target of V."""


class Lapo(Algorithm):
    """See the module's text. `algorithm.obs_encoder.image_encoder.conv1` is the first layer that sees an image."""

    targets = {"target_q": "critic.q", "target_decoder": "actor_vae.decoder", "target_actor": "actor"}  # noqa: RUF012

    def __init__(self, shapes: Shapes, settings: TrainSettings) -> None:
        super().__init__(shapes, settings)
        features, hidden_sizes = self.obs_encoder.num_features, settings.hidden_sizes
        latent = settings.latent_size or 2 * shapes.action
        self.critic = Critic(features, shapes.action, hidden_sizes)
        self.actor_vae = ActionVae(features, latent, shapes.action, hidden_sizes, is_bounded=settings.bounded_decoder)
        self.actor = LatentPolicy(features, latent, hidden_sizes, settings.max_latent_action)
        if settings.wiring == "separate":
            self.vae_encoder = ObsEncoder(shapes, settings.encoder)
        if settings.wiring == "none":
            self.obs_encoder.requires_grad_(False)
        self.target_q = self.copy_of(self.critic.q)
        self.target_decoder = self.copy_of(self.actor_vae.decoder)
        self.target_actor = self.copy_of(self.actor)

    def build_optimizers(self) -> dict[str, Optimizer]:
        """The heads' optimizers, and the encoder in the one that the wiring names."""
        settings = self.settings
        critic, vae = [self.critic], [self.actor_vae]
        if settings.wiring in ("critic", "separate"):
            critic.append(self.obs_encoder)
        elif settings.wiring == "vae":
            vae.append(self.obs_encoder)
        if settings.wiring == "separate":
            vae.append(self.vae_encoder)
        optimizers = {
            "critic_optimizer": self.adam(critic, settings.critic_lr),
            "actorvae_optimizer": self.adam(vae, settings.vae_lr),
            "actor_optimizer": self.adam([self.actor], settings.actor_lr),
        }
        if settings.wiring == "both":
            optimizers["encoder_optimizer"] = self.adam([self.obs_encoder], settings.critic_lr)
        return optimizers

    def update(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Critic (and encoder), then VAE, then policy, then the targets."""
        observation, next_observation, actions, rewards = self.scaled(batch)
        features = self.obs_encoder(observation)  # one pass, for every loss
        policy_features = self.vae_encoder(observation) if self.settings.wiring == "separate" else features
        with torch.no_grad():
            next_features = self.obs_encoder(next_observation)
            next_policy_features = self._policy_features(next_observation, next_features)
            q_target = td_target(rewards, batch.terminals, bare(self.critic).v(next_features), self.settings.gamma)
            v_target = self._noisy_value(features, policy_features)

        if self.settings.wiring == "both":
            self.encoder_optimizer.zero_grad()
        q1, q2, v = self.critic(features, actions)
        q_loss, v_loss = twin_loss(q1, q2, q_target), functional.mse_loss(v, v_target)
        critic_loss = q_loss + v_loss
        self.critic_optimizer.zero_grad()
        backward("critic", critic_loss)
        self.critic_optimizer.step()  # of the encoder too, where it owns it

        with torch.no_grad():
            next_q = self._policy_value(next_features, next_policy_features)
            advantages = td_target(rewards, batch.terminals, next_q, self.settings.gamma)
            advantages -= bare(self.critic).v(features)
            weights = advantage_weights(
                advantages, self.settings.weighting, self.settings.expectile, self.settings.temperature
            )
        vae_features = self._vae_features(observation, policy_features)
        reconstruction, mean, log_variance = self.actor_vae(vae_features, actions)
        error, kl = vae_terms(reconstruction, actions, mean, log_variance, weights)
        vae_loss = error + self.settings.kl_beta * kl
        self.actorvae_optimizer.zero_grad()
        backward("vae", vae_loss)
        self.actorvae_optimizer.step()
        if self.settings.wiring == "both":
            self.encoder_optimizer.step()

        actor_features = vae_features.detach()
        decoded = self.target_decoder(actor_features, self.actor(actor_features))
        actor_loss = -constant(bare(self.critic).q, features.detach(), decoded)[0].mean()
        self.actor_optimizer.zero_grad()
        backward("actor", actor_loss)
        self.actor_optimizer.step()

        self.follow()
        return figures(
            critic=critic_loss,
            vae=vae_loss,
            actor=actor_loss,
            q=q_loss,
            v=v_loss,
            reconstruction=error,
            kl=kl,
            advantage=advantages.mean(),
            positive_share=(advantages > 0).float().mean(),
            mean_q=q1.mean(),
            outside_share=(decoded != self.units.standardise(self.units.raw(decoded))).float().mean(),
        )

    def policy(self, observation: Observation) -> Float[Tensor, "batch actions"]:
        """The target decoder's action for the policy's latent."""
        features = self._policy_features(observation)
        return self.target_decoder(features, bare(self.actor)(features))

    def twin_values(
        self, observation: Observation, actions: Float[Tensor, "batch actions"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """Of the trained critic, not of its slow copy."""
        return bare(self.critic).q(bare(self.obs_encoder)(observation), actions)

    def _policy_features(self, observation: Observation, features: Tensor | None = None) -> Tensor:
        """Features that VAE and policy see; `features` are the critic's, if they are there already."""
        if self.settings.wiring == "separate":
            return bare(self.vae_encoder)(observation)
        return bare(self.obs_encoder)(observation) if features is None else features

    def _vae_features(self, observation: Observation, policy_features: Tensor) -> Tensor:
        """Attached where the VAE's loss may train an encoder, else not."""
        if self.settings.wiring in ("vae", "both"):
            return self.obs_encoder(observation)  # again: the critic's backward pass has used up the first graph
        return policy_features if self.settings.wiring == "separate" else policy_features.detach()

    def _noisy_value(self, features: Tensor, policy_features: Tensor) -> Float[Tensor, " batch"]:
        """Value of what the target policy would do, with noise on its latent, within what rewards can add up to."""
        latents = self.target_actor(policy_features)
        latents = latents + (NOISE_STD * torch.randn_like(latents)).clamp(-NOISE_LIMIT, NOISE_LIMIT)
        value = self._value_of(features, policy_features, latents)
        return value.clamp(self.units.value_low, self.units.value_high)

    def _policy_value(self, features: Tensor, policy_features: Tensor) -> Float[Tensor, " batch"]:
        return self._value_of(features, policy_features, self.target_actor(policy_features))

    def _value_of(self, features: Tensor, policy_features: Tensor, latents: Tensor) -> Float[Tensor, " batch"]:
        actions = self.target_decoder(policy_features, latents)
        if not self.settings.bounded_decoder:  # an action that cannot be sent has no value
            actions = self.units.standardise(self.units.raw(actions))
        return mixed(*self.target_q(features, actions), self.settings.doubleq_min)
