"""What is diagnosed: a few moments with all that is written down, true and predicted of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from opv2v_stage2.config import DiagnoseSettings
from opv2v_stage2.data.agent_yaml import AgentDocument, read_agent_yaml
from opv2v_stage2.data.frame_list import ListedFrame, make_frame_list
from opv2v_stage2.data.recording import AgentFrame
from opv2v_stage2.data.samples import sample_of
from opv2v_stage2.evaluate.frame_metrics import Moment
from opv2v_stage2.inference import Prediction, predict_samples
from opv2v_stage2.teacher import EXACT
from opv2v_stage2.trained import TrainedRun


@dataclass(frozen=True, eq=False)
class Case:
    """A moment: the main vehicle and its nearest, where there is one."""

    listed: ListedFrame
    documents: Mapping[str, AgentDocument]
    """By agent, as the files have them."""
    frames: Mapping[str, AgentFrame]
    moment: Moment
    prediction: Prediction
    """Of the newest stage, with GPS as it is in the files."""


def chosen_cases(trained: TrainedRun, settings: DiagnoseSettings) -> list[Case]:
    """Moments drawn from the split.

    Raises:
        UserError: the split is empty, or a file is broken.
    """
    count, tree = settings.num_frames, trained.tree
    listed = make_frame_list(tree, settings.split, sample_size=count, seed=settings.seed).frames[:count]
    return [_case(trained, settings, one) for one in listed]


def _case(trained: TrainedRun, settings: DiagnoseSettings, listed: ListedFrame) -> Case:
    tree, split, store = trained.tree, settings.split, trained.store(settings.split)
    sample = sample_of(store, listed.key, listed.agents)
    arguments = (store, [sample], trained.settings.modality, EXACT, (), trained.device)
    with torch.no_grad():
        (prediction,) = predict_samples(trained.model(trained.stages[-1]), *arguments)
    files = tree.files[split][listed.key]
    return Case(
        listed=listed,
        documents={agent: read_agent_yaml(files[agent].yaml_path) for agent in listed.agents},
        frames={agent: tree.read(split, listed.key, agent) for agent in listed.agents},
        moment=Moment(store, sample),
        prediction=prediction,
    )
