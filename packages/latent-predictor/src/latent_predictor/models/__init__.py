"""The networks, and how each is built from its name and plain arguments."""

from torch import nn

from latent_predictor.models.judges import CLASSES, LatentCnn, LatentMlp, PixelCnn
from latent_predictor.models.lstm import LstmPredictor
from latent_predictor.models.oracle import StateOracle
from latent_predictor.models.predictor import Predictor
from latent_predictor.models.vae import Vae

KINDS: dict[str, type[nn.Module]] = {
    "vae": Vae,
    "latent_mlp": LatentMlp,
    "latent_cnn": LatentCnn,
    "pixel_cnn": PixelCnn,
    "oracle": StateOracle,
    "lstm": LstmPredictor,
}

__all__ = ["CLASSES", "KINDS", "LatentCnn", "LatentMlp", "LstmPredictor", "PixelCnn", "Predictor", "StateOracle", "Vae"]
