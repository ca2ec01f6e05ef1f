"""`lapo-mm VERB`: the settings and the function of each verb. Torch is imported with a function only."""

from collections.abc import Sequence
from pathlib import Path

from drivelab_shared import launch
from drivelab_shared.launch import Verb

CONFIGS = Path(__file__).parent / "configs"

VERBS = {
    "make-data": Verb(
        settings="lapo_mm.config:MakeDataSettings",
        function="lapo_mm.data.make_data:make_data",
        help="record scripted behaviours in an environment, or import a dataset, as a Minari dataset",
    ),
    "check-data": Verb(
        settings="lapo_mm.config:CheckDataSettings",
        function="lapo_mm.data.check_data:check_data",
        help="list every problem of a dataset at once, and say what each modality is good for",
    ),
    "train": Verb(
        settings="lapo_mm.config:TrainSettings",
        function="lapo_mm.train:train",
        help="learn a policy from the dataset; makes the default data first where there are none",
        default_config="quick",
    ),
    "evaluate": Verb(
        settings="lapo_mm.config:EvaluateSettings",
        function="lapo_mm.evaluate:evaluate",
        help="returns in the environment, and Q values against what came of them",
    ),
    "ablate": Verb(
        settings="lapo_mm.config:AblateSettings",
        function="lapo_mm.ablate:ablate",
        help="train and compare wirings, baselines and settings on the same data",
    ),
    "diagnose": Verb(
        settings="lapo_mm.config:DiagnoseSettings",
        function="lapo_mm.diagnose:diagnose",
        help="prove which loss reaches and which optimizer moves what; exit code 1 where the contract is broken",
    ),
    "predict": Verb(
        settings="lapo_mm.config:PredictSettings",
        function="lapo_mm.predict:predict",
        help="roll the policy out: video, actions and rewards",
    ),
    "export": Verb(
        settings="lapo_mm.config:ExportSettings",
        function="lapo_mm.export:export",
        help="weights, settings and normalisers without pickles",
    ),
    "bench": Verb(
        settings="lapo_mm.config:BenchSettings",
        function="lapo_mm.bench:bench",
        help="gradient steps per CPU-second against plain variants, in one interleaved run",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code. None means the arguments of the process."""
    return launch.main("lapo-mm", VERBS, CONFIGS, arguments)
