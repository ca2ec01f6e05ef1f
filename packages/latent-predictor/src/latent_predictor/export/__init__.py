"""Export: the networks of a run as one folder without pickles, described so that it can be used without its maker."""

import shutil
from pathlib import Path

from drivelab_shared import runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from drivelab_shared.networks import save_network
from drivelab_shared.onnx_files import require_extra
from latent_predictor.config import ExportSettings
from latent_predictor.export.onnx_files import ONNX_FILES, write_onnx
from latent_predictor.export.readme import readme
from latent_predictor.models import KINDS
from latent_predictor.storage import load_network

PACKAGE = "latent-predictor"
PARTS = ("vae", "classifier", "predictor")


def export(settings: ExportSettings) -> None:
    """Write vae/, classifier/, predictor/, settings.yaml and README.md, and ONNX files if wanted.

    Raises:
        UserError: there is no such run, the folder holds something else, or ONNX is wanted but not installed.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    if settings.onnx:
        require_extra()
    networks = {name: load_network(run, *KINDS, name=name) for name in PARTS}
    output = settings.output_dir or run / "export"
    _prepare(output)
    for name, network in networks.items():
        save_network(output / name, network)
    shutil.copyfile(run / "settings.yaml", output / "settings.yaml")
    differences = {}
    if settings.onnx:
        differences = write_onnx(output, networks["vae"].module, networks["predictor"].module)
        for name, difference in differences.items():
            print(f"{name}: at most {difference:.1e} from torch")
    replace_text(output / "README.md", readme(run.name, networks, differences))
    print(f"exported to {output}")


def _prepare(output: Path) -> None:
    """An export replaces an earlier one, and nothing else."""
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()) and not (output / "predictor" / "config.json").is_file():
        raise UserError(f"{output}: output_dir: expected an empty folder or an earlier export, got other files")
    for name in ONNX_FILES:  # of another run, perhaps
        (output / name).unlink(missing_ok=True)
