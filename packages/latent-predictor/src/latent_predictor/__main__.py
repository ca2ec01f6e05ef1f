"""`python -m latent_predictor VERB`, the form that torchrun and other launchers start."""

import sys

from latent_predictor.cli import main

# Worker processes import this module again under another name.
if __name__ == "__main__":
    sys.exit(main())
