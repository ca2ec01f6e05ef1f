"""Films as files: every frame can be read back, whatever codec this OpenCV has."""

import numpy as np
import pytest

from drivelab_shared import video_file
from drivelab_shared.errors import UserError
from drivelab_shared.video_file import count_frames, write_mp4


def test_the_second_codec_is_used_where_the_first_is_missing(tmp_path, monkeypatch):
    film = np.random.default_rng(0).integers(0, 256, (11, 32, 48, 3), dtype=np.uint8)
    monkeypatch.setattr(video_file, "CODECS", ("none", "mp4v"))
    write_mp4(tmp_path / "film.mp4", film, 12.5)
    assert count_frames(tmp_path / "film.mp4") == len(film)
    monkeypatch.setattr(video_file, "CODECS", ("none",))
    with pytest.raises(UserError, match=r"expected 11 frames to read back, got 0"):
        write_mp4(tmp_path / "other.mp4", film, 12.5)
