"""Predict: where will the vehicle go? For a data set or for one pair of pictures, as JSON and as drawings."""

from pathlib import Path

import numpy as np
import torch

from drivelab_shared import engine, runs
from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_text
from v2x_teacher.config import PredictSettings
from v2x_teacher.data.kinematics import prior
from v2x_teacher.inputs import Inputs, step_times
from v2x_teacher.predict.document import Provenance, document
from v2x_teacher.predict.pages import write_pages
from v2x_teacher.predict.sources import of_data_set, of_pair
from v2x_teacher.scores import Method
from v2x_teacher.trained import EGO_MLP, TEACHER, open_network, read_settings

PACKAGE = "v2x-teacher"


def predict(settings: PredictSettings) -> None:
    """Write predictions.json, index.html and drawings.

    Neither needs a label: pairs whose future nobody recorded are predicted too.

    Raises:
        UserError: there is no such run or picture, or the two do not fit.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    trained = read_settings(run, settings)
    if settings.num_drawings < 0:
        raise UserError(f"num_drawings: expected a number >= 0, got {settings.num_drawings}")
    is_pair = settings.vehicle_image is not None or settings.infrastructure_image is not None
    inputs = (of_pair if is_pair else of_data_set)(settings, trained, device)
    methods = answers(run, inputs, device)

    output = settings.output_dir or run / "predict"
    provenance = Provenance.of(run, trained, split=None if is_pair else settings.split)
    replace_text(output / "predictions.json", document(provenance, inputs, methods["teacher"]))
    drawn = write_pages(output, run, inputs, methods, settings.num_drawings)
    print(f"{output}: predictions.json with {_pairs(len(inputs.samples))}, index.html with {drawn} drawn")


def answers(run: Path, inputs: Inputs, device: torch.device) -> dict[str, Method]:
    """What the teacher, and the baselines that it is drawn beside, say to all samples.

    Raises:
        UserError: the run has no teacher, or it reads something else.
    """
    rows = np.arange(len(inputs.samples))
    methods = {"teacher": inputs.method(open_network(run, TEACHER, inputs, device), rows, device)}
    if inputs.knows_motion:
        methods["CTRV"] = Method(prior("ctrv", inputs.samples.ego, step_times(inputs.samples)).astype(np.float32))
        alone = inputs.without_pictures()
        if (ego_mlp := open_network(run, EGO_MLP, alone, device)) is not None:
            methods["ego MLP"] = alone.method(ego_mlp, rows, device)
    return methods


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"
