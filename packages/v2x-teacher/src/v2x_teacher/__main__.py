"""`python -m v2x_teacher VERB`, the form that torchrun and other launchers start."""

import sys

from v2x_teacher.cli import main

# Worker processes import this module again under another name.
if __name__ == "__main__":
    sys.exit(main())
