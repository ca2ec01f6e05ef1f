"""One stage of a run on disk: where it goes on, what is saved of it, and which of its steps was the best.

The loop itself stays in the package:

    saved = Stage(run, "predictor", parts, keep=2)
    for step in range(saved.resume(), steps):
        ...
        saved.save_if_best(step + 1, "accuracy", figures, lower=False)
        saved.save(step + 1)
    saved.load_best()
"""

import math
from collections.abc import Mapping
from pathlib import Path

from drivelab_shared import checkpoint
from drivelab_shared.checkpoint import Parts
from drivelab_shared.errors import UserError
from drivelab_shared.runs import Run


class Stage:
    """Checkpoints below checkpoints/<name> of a run. Every process calls every method; the first one writes.

    Args:
        run: that the stage is a part of.
        name: of the stage.
        parts: prepared networks and optimizers.
        keep: how many of the latest checkpoints stay, beside the best.
    """

    def __init__(self, run: Run, name: str, parts: Parts, keep: int) -> None:
        self.folder: Path = run.folder / "checkpoints" / name
        self._run, self._name, self._parts, self._keep = run, name, parts, keep
        self._best: tuple[int, str, float] | None = None

    def resume(self) -> int:
        """Restore the newest checkpoint, forget what was logged after it, and return the steps that are done.

        Raises:
            UserError: the checkpoint holds other networks.
        """
        start = 0
        if (newest := checkpoint.latest(self._run.accelerator, self.folder)) is not None:
            progress = checkpoint.load(self._run.accelerator, newest, self._parts)
            start, self._best = progress["step"], progress["best"]
            if self._best is not None:
                self._mark_best()  # a kill between saving and marking must not lose it
        if self._run.resumed:
            self._run.rewind(self._name, start)
        return start

    def save(self, step: int) -> None:
        """Save after a step. A step that is saved already is left as it is."""
        checkpoint.save(self._run.accelerator, self.folder, step, self._parts, {"best": self._best}, self._keep)

    def save_if_best(self, step: int, select: str, figures: Mapping[str, float], *, lower: bool) -> None:
        """Save after a step that is better than all before, and keep it until another one is.

        Args:
            step: optimizer steps done.
            select: the figure that decides.
            figures: measured after the step.
            lower: whether a lower one is better. NaN never is.

        Raises:
            UserError: `select` is not one of the figures.
        """
        if select not in figures:
            raise UserError(f"select: expected one of {', '.join(figures)}, got {select!r}")
        before = self._best[2] if self._best else math.inf if lower else -math.inf
        if figures[select] < before if lower else figures[select] > before:
            self._best = (step, select, figures[select])
            self.save(step)
            self._mark_best()

    def load_best(self) -> None:
        """Restore the best step, if one was marked."""
        if (chosen := checkpoint.best(self._run.accelerator, self.folder)) is not None:
            checkpoint.load(self._run.accelerator, chosen, self._parts)

    def _mark_best(self) -> None:
        if self._run.accelerator.is_main_process:
            checkpoint.mark_best(self.folder, *self._best)
