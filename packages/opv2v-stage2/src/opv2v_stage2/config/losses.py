"""Settings of the losses. Files in configs/loss set several at once."""

from dataclasses import dataclass, field
from typing import Literal

from drivelab_shared.settings import require


@dataclass(frozen=True, kw_only=True)
class HeightSettings:
    """What becomes of unlabelled pixels that the model puts above `z_max`."""

    mode: Literal["mask", "depth", "off"] = "mask"
    """`mask`: their validity falls, their depth stays. `depth`: their depth is pulled down, as the request has it, and
    makes a false ceiling at z_max."""
    weight: float = 0.03
    """The request's lambda_height."""
    z_max: float = 4.0
    """Metres above the ground."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "loss.height.weight", "a number >= 0", self.weight)
        require(self.z_max > 0, "loss.height.z_max", "a number > 0", self.z_max)


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The terms of the loss and their weights. Files in configs/loss set several at once."""

    depth_weight: float = 1.0
    """Of the depth term."""
    depth_form: Literal["log_ray", "l1"] = "log_ray"
    """`log_ray`: robust difference of log ray depths, a mean per picture. `l1`: metres of z depth, pooled over the
    batch, as the request has it."""
    mask_aware: bool = True
    """Only pixels with a label count. False: pixels without one count as depth 0, the complaint that began it all."""
    range_balance: bool = True
    """Weigh labels by the inverse frequency of their range, so that the near ones do not outvote the rest."""
    min_labels: int = 8
    """Pictures with fewer labels are left out."""
    confidence_weight: float = 0.0
    """Above 0, the depth term is weighed by the model's confidence, which is clamped to [1, 20]."""

    mask: Literal["tri_state", "upstream", "off"] = "tri_state"
    """How validity is taught. `tri_state`: labels are valid, sky is not, the rest is ignored. `upstream`: MapAnything's
    rule, for which the zeros of a sparse map are valid, sky included."""
    mask_weight: float = 0.3
    """Of the validity term."""
    negatives: Literal["teacher", "colour", "truth"] = "teacher"
    """Where stage 2 knows sky from: the validity of the model of stage 1, blue and bright pixels above the horizon, or
    the truth of made-up data. A teacher that does not exist is replaced by `colour`."""
    height: HeightSettings = field(default_factory=HeightSettings)

    scale_weight: float = 0.1
    """Of MapAnything's own scale term: the scale factor against the mean distance of the labels."""
    scale_distill_weight: float = 0.1
    """Of the scale distillation in stage 2; needs a teacher."""
    scale_distill_temperature: float = 0.1
    """Where its Huber loss goes from square to linear, in log units: the larger, the more an outlier counts."""
    scale_distill_form: Literal["effective", "literal"] = "effective"
    """`effective`: the size of each vehicle's cloud, which does not depend on how scale and shape are split. `literal`:
    |scale factor - teacher's|."""
    scale_distill_detach: bool = True
    """Only the scale factor is pushed; the shape is left to the other terms."""
    lidar_anchor: bool = True
    """Correct the teacher's scale by the median of what the lidar says first."""
    distill_local_weight: float = 0.3
    """Within the distillation, of depths relative to the size of the cloud."""
    distill_pose_weight: float = 0.1
    """Within the distillation, of relative poses of one vehicle's cameras."""

    pose_weight: float = 0.3
    """Of relative camera poses within a vehicle."""
    coop_consistency_weight: float = 0.3
    """Of relative poses between vehicles; stage 2 only, and only where there are two."""
    pose_pairs: Literal["rig", "views"] = "rig"
    """Compare the poses of whole vehicles, or those of every pair of pictures."""
    pose_relative: Literal["inv_i_j", "i_inv_j"] = "inv_i_j"
    """`inv_i_j`: inverse(P_i) P_j, right for camera-to-world poses. `i_inv_j`: the request's P_i inverse(P_j), whose
    error grows with the distance from the origin."""
    pose_target: Literal["truth", "prior"] = "truth"
    """`prior`: only ask that poses stay within three standard deviations of what GPS says."""
    pose_normalise_m: float = 5.0
    """Translations count relative to their true length, or to this many metres where that is shorter."""
    box_weight: float = 0.0
    """Of the distance between points and the surfaces of the vehicle boxes they lie on."""

    def __post_init__(self) -> None:
        names = [name for name in self.__dataclass_fields__ if name.endswith("_weight")]
        for name in (*names, "min_labels"):
            require(getattr(self, name) >= 0, f"loss.{name}", "a number >= 0", getattr(self, name))
        for name in ("scale_distill_temperature", "pose_normalise_m"):
            require(getattr(self, name) > 0, f"loss.{name}", "a number > 0", getattr(self, name))
