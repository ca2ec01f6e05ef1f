"""What the self-test judges: faults that people make in such code, and what is correct and must be left in peace.

Every fault is injected into LAPO of wiring `critic` and judged by the contract of that wiring. 1 to 18 are the ones
that the request's methods were first measured with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from lapo_mm.diagnose import injections
from lapo_mm.diagnose.contract import BASELINES, WIRINGS
from lapo_mm.diagnose.injections import CLIP_NORM, Inject, clipped, edits


@dataclass(frozen=True)
class Case:
    """Something to be judged."""

    name: str
    inject: Inject = lambda algorithm: None
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of the settings."""
    clip_norms: Mapping[str, float] = field(default_factory=dict)
    """What the contract says of clipping."""


CRITIC_OWNS = "critic.append(self.obs_encoder)"
ACTOR_ADAM = "self.adam([self.actor], settings.actor_lr)"
VAE_ADAM = "self.adam(vae, settings.vae_lr)"
FEATURES = "features = self.obs_encoder(observation)  # one pass"
VAE_FEATURES = "vae_features = self._vae_features(observation, policy_features)"
BACKWARD = 'backward("critic", critic_loss)'
ZERO_GRAD, STEP, FOLLOW = "self.critic_optimizer.zero_grad()", "self.critic_optimizer.step()", "self.follow()"

FAULTS: Mapping[int, Case] = {
    1: Case("the request's bug: encoder only in the VAE's optimizer", injections.request_bug),
    2: Case(
        "the same with the VAE detached",
        edits(("build_optimizers", CRITIC_OWNS, "vae.append(self.obs_encoder)")),
    ),
    3: Case("encoder in no optimizer", edits(("build_optimizers", CRITIC_OWNS, "pass"))),
    4: Case(
        "encoder in the critic's and in the VAE's optimizer",
        edits(("build_optimizers", CRITIC_OWNS, f"{CRITIC_OWNS}; vae.append(self.obs_encoder)")),
    ),
    5: Case(
        "critic's features detached",
        edits(("update", "self.critic(features, actions)", "self.critic(features.detach(), actions)")),
    ),
    6: Case("VAE's features attached", edits(("update", VAE_FEATURES, "vae_features = self.obs_encoder(observation)"))),
    7: Case(
        "policy's features attached, encoder in its optimizer, too",
        edits(
            ("build_optimizers", ACTOR_ADAM, "self.adam([self.actor, self.obs_encoder], settings.actor_lr)"),
            ("update", "actor_features = vae_features.detach()", "actor_features = self.obs_encoder(observation)"),
        ),
    ),
    8: Case(
        "policy's optimizer also holds the VAE",
        edits(("build_optimizers", ACTOR_ADAM, "self.adam([self.actor, self.actor_vae], settings.actor_lr)")),
    ),
    9: Case(
        "policy's loss through the decoder that is trained",
        edits(("update", "decoded = self.target_decoder(", "decoded = self.actor_vae.decoder(")),
    ),
    10: Case("encoder frozen", injections.frozen_encoder),
    11: Case("no zero_grad before the critic's backward pass", edits(("update", ZERO_GRAD, "pass"))),
    12: Case("zero_grad between backward pass and step", edits(("update", BACKWARD, f"{BACKWARD}; {ZERO_GRAD}"))),
    13: Case("critic's step missing", edits(("update", STEP, "pass"))),
    14: Case(
        "one graph for all losses, kept with retain_graph",
        edits(
            ("update", BACKWARD, 'backward("critic", critic_loss, retain_graph=True)'),
            ("update", VAE_FEATURES, "vae_features = features"),
        ),
    ),
    15: Case("target critic is the critic itself", injections.target_without_copy),
    16: Case("targets are trainable", injections.trainable_targets),
    17: Case("tau and 1 - tau swapped", edits(("follow", "decay=1.0 - self.settings.tau", "decay=self.settings.tau"))),
    18: Case("targets never updated", edits(("update", FOLLOW, "pass"))),
    19: Case("first layer missing from the optimizer", injections.first_layer_left_out),
    20: Case("image encoder replaced after the optimizer was built", injections.module_replaced),
    21: Case("encoder's weights assigned after the optimizer was built", injections.loaded_by_assignment),
    22: Case("learning rate 0 for the encoder", injections.no_learning_rate),
    23: Case("target critic's buffers left behind", injections.buffers_left_behind),
    24: Case("target critic's batch norm in train mode", injections.target_in_train_mode),
    25: Case(
        "weight decay on the encoder, with zeros as gradients",
        edits(
            (
                "build_optimizers",
                VAE_ADAM,
                "torch.optim.AdamW([*self.actor_vae.parameters(), *self.obs_encoder.parameters()])",
            ),
            ("update", "self.actorvae_optimizer.zero_grad()", "self.actorvae_optimizer.zero_grad(set_to_none=False)"),
        ),
    ),
    26: Case("state encoder under no_grad", injections.state_encoder_under(torch.no_grad)),
    27: Case("state encoder under inference_mode", injections.state_encoder_under(torch.inference_mode)),
    28: Case("all pictures black", injections.black_pictures),
    29: Case("image encoder dead behind a ReLU", injections.dead_relu),
    30: Case("state divided by an infinite spread", injections.infinite_spread),
    31: Case("gradient scaler skips every step", injections.skipping_scaler),
    32: Case("gradients clipped, the encoder's not", clipped("critic"), clip_norms={"critic_optimizer": CLIP_NORM}),
    33: Case("critic stepped twice", edits(("update", STEP, f"{STEP}; {STEP}"))),
    34: Case(
        "targets follow the networks from before the step",
        edits(("update", FOLLOW, "pass"), ("update", FEATURES, f"{FOLLOW}; {FEATURES}")),
    ),
    35: Case(
        "another loss on the encoder that nobody declared",
        edits(("update", BACKWARD, f"{BACKWARD}; self.obs_encoder(observation).square().mean().backward()")),
    ),
}

CORRECT: tuple[Case, ...] = (
    *(Case(f"wiring {wiring}", changes={"wiring": wiring}) for wiring in WIRINGS),
    *(Case(name, changes={"algorithm": name}) for name in BASELINES),
    Case("batch norm in the critic", injections.batch_norm),
    Case(
        "gradients clipped, all together",
        clipped("critic", "obs_encoder"),
        clip_norms={"critic_optimizer": CLIP_NORM},
    ),
)
