"""`v2x-teacher VERB`: the settings and the function of each verb. Torch is imported with a function only."""

from collections.abc import Sequence
from pathlib import Path

from drivelab_shared import launch
from drivelab_shared.launch import Verb

CONFIGS = Path(__file__).parent / "configs"

VERBS = {
    "make-data": Verb(
        settings="v2x_teacher.config:MakeDataSettings",
        function="v2x_teacher.data.make_data:make_data",
        help="simulate drives through junctions and write them as DAIR-V2X, V2X-Seq-SPD or the flat folder",
    ),
    "check-data": Verb(
        settings="v2x_teacher.config:CheckDataSettings",
        function="v2x_teacher.data.check_data:check_data",
        help="ranges, speeds, gaps, frames, leaks: every problem of a data set at once, and what to do",
    ),
    "train": Verb(
        settings="v2x_teacher.config:TrainSettings",
        function="v2x_teacher.train:train",
        help="features of the backbone, then the trajectory head; makes the default data first where there are none",
        default_config="quick",
    ),
    "evaluate": Verb(
        settings="v2x_teacher.config:EvaluateSettings",
        function="v2x_teacher.evaluate:evaluate",
        help="L2 by horizon, collisions and spread beside kinematic and learned baselines",
    ),
    "ablate": Verb(
        settings="v2x_teacher.config:AblateSettings",
        function="v2x_teacher.ablate:ablate",
        help="labels x recipes: which of the fixes mattered",
    ),
    "diagnose": Verb(
        settings="v2x_teacher.config:DiagnoseSettings",
        function="v2x_teacher.diagnose:diagnose",
        help="does the training collapse, and where: features, dropout noise, spread per layer",
    ),
    "predict": Verb(
        settings="v2x_teacher.config:PredictSettings",
        function="v2x_teacher.predict:predict",
        help="one pair of pictures or a data set: trajectories as JSON, drawn into both pictures",
    ),
    "export": Verb(
        settings="v2x_teacher.config:ExportSettings",
        function="v2x_teacher.export:export",
        help="weights and settings without pickles; features, soft targets and uncertainty for a student",
    ),
    "bench": Verb(
        settings="v2x_teacher.config:BenchSettings",
        function="v2x_teacher.bench:bench",
        help="cached features against the naive loop, in one interleaved run",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code. None means the arguments of the process."""
    return launch.main("v2x-teacher", VERBS, CONFIGS, arguments)
