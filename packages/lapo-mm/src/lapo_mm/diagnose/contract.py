"""Who may move what, and which loss may reach what: written down by hand, for every algorithm and wiring.

Nothing here looks at the optimizers that the algorithms build: a contract that were derived from what it judges could
not be broken.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lapo_mm.config import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a training step may do, by the names of modules, losses and optimizers. A name stands for its parts, too.

    Whatever is moved by nobody and follows nobody is frozen.
    """

    moves: Mapping[str, tuple[str, ...]]
    """Optimizer -> modules that it moves, and no others."""
    reaches: Mapping[str, tuple[str, ...]]
    """Loss -> modules whose parameters get a gradient from it, and no others."""
    targets: Mapping[str, str] = field(default_factory=dict)
    """Slow copy -> what it follows, at every step: tau * fast + (1 - tau) * slow, once all optimizers are done."""
    tau: float = 1.0
    """Share of the fast network in each update of its slow copy."""
    senses: tuple[str, ...] = ()
    """Modules whose output has to differ from sample to sample."""
    erased: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Loss -> modules that it reaches in vain: somebody clears its gradients before they are used."""
    clip_norms: Mapping[str, float] = field(default_factory=dict)
    """Optimizer -> norm that the gradients of all it moves are clipped to, together."""

    def movers(self, module: str) -> list[str]:
        """Optimizers that may move a module."""
        return [optimizer for optimizer, modules in self.moves.items() if within(module, modules)]

    def teachers(self, module: str) -> list[str]:
        """Losses whose gradients, summed, are what an optimizer finds on a module."""
        reaching = [loss for loss, modules in self.reaches.items() if within(module, modules)]
        return [loss for loss in reaching if not within(module, self.erased.get(loss, ()))]

    @property
    def warnings(self) -> list[str]:
        """What is as declared, and still should not be."""
        return [
            f"the {loss} loss reaches {module}, and {' and '.join(self.movers(module))} deletes what it puts there: "
            f"nothing of it moves {module}"
            for loss, modules in self.erased.items()
            for module in modules
        ]


def within(module: str, declared: Iterable[str]) -> bool:
    """Whether a module is one of the declared ones, or a part of one."""
    return any(module == name or module.startswith(f"{name}.") for name in declared)


LAPO_TARGETS = {"target_q": "critic.q", "target_decoder": "actor_vae.decoder", "target_actor": "actor"}
CRITIC = Contract(
    moves={
        "critic_optimizer": ("obs_encoder", "critic"),
        "actorvae_optimizer": ("actor_vae",),
        "actor_optimizer": ("actor",),
    },
    reaches={
        "critic": ("obs_encoder", "critic"),
        "vae": ("actor_vae",),
        "actor": ("actor",),  # it passes through the slow decoder and a critic that is constant for it
    },
    targets=LAPO_TARGETS,
    senses=("obs_encoder",),
)
VAE = Contract(
    moves={
        "critic_optimizer": ("critic",),
        "actorvae_optimizer": ("obs_encoder", "actor_vae"),
        "actor_optimizer": ("actor",),
    },
    reaches={"critic": ("obs_encoder", "critic"), "vae": ("obs_encoder", "actor_vae"), "actor": ("actor",)},
    erased={"critic": ("obs_encoder",)},  # the request's bug
    targets=LAPO_TARGETS,
    senses=("obs_encoder",),
)
BOTH = Contract(
    moves={
        "critic_optimizer": ("critic",),
        "actorvae_optimizer": ("actor_vae",),
        "encoder_optimizer": ("obs_encoder",),
        "actor_optimizer": ("actor",),
    },
    reaches={"critic": ("obs_encoder", "critic"), "vae": ("obs_encoder", "actor_vae"), "actor": ("actor",)},
    targets=LAPO_TARGETS,
    senses=("obs_encoder",),
)
SEPARATE = Contract(
    moves={
        "critic_optimizer": ("obs_encoder", "critic"),
        "actorvae_optimizer": ("vae_encoder", "actor_vae"),
        "actor_optimizer": ("actor",),
    },
    reaches={"critic": ("obs_encoder", "critic"), "vae": ("vae_encoder", "actor_vae"), "actor": ("actor",)},
    targets=LAPO_TARGETS,
    senses=("obs_encoder", "vae_encoder"),
)
NONE = Contract(
    moves={
        "critic_optimizer": ("critic",),
        "actorvae_optimizer": ("actor_vae",),
        "actor_optimizer": ("actor",),
    },
    reaches={"critic": ("critic",), "vae": ("actor_vae",), "actor": ("actor",)},
    targets=LAPO_TARGETS,
    senses=("obs_encoder",),
)
BC = Contract(
    moves={"actor_optimizer": ("obs_encoder", "actor")},
    reaches={"actor": ("obs_encoder", "actor")},
    senses=("obs_encoder",),
)
TD3BC = Contract(
    moves={"critic_optimizer": ("obs_encoder", "critic"), "actor_optimizer": ("actor",)},
    reaches={"critic": ("obs_encoder", "critic"), "actor": ("actor",)},
    targets={"target_critic": "critic", "target_actor": "actor"},
    senses=("obs_encoder",),
)
IQL = Contract(
    moves={"critic_optimizer": ("obs_encoder", "critic"), "actor_optimizer": ("actor",)},
    reaches={"critic": ("obs_encoder", "critic"), "actor": ("actor",)},
    targets={"target_q": "critic.q"},
    senses=("obs_encoder",),
)

WIRINGS = {"critic": CRITIC, "vae": VAE, "both": BOTH, "separate": SEPARATE, "none": NONE}
BASELINES = {"bc": BC, "td3bc": TD3BC, "iql": IQL}


def contract_of(settings: TrainSettings) -> Contract:
    """What a training with these settings has to keep to."""
    contract = WIRINGS[settings.wiring] if settings.algorithm == "lapo" else BASELINES[settings.algorithm]
    return dataclasses.replace(contract, tau=settings.tau)
