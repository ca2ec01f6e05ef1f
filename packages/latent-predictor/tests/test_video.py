"""The video importer: the right frames, the right part of them, and one clear line for everything else."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivelab_shared.errors import UserError
from latent_predictor.data.video import read_video


def write_video(path: Path, pictures: np.ndarray, rate_hz: float = 25.0) -> Path:
    """Pictures [T, height, width, 3], RGB, as mp4 or as avi, which keeps colours better."""
    codec = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, rate_hz, pictures.shape[2:0:-1])
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def brightening(num_frames: int, height: int = 120, width: int = 160) -> np.ndarray:
    """Frame t is grey 4 t throughout."""
    grey = (4 * np.arange(num_frames)).astype(np.uint8)
    return np.broadcast_to(grey[:, None, None, None], (num_frames, height, width, 3))


def mean_grey(frames: np.ndarray) -> np.ndarray:
    return frames.mean(axis=(1, 2, 3))


def test_every_second_frame_of_25_hz_makes_12_5_hz(tmp_path: Path) -> None:
    found = read_video(write_video(tmp_path / "a.avi", brightening(50)), 12.5, "traj3_64x64")
    assert found.frames.shape == (25, 64, 64, 3)
    np.testing.assert_allclose(mean_grey(found.frames), 8 * np.arange(25), atol=1.5)
    assert found.actions.shape == (25, 0)
    assert (found.labels == -1).all()
    assert (found.visual_labels == -1).all()
    assert (found.dt, found.name, found.notes) == (0.08, "traj3_64x64", ())


def test_a_rate_that_does_not_divide_takes_the_nearest_frames(tmp_path: Path) -> None:
    found = read_video(write_video(tmp_path / "a.avi", brightening(30), 30.0), 12.5)
    # At 0, 0.08, 0.16 ... s: frames 0, 2.4, 4.8, 7.2, 9.6, 12 ...
    nearest = np.rint(2.4 * np.arange(len(found)))
    assert len(found) == 13
    np.testing.assert_allclose(mean_grey(found.frames), 4 * nearest, atol=1.5)


def test_the_square_is_cut_from_the_lower_middle_in_rgb(tmp_path: Path) -> None:
    picture = np.zeros((200, 400, 3), np.uint8)
    # The lowest 70 % are rows 60 to 200, so the square is columns 130 to 270.
    picture[60:, 130:270] = (200, 120, 40)
    found = read_video(write_video(tmp_path / "a.mp4", np.stack([picture] * 4)), 12.5)
    inside = found.frames[:, 3:-3, 3:-3].astype(int)
    assert (np.abs(inside - (200, 120, 40)) < 12).all()
    picture[:60] = picture[:, :130] = picture[:, 270:] = 255
    bordered = read_video(write_video(tmp_path / "b.mp4", np.stack([picture] * 4)), 12.5)
    assert (np.abs(bordered.frames[:, 3:-3, 3:-3].astype(int) - (200, 120, 40)) < 12).all()


def test_a_narrow_video_keeps_its_full_width(tmp_path: Path) -> None:
    picture = np.zeros((400, 100, 3), np.uint8)
    picture[300:] = 200
    found = read_video(write_video(tmp_path / "a.mp4", np.stack([picture] * 4)), 12.5)
    assert found.frames[:, 3:-3, 3:-3].min() > 180


def test_a_video_cut_off_in_the_middle_is_read_as_far_as_it_goes_and_noted(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), dtype=np.uint8)
    path = write_video(tmp_path / "a.avi", noise)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found = read_video(path, 12.5)
    assert 5 <= len(found) <= 15
    assert found.notes
    assert found.notes[0].endswith("of 40 announced frames")


def hls_playlist(folder: Path) -> Path:
    write_video(folder / "secret.mp4", brightening(30))
    path = folder / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:8,\n{folder / 'secret.mp4'}\n#EXT-X-ENDLIST\n")
    return path


def concat_list(folder: Path) -> Path:
    write_video(folder / "secret.mp4", brightening(30))
    path = folder / "list.ffconcat"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    return path


def plain(name: str, content: bytes) -> object:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


REFUSED = {
    "missing": (lambda folder: folder / "none.mp4", "video: expected a file, got nothing there"),
    "folder": (lambda folder: folder, "video: expected a file, got a folder"),
    "address": (lambda folder: Path("http://127.0.0.1:9/a.mp4"), "video: expected a file"),
    "empty": (plain("a.mp4", b""), "expected a video that OpenCV can decode"),
    "text": (plain("a.mp4", b"no video at all\n" * 100), "expected a video that OpenCV can decode"),
    "picture": (
        plain("a_01.png", cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes()),
        "expected a video that OpenCV can decode",
    ),
    "playlist": (hls_playlist, "expected a video that OpenCV can decode"),
    "list of files": (concat_list, "expected a video that OpenCV can decode"),
    "one frame": (lambda folder: write_video(folder / "a.mp4", brightening(1)), "expected at least 2 frames .* got 1"),
    "too slow": (
        lambda folder: write_video(folder / "a.mp4", brightening(10), 5.0),
        "rate_hz: expected at most the video's 5, got 12.5",
    ),
    "too small": (
        lambda folder: write_video(folder / "a.mp4", brightening(10, 64, 64)),
        "expected 64x92 to 8192x8192 pixels, got 64x64",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_usable_video_is_one_line(tmp_path: Path, case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as caught:
        read_video(make(tmp_path), 12.5)
    assert "\n" not in str(caught.value)


def test_the_environment_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp")
    before = dict(os.environ)
    read_video(write_video(tmp_path / "a.mp4", brightening(10)), 12.5)
    assert dict(os.environ) == before


def test_a_real_dashcam_video_shows_its_road() -> None:
    real_data = os.environ.get("DRIVELAB_REAL_DATA")
    if not real_data:
        pytest.skip("DRIVELAB_REAL_DATA is not set")
    found = read_video(Path(real_data) / "udacity_lane_p1" / "test_videos" / "solidWhiteRight.mp4", 12.5)
    # 221 frames at 25 Hz, of which every second counts.
    assert len(found) == 111
    assert found.notes == ()
    # Sky above is bluer than the asphalt below, which is darker and grey.
    sky, road = found.frames[:, :8].mean(axis=(0, 1, 2)), found.frames[:, 50:].mean(axis=(0, 1, 2))
    assert sky[2] > sky[0] + 10
    assert road.mean() < sky.mean()
    assert np.ptp(road) < 20
