"""`latent-predictor VERB`: the settings and the function of each verb. Torch is imported with a function only."""

from collections.abc import Sequence
from pathlib import Path

from drivelab_shared import launch
from drivelab_shared.launch import Verb

CONFIGS = Path(__file__).parent / "configs"

VERBS = {
    "make-data": Verb(
        settings="latent_predictor.config:MakeDataSettings",
        function="latent_predictor.data.make_data:make_data",
        help="drive a simulator, or import a dashcam video",
    ),
    "check-data": Verb(
        settings="latent_predictor.config:CheckDataSettings",
        function="latent_predictor.data.check_data:check_data",
        help="list every problem of a folder of trajectories at once",
    ),
    "train": Verb(
        settings="latent_predictor.config:TrainSettings",
        function="latent_predictor.train:train",
        help="VAE, then frozen lane classifier, then predictor; makes the default data first where there are none",
        default_config="quick",
    ),
    "evaluate": Verb(
        settings="latent_predictor.config:EvaluateSettings",
        function="latent_predictor.evaluate:evaluate",
        help="how well the lane can be read from imagined frames, by horizon, beside the baselines",
    ),
    "ablate": Verb(
        settings="latent_predictor.config:AblateSettings",
        function="latent_predictor.ablate:ablate",
        help="train and compare recipes on the same data with the same judges",
    ),
    "diagnose": Verb(
        settings="latent_predictor.config:DiagnoseSettings",
        function="latent_predictor.diagnose:diagnose",
        help="latent space, growth of the error, t-SNE, sensitivity to actions",
    ),
    "predict": Verb(
        settings="latent_predictor.config:PredictSettings",
        function="latent_predictor.predict:predict",
        help="imagine the future of one trajectory: picture strip, mp4 and npz",
    ),
    "export": Verb(
        settings="latent_predictor.config:ExportSettings",
        function="latent_predictor.export:export",
        help="weights, settings and normalisers as safetensors and JSON, and ONNX if wanted",
    ),
    "bench": Verb(
        settings="latent_predictor.config:BenchSettings",
        function="latent_predictor.bench:bench",
        help="frames per CPU-second against the request's loop, in one interleaved run",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code. None means the arguments of the process."""
    return launch.main("latent-predictor", VERBS, CONFIGS, arguments)
