"""`opv2v-stage2 VERB`: the settings and the function of each verb. Torch is imported with a function only."""

from collections.abc import Sequence
from pathlib import Path

from drivelab_shared import launch
from drivelab_shared.launch import Verb

CONFIGS = Path(__file__).parent / "configs"

VERBS = {
    "make-data": Verb(
        settings="opv2v_stage2.config:MakeDataSettings",
        function="opv2v_stage2.data.make_data:make_data",
        help="render cooperative street scenes in the layout of OPV2V",
    ),
    "check-data": Verb(
        settings="opv2v_stage2.config:CheckDataSettings",
        function="opv2v_stage2.data.check_data:check_data",
        help="list every problem of a data set at once: files, geometry, coverage, leaks",
    ),
    "train": Verb(
        settings="opv2v_stage2.config:TrainSettings",
        function="opv2v_stage2.train:train",
        help="stage 1 on single vehicles, then stage 2 on cooperating ones; makes the default data first if need be",
        default_config="quick",
    ),
    "evaluate": Verb(
        settings="opv2v_stage2.config:EvaluateSettings",
        function="opv2v_stage2.evaluate:evaluate",
        help="single and cooperative CSVs, summary and clouds, beside GPS and the teacher",
    ),
    "ablate": Verb(
        settings="opv2v_stage2.config:AblateSettings",
        function="opv2v_stage2.ablate:ablate",
        help="train and compare the losses one by one, and curves over GPS noise and distance",
    ),
    "diagnose": Verb(
        settings="opv2v_stage2.config:DiagnoseSettings",
        function="opv2v_stage2.diagnose:diagnose",
        help="conventions, gauges and floaters: numbers that must hold, and pictures; exit code 1 where one does not",
    ),
    "predict": Verb(
        settings="opv2v_stage2.config:PredictSettings",
        function="opv2v_stage2.predict:predict",
        help="frames to coloured point clouds: PLY, a viewer in one HTML file, a picture from above",
    ),
    "export": Verb(
        settings="opv2v_stage2.config:ExportSettings",
        function="opv2v_stage2.export:export",
        help="weights and settings without pickles",
    ),
    "bench": Verb(
        settings="opv2v_stage2.config:BenchSettings",
        function="opv2v_stage2.bench:bench",
        help="ratios against plain variants, in one interleaved run",
    ),
    "filter": Verb(
        settings="opv2v_stage2.config:FilterSettings",
        function="opv2v_stage2.filter:filter_clouds",
        help="crop clouds by height, radius and view, vote over frames; Chamfer and BEV before and after",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code. None means the arguments of the process."""
    return launch.main("opv2v-stage2", VERBS, CONFIGS, arguments)
