"""`python -m opv2v_stage2 VERB`, the form that torchrun and other launchers start."""

import sys

from opv2v_stage2.cli import main

# Worker processes import this module again under another name.
if __name__ == "__main__":
    sys.exit(main())
