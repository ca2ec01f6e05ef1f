import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the processes that tests start

import pytest
import torch

from drivelab_shared import engine

torch.set_num_threads(1)


@pytest.fixture
def accelerator():
    return engine.start("cpu")
