"""Export: a teacher as a folder without pickles, with what a student needs, usable without the run that made it."""

import json
import shutil
from pathlib import Path

from drivelab_shared import engine, runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from v2x_teacher.config import ExportSettings, TrainSettings
from v2x_teacher.data.recording import SPLITS
from v2x_teacher.export.description import DESCRIPTION, describe
from v2x_teacher.export.loaded import NETWORK, ExportedTeacher, load_export
from v2x_teacher.export.readme import readme
from v2x_teacher.export.soft_targets import SOFT_TARGETS, write_soft_targets
from v2x_teacher.trained import TEACHER, open_trained, read_settings

__all__ = ["ExportedTeacher", "export", "load_export"]

PACKAGE = "v2x-teacher"


def export(settings: ExportSettings) -> None:
    """Write teacher/, settings.yaml, export.json and README.md, and soft_targets/ if wanted.

    Raises:
        UserError: there is no such run, its features cannot be made again, or the folder holds something else.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    _require_repeatable(run, read_settings(run, settings))
    device = engine.start(settings.device, threads=settings.threads).device
    trained = open_trained(run, device, settings)
    output = settings.output_dir or run / "export"
    _prepare(output)
    shutil.rmtree(output / NETWORK, ignore_errors=True)
    shutil.copytree(run / "models" / TEACHER, output / NETWORK)
    shutil.copyfile(run / "settings.yaml", output / "settings.yaml")
    description = describe(trained)
    counts: dict[str, int] = {}
    if settings.soft_targets:
        splits = SPLITS if settings.split == "all" else (settings.split,)
        present = [split for split in splits if trained.inputs.samples.mask(split).any()]
        counts = {split: write_soft_targets(output, trained, split, description) for split in present}
    replace_text(output / "README.md", readme(run.name, trained, description, counts))
    lines = ",\n".join(f' "{name}": {json.dumps(value)}' for name, value in description.items())
    replace_text(output / DESCRIPTION, f"{{\n{lines}\n}}\n")
    print(f"exported to {output}" + "".join(f"; soft targets of {count} {split}" for split, count in counts.items()))


def _require_repeatable(run: Path, settings: TrainSettings) -> None:
    """Refuse a head that has learned from features with dropout in them.

    Such a draw belongs to a place in the run's own data: a new picture has none, and of features without dropout the
    head knows nothing.

    Raises:
        UserError: it is one.
    """
    if settings.freeze_backbone and settings.backbone.mode == "train":
        raise UserError(
            f"{run}: backbone.mode: expected a run trained with 'eval', got 'train': its features are one draw of "
            "dropout, which no new picture has; train --backbone.mode eval makes a run that can be exported (evaluate, "
            "predict and diagnose read this one)"
        )


def _prepare(output: Path) -> None:
    """An export replaces an earlier one, and nothing else."""
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()) and not (output / DESCRIPTION).is_file():
        raise UserError(f"{output}: output_dir: expected an empty folder or an earlier export, got other files")
    shutil.rmtree(output / SOFT_TARGETS, ignore_errors=True)  # of another run, perhaps
