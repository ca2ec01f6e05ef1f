"""A network as an ONNX file (extra `export` of the packages). It is written only after it has agreed with torch."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from drivelab_shared.errors import UserError
from drivelab_shared.files import replace_bytes

EXTRA = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
"""Largest difference from torch; float32 kernels of two libraries differ by about 1e-6."""
CHECKED_BATCHES = (1, 5)
"""None of them the traced one, so that a batch size frozen into the file is noticed."""
TRACED_BATCH = 3


def require_extra() -> None:
    """Refuse before anything is written.

    Raises:
        UserError: a module of the extra is missing.
    """
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise UserError(f"onnx: expected the extra `export` to be installed, got no {', '.join(missing)}")


@dataclass(frozen=True, eq=False)
class Graph:
    """A module, inputs to try it on, and what inputs and outputs are called in the file."""

    module: nn.Module
    random_inputs: Callable[[int], tuple[Tensor, ...]]
    """For a batch of so many; always the same ones."""
    inputs: Sequence[str]
    outputs: Sequence[str]


def write_graph(path: Path, graph: Graph) -> float:
    """Write the file and return its largest difference from torch.

    Raises:
        RuntimeError: it does not compute what torch computes.
    """
    content = _traced(graph)
    difference = _difference(graph, content)
    if not difference < TOLERANCE:
        raise RuntimeError(f"{path.name}: expected at most {TOLERANCE} from torch, got {difference}")
    replace_bytes(path, content)
    return difference


@torch.no_grad()
def _traced(graph: Graph) -> bytes:
    with _quiet_exporter():
        program = torch.onnx.export(
            graph.module.eval(),
            graph.random_inputs(TRACED_BATCH),
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple({0: "batch"} for _ in graph.inputs),
            verbose=False,
        )
    return program.model_proto.SerializeToString()


@torch.no_grad()
def _difference(graph: Graph, content: bytes) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest = 0.0
    for batch in CHECKED_BATCHES:
        inputs = graph.random_inputs(batch)
        expected = graph.module(*inputs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        arrays = {name: tensor.numpy() for name, tensor in zip(graph.inputs, inputs, strict=True)}
        found = session.run(list(graph.outputs), arrays)
        for ours, theirs in zip(expected, found, strict=True):
            largest = max(largest, float((ours - torch.from_numpy(theirs)).abs().max()))
    return largest


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without what torch's exporter (2.15) has to say about torch.

    That is a deprecated call of its own, its handling of nn.LSTM's weights, the batch axis that several inputs share,
    and a missing torchvision, which nothing here needs.
    """
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    with warnings.catch_warnings():
        for message in (".*_check_is_size will be removed", ".*_flat_weights", ".*axis name: batch will not be used"):
            warnings.filterwarnings("ignore", message=message)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
