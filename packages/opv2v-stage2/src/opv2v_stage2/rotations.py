"""Rotations and rigid poses in torch: batched, differentiable, with finite gradients where textbook forms have none.

Quaternions are xyzw. A pose `a_from_b` is the matrix that takes points of frame b to frame a.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST_SUM = 1e-6
"""Of two singular values in `chordal_mean`: below it rotations point in so many directions that they have no mean."""


def matrix_of_pose(quats: Float[Tensor, "*batch 4"], trans: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4 4"]:
    """The rigid matrix of a quaternion of any length above 0 and a translation."""
    x, y, z, w = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return rigid(torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2), trans)


def rigid(rotation: Float[Tensor, "*batch 3 3"], trans: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4 4"]:
    """The 4 x 4 matrix of a rotation and a translation."""
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=rotation.dtype, device=rotation.device)
    top = torch.cat([rotation, trans[..., None]], dim=-1)
    return torch.cat([top, bottom.expand(*top.shape[:-2], 1, 4)], dim=-2)


def pose_of_matrix(
    matrix: Float[Tensor, "*batch 4 4"],
) -> tuple[Float[Tensor, "*batch 4"], Float[Tensor, "*batch 3"]]:
    """Unit quaternion with w >= 0, and translation.

    Rows of `4 q q^T` are linear in the matrix; the one with the largest diagonal is never short, at any angle.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrix[..., :3, :3].unbind(-2))
    rows = [
        [1 + a - e - i, b + d, c + g, h - f],
        [b + d, 1 + e - a - i, f + h, c - g],
        [c + g, f + h, 1 + i - a - e, d - b],
        [h - f, c - g, d - b, 1 + a + e + i],
    ]
    products = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    longest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = products.gather(-2, longest[..., None, None].expand(*longest.shape, 1, 4))[..., 0, :]
    row = torch.where(row[..., 3:] < 0, -row, row)
    return torch.nn.functional.normalize(row, dim=-1), matrix[..., :3, 3]


def inverse_rigid(a_from_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """b_from_a."""
    transposed = a_from_b[..., :3, :3].mT
    return rigid(transposed, -(transposed @ a_from_b[..., :3, 3:])[..., 0])


def relative_pose(
    world_from_i: Float[Tensor, "*batch_i 4 4"], world_from_j: Float[Tensor, "*batch_j 4 4"]
) -> Float[Tensor, "*batch 4 4"]:
    """i_from_j, which does not depend on the world. Batches broadcast."""
    return inverse_rigid(world_from_i) @ world_from_j


def geodesic_angle(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Radians from 0 to pi. By atan2, as acos has an infinite gradient at no rotation; there and at pi it is 0 here."""
    sine = 0.5 * torch.linalg.vector_norm(_vee(rotation - rotation.mT), dim=-1)
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(sine, 0.5 * (trace - 1))


def rotation_from_vector(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation around a vector by its length in radians."""
    angle = torch.linalg.vector_norm(vector, dim=-1)[..., None, None]
    cross = _hat(vector)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    once, twice = torch.sinc(angle / math.pi), 0.5 * torch.sinc(angle / (2 * math.pi)).square()
    return identity + once * cross + twice * (cross @ cross)


def yaw_matrix(yaw: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation about z by radians."""
    cos, sin, zero, one = yaw.cos(), yaw.sin(), torch.zeros_like(yaw), torch.ones_like(yaw)
    flat = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1)
    return flat.unflatten(-1, (3, 3))


def chordal_mean(
    rotations: Float[Tensor, "*batch count 3 3"], weights: Float[Tensor, "*batch count"] | None = None
) -> Float[Tensor, "*batch 3 3"]:
    """The rotation with the least sum of squared chordal distances.

    Its gradient comes from one Newton step at the solution, not through the SVD: that one divides by differences of
    singular values, which are all equal where the rotations agree.
    """
    if weights is None:
        weights = torch.ones_like(rotations[..., 0, 0])
    weights = weights / weights.sum(-1, keepdim=True)
    mean = (weights[..., None, None] * rotations).sum(-3)
    with torch.no_grad():
        left, values, right_t = torch.linalg.svd(mean)
        signs = torch.ones_like(values)
        signs[..., 2] = torch.linalg.det(left @ right_t).sign()
        nearest = left @ (signs[..., None] * right_t)
        signed = signs * values
        sums = (signed.sum(-1, keepdim=True) - signed).clamp(min=SMALLEST_SUM)
        inverse = right_t.mT @ (right_t / sums[..., None])
    turn = nearest.mT @ mean
    vector = (inverse @ _vee(turn - turn.mT)[..., None])[..., 0]
    return nearest @ rotation_from_vector(vector)


def _hat(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrix of the cross product with a vector."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def _vee(skew: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """The vector of a skew-symmetric matrix."""
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)
