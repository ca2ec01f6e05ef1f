"""Export: one model as a folder without pickles, from which it reconstructs without the data it has learned from."""

import json
import shutil
from pathlib import Path

from drivelab_shared import runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.networks import CONFIG, WEIGHTS, read_description
from drivelab_shared.onnx_files import require_extra
from drivelab_shared.settings import load
from opv2v_stage2.config import ExportSettings, TrainSettings
from opv2v_stage2.export.loaded import Reconstructor, Vehicle, load_reconstructor
from opv2v_stage2.export.onnx_file import ONNX_FILE, write_onnx
from opv2v_stage2.export.readme import readme
from opv2v_stage2.storage import FORMAT, load_model

__all__ = ["Reconstructor", "Vehicle", "export", "load_reconstructor"]

PACKAGE = "opv2v-stage2"
SETTINGS, README = "settings.yaml", "README.md"
FILES = {CONFIG, WEIGHTS, SETTINGS, README, ONNX_FILE}


def export(settings: ExportSettings) -> None:
    """Write model.safetensors, config.json, settings.yaml and README.md, and vehicle.onnx if wanted.

    Raises:
        UserError: there is no such run or model, the folder holds something else, or there can be no ONNX.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    trained = load(TrainSettings, run / SETTINGS)
    if settings.onnx:
        require_extra()
        if trained.model.kind != "compact":
            raise UserError(f"{run}: onnx: expected a run with the compact model, got {trained.model.kind}")
    source = run / "models" / settings.stage
    model, built, facts = load_model(source)
    output = settings.output_dir or run / "export"
    _prepare(output)
    shutil.copyfile(source / WEIGHTS, output / WEIGHTS)
    shutil.copyfile(run / SETTINGS, output / SETTINGS)
    difference = write_onnx(output / ONNX_FILE, model, trained.modality) if settings.onnx else None
    replace_text(output / README, readme(f"{run.name}, {settings.stage}", built, trained.modality, facts, difference))
    config = read_description(source / CONFIG, FORMAT)
    config["facts"] |= {"stage": settings.stage, "modality": trained.modality}
    replace_text(output / CONFIG, json.dumps(config, indent=1) + "\n")
    print(f"exported to {output}")


def _prepare(output: Path) -> None:
    """An export replaces an earlier one, and nothing else."""
    output.mkdir(parents=True, exist_ok=True)
    others = sorted({path.name for path in output.iterdir()} - FILES)
    if others:
        raise UserError(
            f"{output}: output_dir: expected an empty folder or an earlier export, got one with {others[0]}"
        )
    for name in FILES:
        (output / name).unlink(missing_ok=True)
