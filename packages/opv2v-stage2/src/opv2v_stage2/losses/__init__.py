"""Losses as functions of tensors, each in the request's literal form and in the corrected one; see `terms`."""

from opv2v_stage2.losses.pose_consistency import PairwisePoseConsistencyLoss
from opv2v_stage2.losses.targets import Targets, TeacherTargets
from opv2v_stage2.losses.terms import total_loss

__all__ = ["PairwisePoseConsistencyLoss", "Targets", "TeacherTargets", "total_loss"]
