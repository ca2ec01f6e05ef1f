"""What the teacher says: asked once, kept, and harmless in a backward pass."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from opv2v_stage2.config import LabelSettings, ModelSettings
from opv2v_stage2.data.samples import Sample, coop_samples
from opv2v_stage2.data.store import open_store
from opv2v_stage2.data.tree import open_tree
from opv2v_stage2.losses.targets import TeacherTargets
from opv2v_stage2.models.compact import CompactModel
from opv2v_stage2.models.interface import Reconstruction
from opv2v_stage2.teacher import EXACT, CachedTeacher, Teacher, by_sample
from opv2v_stage2.views import make_views

CPU = torch.device("cpu")
NAMES = tuple(TeacherTargets.__dataclass_fields__)


@pytest.fixture(scope="module")
def store(tiny_data):
    return open_store(open_tree(tiny_data), "train", (32, 24), LabelSettings(), tiny_data.parent / "cache")


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = CompactModel(ModelSettings(height=24, width=32, channels=16, layers=2, heads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


class Asked(nn.Module):
    """A model that counts how often it is asked."""

    def __init__(self, model):
        super().__init__()
        self.model, self.count = model, 0

    def infer(self, views, **switches):
        self.count += 1
        return self.model.infer(views, **switches)


# --- answers


def test_kept_answers_are_the_live_ones(store, model, tmp_path):
    teacher = Teacher.frozen(model, "gps")
    kept = CachedTeacher(teacher, store, tmp_path, CPU).answers([3, 0])
    live = teacher.answers(store, [3, 0], CPU)
    for name in NAMES:
        ours, theirs = getattr(kept, name), getattr(live, name)
        assert ours.dtype == torch.float32
        is_exact = name in ("camera_pose", "scale")
        torch.testing.assert_close(ours, theirs, atol=1e-5 if is_exact else 1e-3, rtol=1e-5 if is_exact else 1e-3)


def test_an_answer_is_about_one_vehicle_alone(store, model):
    """Whoever drives beside it, and in the frame of its own first camera."""
    teacher = Teacher.frozen(model, "gps")
    both, one = teacher.answers(store, [2, 3], CPU), teacher.answers(store, [3], CPU)
    for name in NAMES:
        torch.testing.assert_close(getattr(both, name)[1:], getattr(one, name), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both.camera_pose[:, 0], torch.eye(4).expand(2, 4, 4), atol=1e-6, rtol=0)
    assert both.scale.shape == (2, 1)


def test_an_answer_is_what_the_model_infers_unmasked(store, model):
    sample = Sample(store.keys[2], (2,), 0.0)
    seen = Reconstruction.of(model.infer(make_views(store, [sample], "rig", EXACT, (), CPU), apply_mask=False))
    answer = Teacher.frozen(model, "rig").answers(store, [2], CPU)
    torch.testing.assert_close(answer.depth, seen.depth)
    torch.testing.assert_close(answer.validity, seen.validity_logits.sigmoid())
    assert (answer.depth > 0).all()


def test_a_privileged_teacher_sees_the_labels(store, model):
    blind = Teacher.frozen(model, "posed_sfm").answers(store, [0], CPU)
    seeing = Teacher.frozen(model, "posed_sfm", sees_lidar=True).answers(store, [0], CPU)
    assert (blind.depth - seeing.depth).abs().max() > 1e-3


# --- the frozen copy


def test_a_teacher_does_not_learn_with_the_student(store, model):
    teacher = Teacher.frozen(model, "gps")
    before = teacher.answers(store, [0], CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    torch.testing.assert_close(teacher.answers(store, [0], CPU).depth, before.depth, atol=0, rtol=0)
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert not teacher.model.train().training


def test_answers_of_a_model_in_inference_mode_can_be_multiplied_in_a_backward_pass(store, model):
    """MapAnything's are inference tensors, which no backward pass may save, detached or not."""

    class Inferring(nn.Module):
        def infer(self, views, **switches):
            with torch.inference_mode():
                return model.infer(views, **switches)

    said = Teacher(Inferring(), "gps").answers(store, [0], CPU)
    for name in NAMES:
        answer = getattr(said, name)
        student = torch.ones_like(answer, requires_grad=True)
        (student * answer).sum().backward()
        torch.testing.assert_close(student.grad, answer)


# --- the cache


def test_a_teacher_is_asked_once(store, model, tmp_path):
    asked = Asked(model)
    teacher = Teacher(asked, "gps")
    first = CachedTeacher(teacher, store, tmp_path, CPU)
    count = asked.count
    again = CachedTeacher(teacher, store, tmp_path, CPU)
    assert asked.count == count == -(-len(store) // 8)
    assert torch.equal(first.answers([1]).depth, again.answers([1]).depth)


def test_what_answers_depend_on_is_in_their_key(store, model, tmp_path):
    def remembered() -> int:
        return len(list(tmp_path.glob("teacher-*")))

    CachedTeacher(Teacher.frozen(model, "gps"), store, tmp_path, CPU)
    changed = Teacher.frozen(model, "gps")
    with torch.no_grad():
        next(changed.model.parameters()).view(-1)[0] += 1e-3
    others = [
        (changed, store),
        (Teacher.frozen(model, "rig"), store),
        (Teacher.frozen(model, "gps", sees_lidar=True), store),
        (Teacher.frozen(model, "gps"), replace(store, fingerprint="other rows")),
    ]
    for count, (teacher, rows) in enumerate(others, start=2):
        CachedTeacher(teacher, rows, tmp_path, CPU)
        assert remembered() == count


def test_a_cache_that_could_not_be_finished_is_not_taken_for_one(store, model, tmp_path):
    class Failing(Asked):
        def infer(self, views, **switches):
            if self.count:
                raise KeyboardInterrupt
            return super().infer(views, **switches)

    with pytest.raises(KeyboardInterrupt):
        CachedTeacher(Teacher(Failing(model), "gps"), store, tmp_path, CPU)
    teacher = Teacher(Asked(model), "gps")
    CachedTeacher(teacher, store, tmp_path, CPU)
    assert teacher.model.count == 2


def test_asking_changes_no_random_number(store, model, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    CachedTeacher(Teacher.frozen(model, "gps"), store, tmp_path, CPU)
    assert torch.equal(torch.rand(3), expected)


# --- samples of several vehicles


def test_answers_are_put_in_the_order_of_the_vehicles_of_each_sample(store, model, tmp_path):
    samples = coop_samples(store, 2)[:3]
    kept = CachedTeacher(Teacher.frozen(model, "gps"), store, tmp_path, CPU)
    joined = by_sample(kept.answers([row for sample in samples for row in sample.rows]), samples)
    assert joined.depth.shape == (3, 8, 24, 32)
    assert joined.scale.shape == (3, 2)
    for number, sample in enumerate(samples):
        for agent, row in enumerate(sample.rows):
            alone, own = kept.answers([row]), slice(4 * agent, 4 * agent + 4)
            for name in NAMES:
                part = slice(agent, agent + 1) if name == "scale" else own
                assert torch.equal(getattr(joined, name)[number, part], getattr(alone, name)[0]), name
