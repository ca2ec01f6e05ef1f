from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drivelab_shared.errors import UserError
from v2x_teacher.features import cached_features, cached_image_tokens, cached_views, encode_views
from v2x_teacher.models.backbone import Backbone
from v2x_teacher.models.pooling import pool
from v2x_teacher.models.tiny_florence import tiny_florence
from v2x_teacher.pictures import read_picture, read_views

torch.set_num_threads(1)

PROMPTS = ["Turn left.", "Predict the path of the vehicle.", "Stop", "Stop", ""]


@dataclass
class FakePair:
    vehicle_image: Path
    infrastructure_image: Path | None


@pytest.fixture
def pairs(tmp_path):
    """Five pairs of PNG pictures; the last has no infrastructure camera."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(5):
        paths = [tmp_path / f"{side}{index}.png" for side in ("vehicle", "infrastructure")]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(path)
        found.append(FakePair(paths[0], paths[1] if index < 4 else None))
    return found


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def tiny():
    return tiny_florence(0, views="separate", height=32, picture_width=64)


@pytest.fixture(scope="module")
def views():
    return np.random.default_rng(1).integers(0, 256, (5, 2, 32, 64, 3), dtype=np.uint8)


def files(cache):
    return sorted(path.name for path in cache.iterdir())


# Pictures


def test_a_picture_is_averaged_over_the_area_of_each_new_pixel(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2, :3] = [[[0, 60, 250]], [[12, 60, 250]]]  # rows of 0 and 12: mean 6
    pixels[2:, 3:, 0] = [[10, 20, 30], [40, 50, 60]]  # mean 35
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    small = read_picture(tmp_path / "picture.png", 2, 2)
    assert small.tolist() == [[[6, 60, 250], [0, 0, 0]], [[0, 0, 0], [35, 0, 0]]]


def test_colours_come_in_the_order_red_green_blue(tmp_path):
    Image.new("RGB", (64, 32), (255, 0, 0)).save(tmp_path / "red.jpg", quality=95)
    red, green, blue = read_picture(tmp_path / "red.jpg", 32, 64).mean((0, 1))
    assert red > 250
    assert max(green, blue) < 5


def test_a_large_jpeg_is_nearly_what_a_full_decode_would_give(tmp_path):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)).resize((1920, 1080))
    coarse.save(tmp_path / "large.jpg", quality=90)
    with Image.open(tmp_path / "large.jpg") as picture:
        picture.draft("RGB", (256, 128))
        assert picture.size == (480, 270)  # the short cut that is tested here
    with Image.open(tmp_path / "large.jpg") as picture:
        full = np.asarray(picture.convert("RGB").resize((128, 64), Image.Resampling.BOX)).astype(int)
    difference = np.abs(read_picture(tmp_path / "large.jpg", 64, 128) - full)
    assert difference.mean() < 1


def test_grey_stands_for_a_camera_that_is_not_there(pairs):
    vehicle, infrastructure = read_views(pairs[4], 64, 128, "both")
    assert np.array_equal(vehicle, np.asarray(Image.open(pairs[4].vehicle_image)))
    assert (infrastructure == 127).all()


@pytest.mark.parametrize(
    ("cameras", "names"),
    [("both", ["vehicle", "infrastructure"]), ("vehicle", ["vehicle"]), ("infrastructure", ["infrastructure"])],
)
def test_views_are_the_chosen_cameras_the_vehicles_first(pairs, cache, tmp_path, cameras, names):
    views = cached_views(pairs, 64, 128, cache, cameras)
    assert views.shape == (5, len(names), 64, 128, 3)
    assert isinstance(views, np.memmap)
    for index in range(4):
        for camera, name in enumerate(names):
            expected = np.asarray(Image.open(tmp_path / f"{name}{index}.png"))
            assert np.array_equal(views[index, camera], expected)


def test_views_are_decoded_once_and_again_when_something_changes(pairs, cache, monkeypatch):
    first = cached_views(pairs, 32, 64, cache, "both")
    with monkeypatch.context() as patch:
        patch.setattr("v2x_teacher.features.read_views", None)  # nobody decodes now
        assert np.array_equal(cached_views(pairs, 32, 64, cache, "both"), first)
    cached_views(pairs, 64, 128, cache, "both")
    cached_views(pairs[::-1], 32, 64, cache, "both")
    Image.new("RGB", (128, 64)).save(pairs[2].infrastructure_image)
    changed = cached_views(pairs, 32, 64, cache, "both")
    assert len(files(cache)) == 4
    assert (changed[2, 1] == 0).all()
    assert np.array_equal(changed[[0, 1, 3, 4]], first[[0, 1, 3, 4]])


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "empty", "png header"])
def test_a_picture_that_cannot_be_read_is_named_and_leaves_no_cache(pairs, cache, damage):
    path = pairs[3].infrastructure_image
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        Image.new("RGB", (512, 512), "red").save(path, format="JPEG")
        path.write_bytes(path.read_bytes()[:-300])
    else:
        path.write_bytes(
            {"text": b"not a picture", "empty": b"", "png header": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"}[damage]
        )
    with pytest.raises(UserError) as caught:
        cached_views(pairs, 32, 64, cache, "both")
    message = str(caught.value)
    assert message.startswith(f"{path}: expected a picture, got: ")
    assert "\n" not in message
    assert not cache.exists() or files(cache) == []


# Features


def test_cached_features_are_those_of_a_live_pass(tiny, views, cache):
    with torch.no_grad():
        live = pool(tiny(tiny.prepare(views, PROMPTS)), "original", 2).numpy()
    cached = cached_features(tiny, views, PROMPTS, "original", cache, batch_size=2)
    assert isinstance(cached, np.memmap)
    assert cached.dtype == np.float32
    np.testing.assert_allclose(cached, live, atol=1e-5)
    np.testing.assert_array_equal(cached, encode_views(tiny, views, PROMPTS, "original", batch_size=2))


@pytest.mark.parametrize(("pooling", "vectors"), [("fixed", 1), ("mean", 2), ("flat", 6)])
def test_every_pooling_has_a_file_of_its_own(tiny, views, cache, pooling, vectors):
    cached_features(tiny, views, PROMPTS, "original", cache)
    assert cached_features(tiny, views, PROMPTS, pooling, cache).shape == (5, vectors, 128)
    assert len(files(cache)) == 2


def test_the_second_time_nothing_is_computed(tiny, views, cache, monkeypatch):
    first = cached_features(tiny, views, PROMPTS, "mean", cache)
    monkeypatch.setattr(Backbone, "prepare", None)
    assert np.array_equal(cached_features(tiny, views, PROMPTS, "mean", cache), first)


def change_a_prompt(tiny, views, prompts):
    return tiny, views, ["Go.", *prompts[1:]], {}


def change_a_pixel(tiny, views, prompts):
    views = views.copy()
    views[4, 1, 31, 63, 2] ^= 1
    return tiny, views, prompts, {}


def change_a_language_weight(tiny, views, prompts):
    with torch.no_grad():
        tiny.get_parameter(tiny.language_parameters()[-1])[0] += 1
    return tiny, views, prompts, {}


def change_a_vision_weight(tiny, views, prompts):
    with torch.no_grad():
        tiny.get_parameter(tiny.vision_parameters()[0])[0] += 1
    return tiny, views, prompts, {}


def change_the_mode(tiny, views, prompts):
    return tiny.train(), views, prompts, {}


def change_the_precision(tiny, views, prompts):
    return tiny, views, prompts, {"precision": "bf16"}


def change_the_arrangement(tiny, views, prompts):
    return tiny_florence(0, views="joined", height=32, picture_width=64), views, prompts, {}


CHANGES_OF_VISION = [
    change_a_pixel,
    change_a_vision_weight,
    change_the_mode,
    change_the_precision,
    change_the_arrangement,
]
CHANGES_OF_TEXT = [change_a_prompt, change_a_language_weight]


@pytest.mark.parametrize("change", CHANGES_OF_VISION + CHANGES_OF_TEXT)
def test_features_are_computed_anew_when_anything_changes(tiny, views, cache, change):
    before = np.array(cached_features(tiny, views, PROMPTS, "original", cache))
    tiny, views, prompts, options = change(tiny, views, PROMPTS)
    after = cached_features(tiny, views, prompts, "original", cache, **options)
    assert len(files(cache)) == 2
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("change", CHANGES_OF_VISION)
def test_image_tokens_are_computed_anew_when_what_they_depend_on_changes(tiny, views, cache, change):
    before = np.array(cached_image_tokens(tiny, views, cache))
    tiny, views, _, options = change(tiny, views, PROMPTS)
    after = cached_image_tokens(tiny, views, cache, **options)
    assert len(files(cache)) == 2
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("change", CHANGES_OF_TEXT)
def test_image_features_hold_while_the_language_half_learns(tiny, views, cache, change):
    tokens = cached_image_tokens(tiny, views, cache)
    features = cached_features(tiny, views, PROMPTS, "mean", cache)
    tiny, views, prompts, _ = change(tiny, views, PROMPTS)
    assert np.array_equal(cached_image_tokens(tiny, views, cache), tokens)
    assert np.array_equal(cached_features(tiny, views, prompts, "mean", cache), features)
    assert len(files(cache)) == 2


def test_the_language_half_on_cached_image_tokens_equals_the_whole(tiny, views, cache):
    tokens = torch.from_numpy(np.array(cached_image_tokens(tiny, views, cache)))
    inputs = tiny.prepare(views, PROMPTS)
    with torch.no_grad():
        whole = tiny(inputs)
        half = tiny.language(tokens, {name: inputs[name] for name in inputs if name != "pixel_values"})
    torch.testing.assert_close(half.tokens, whole.tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(half.decoder, whole.decoder, atol=1e-5, rtol=0)


def test_a_backbone_whose_halves_hang_together_has_no_image_tokens_to_cache(tiny, views, cache):
    tiny.can_split = False
    with pytest.raises(ValueError, match="expected one whose image tokens can be cached, got tiny"):
        cached_image_tokens(tiny, views, cache)


def test_dropout_of_train_mode_is_a_function_of_the_draw(tiny, views, cache):
    tiny.train()
    torch.manual_seed(0)
    first = np.array(cached_features(tiny, views, PROMPTS, "fixed", cache, draw=0))
    state = torch.get_rng_state()
    again = cached_features(tiny, views, PROMPTS, "fixed", cache / "again", draw=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(first, again)
    assert not np.allclose(first, cached_features(tiny, views, PROMPTS, "fixed", cache, draw=1), atol=1e-2)
    assert tiny.training


def test_half_precision_is_stored_in_two_bytes_and_close(tiny, views, cache):
    full = cached_features(tiny, views, PROMPTS, "mean", cache)
    half = cached_features(tiny, views, PROMPTS, "mean", cache, precision="bf16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, full, atol=0.05)


@pytest.mark.parametrize(("value", "precision"), [(1e5, "bf16"), (float("nan"), "fp32")])
def test_numbers_that_a_cache_cannot_hold_are_refused(tiny, views, cache, monkeypatch, value, precision):
    def see(pictures):
        tokens = torch.zeros(len(pictures), 3, 128)
        tokens[-1, 1, 1] = value  # of the last pair in the batch
        return tokens

    monkeypatch.setattr(tiny, "see", see)
    with pytest.raises(UserError, match=rf"features are finite, got '{precision}' \(pair 1\)"):
        cached_features(tiny, views, PROMPTS, "flat", cache, batch_size=2, precision=precision)
    assert files(cache) == []
