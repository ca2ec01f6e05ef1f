"""`python -m lapo_mm VERB`, the form that torchrun and other launchers start."""

import sys

from lapo_mm.cli import main

# Worker processes import this module again under another name.
if __name__ == "__main__":
    sys.exit(main())
