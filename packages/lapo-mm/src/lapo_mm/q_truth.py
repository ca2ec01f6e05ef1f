"""What Q values promise, against what comes of them.

Where the dataset keeps the simulator's state (info `sim`), held-out pairs of state and action are put back into the
simulator: the action is played, then the policy, and the discounted rewards are the truth. Elsewhere the values of the
policy's own first actions are compared with the discounted returns of the episodes that follow.
"""

import numpy as np
import torch
from jaxtyping import Float

from drivelab_shared.seeding import keyed_rng
from lapo_mm.algorithms import Algorithm
from lapo_mm.data.batches import Batches
from lapo_mm.data.store import Store
from lapo_mm.rollouts import Trace, acting, roll_out
from lapo_mm.tasks import Task

SIM = "sim"
"""Info that an environment can be reset to: `reset(options={"sim": ...})`."""

Pairs = tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]


def held_out_pairs(
    algorithm: Algorithm, batches: Batches, store: Store, task: Task, *, num_pairs: int, horizon: int, seed: int
) -> Pairs | None:
    """Q values and truth of recorded pairs of state and action; None where either cannot be had.

    The rewards after `horizon` steps are left out: they weigh gamma^horizon and less.
    """
    if SIM not in store.infos:
        return None
    steps = store.steps_of("val")
    chosen = np.sort(keyed_rng(seed, 7).choice(steps, min(num_pairs, len(steps)), replace=False))
    batch = batches.fetch(chosen)
    with torch.no_grad():
        q = algorithm.q_values(batch.observation, batch.actions)
    if q is None:
        return None
    done = roll_out(
        acting(algorithm),
        lambda: task.make_env(max_steps=horizon),
        task.read,
        [{"seed": int(step), "options": {SIM: np.array(store.infos[SIM][store.rows[step]])}} for step in chosen],
        batches.device,
        gamma=algorithm.settings.gamma,
        first_actions=np.array(store.actions[chosen]),
    )
    return q.cpu().numpy().astype(float), done.discounted


def first_pairs(
    algorithm: Algorithm, traces: list[Trace], discounted: Float[np.ndarray, " episodes"], device: torch.device
) -> Pairs | None:
    """Q values of the first actions of episodes, and the discounted returns that followed."""
    observation = {
        name: torch.from_numpy(np.stack([trace.observations[0][name] for trace in traces])).to(device)
        for name in traces[0].observations[0]
    }
    actions = torch.from_numpy(np.stack([trace.actions[0] for trace in traces])).float().to(device)
    with torch.no_grad():
        q = algorithm.q_values(observation, actions)
    return None if q is None else (q.cpu().numpy().astype(float), discounted[: len(traces)])
