"""A prediction as pictures: a strip to look at in rest and a film of real, reconstructed and imagined in time."""

from functools import cache

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from latent_predictor.data.trajectory import SIZE, UNKNOWN
from latent_predictor.predict.prediction import Prediction, lane_name

INK, FAINT, PAPER, SHADE = "#222222", "#777777", "#ffffff", "#eeeeee"
ORANGE, BLUE = "#D55E00", "#0072B2"
"""Told apart by colour-blind readers (Okabe and Ito, 2008). Orange marks what is imagined."""
GAP = 16

Film = UInt8[np.ndarray, "time height width 3"]


def draw_strip(prediction: Prediction, factor: int = 3, num_imagined: int = 7) -> UInt8[np.ndarray, "height width 3"]:
    """Rows: real, reconstructed, imagined. Columns: the last watched frame and frames at even distances after it."""
    imagined = np.linspace(0, prediction.steps - 1, min(num_imagined, prediction.steps))
    columns = [prediction.context - 1, *(prediction.context + round(step) for step in imagined)]
    side, left, top = SIZE * factor, 170, 92
    rows = [top + row * (side + 34) for row in range(3)]
    # A strip of few columns still has room for its title.
    width, height = max(left + len(columns) * (side + GAP), 900), rows[2] + side + 108
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    _write(draw, (GAP, 14), prediction.title, 20)
    _write(draw, (GAP, height - 30), _caption(prediction), 15, FAINT)
    for y, (heading, note) in zip(rows, _row_labels(prediction), strict=True):
        _write(draw, (GAP, y), heading, 18)
        _write(draw, (GAP, y + 24), note, 14, FAINT)
    for column, frame in enumerate(columns):
        x = left + column * (side + GAP)
        _write(draw, (x, top - 30), _time(prediction, frame), 18)
        _draw_frame(image, prediction, frame, [(x, y) for y in rows], factor)
        _write(draw, (x, rows[0] + side + 5), f"lane: {lane_name(prediction.labels[frame])}", 16, FAINT)
        for line, (text, colour) in enumerate(_readings(prediction, frame)):
            _write(draw, (x, rows[2] + side + 7 + 20 * line), text, 16, colour)
    start = left + side + GAP // 2
    draw.line((start, top - 34, start, rows[2] + side + 66), fill=ORANGE, width=2)
    return np.asarray(image)


def draw_film(prediction: Prediction, factor: int = 5) -> Film:
    """All frames in time, real | reconstructed | imagined. The third panel is empty until imagination starts."""
    return np.stack([_draw_moment(prediction, frame, factor) for frame in range(len(prediction.real))])


def _draw_moment(prediction: Prediction, frame: int, factor: int) -> UInt8[np.ndarray, "height width 3"]:
    side, top = SIZE * factor, 72
    width, below = 3 * side + 4 * GAP, top + side + 10
    image = Image.new("RGB", (width, below + 90), PAPER)
    draw = ImageDraw.Draw(image)
    panels = [GAP + panel * (side + GAP) for panel in range(3)]
    for x, (heading, note) in zip(panels, _row_labels(prediction), strict=True):
        _write(draw, (x, 12), heading, 22)
        _write(draw, (x, 42), note, 15, FAINT)
    _draw_frame(image, prediction, frame, [(x, top) for x in panels], factor)
    _write(draw, (panels[0], below), f"lane: {lane_name(prediction.labels[frame])}", 18)
    for text, colour in _readings(prediction, frame)[-1:]:
        _write(draw, (panels[2], below), text, 18, colour)
    _draw_clock(draw, prediction, frame, (GAP, below + 44, width - GAP))
    return np.asarray(image)


def _draw_frame(
    image: Image.Image, prediction: Prediction, frame: int, places: list[tuple[int, int]], factor: int
) -> None:
    """Real, reconstructed and imagined picture of one moment, at the places of their upper left corners."""
    draw, side, (x, y) = ImageDraw.Draw(image), SIZE * factor, places[2]
    pictures = [prediction.real[frame], prediction.reconstructed[frame]]
    if frame >= prediction.context:
        pictures.append(prediction.imagined[frame - prediction.context])
        draw.rectangle((x - 4, y - 4, x + side + 3, y + side + 3), fill=ORANGE)
    else:
        draw.rectangle((x, y, x + side - 1, y + side - 1), fill=SHADE)
        watching = f"watching: {frame + 1} of {prediction.context}\nreal frames"
        draw.text((x + side // 2, y + side // 2), watching, FAINT, _font(17), anchor="mm", align="center")
    for place, picture in zip(places, pictures, strict=False):
        enlarged = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
        image.paste(enlarged, place)


def _draw_clock(draw: ImageDraw.ImageDraw, prediction: Prediction, frame: int, place: tuple[int, int, int]) -> None:
    """The time, and a bar that is grey while watching and orange while imagining. `place` is left, top, right."""
    left, y, right = place
    bar = left + 110
    per_frame = (right - bar) / len(prediction.real)
    split, head = (round(bar + per_frame * frames) for frames in (prediction.context, frame + 1))
    draw.rectangle((bar, y, right, y + 14), fill=SHADE)
    draw.rectangle((bar, y, min(head, split), y + 14), fill=FAINT)
    if head > split:
        draw.rectangle((split, y, head, y + 14), fill=ORANGE)
    draw.line((split, y - 6, split, y + 20), fill=ORANGE, width=3)
    _write(draw, (split + 6, y + 16), "imagination starts", 14, ORANGE)
    _write(draw, (left, y - 4), _time(prediction, frame), 20)


def _row_labels(prediction: Prediction) -> tuple[tuple[str, str], ...]:
    """Heading and note of real, reconstructed and imagined."""
    drive = "what the drive saw" if prediction.is_recorded else "the recorded steering"
    how = "with the same actions" if prediction.is_recorded else f"steering held {prediction.steering}"
    return ("real", drive), ("reconstructed", "real, through the VAE"), ("imagined", how)


def _readings(prediction: Prediction, frame: int) -> list[tuple[str, str]]:
    """A line per judge for an imagined frame: blue where it agrees with the drive, orange where not."""
    true = prediction.labels[frame]
    is_comparable = prediction.is_recorded and true != UNKNOWN
    lines = []
    for judge, lanes in prediction.lanes.items() if frame >= prediction.context else ():
        read = lanes[frame - prediction.context]
        colour = (BLUE if read == true else ORANGE) if is_comparable else INK
        lines.append((f"judge {judge}: {lane_name(read)}", colour))
    return lines


def _caption(prediction: Prediction) -> str:
    readers = "Judges a and b read the lane from the imagined latents, c from the pictures"
    if not prediction.is_recorded:
        return f"{readers}. The real rows show what happened with the recorded steering, not what should have."
    return f"{readers}; blue agrees with the drive, orange differs."


def _time(prediction: Prediction, frame: int) -> str:
    seconds = (frame - prediction.context + 1) * prediction.dt
    return f"{seconds:+.2f} s" if seconds else "0.00 s"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: str = INK) -> None:
    draw.text(place, text, fill=colour, font=_font(size))
