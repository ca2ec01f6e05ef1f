"""One page that shows a run to a person: tables, plots, pictures and what to conclude, in a single file.

report.html needs no script, no network and no second file, so it can be mailed, printed, or read on a phone. The same
report can be written as Markdown with its pictures in a folder beside it.

    report = Report("Lane world model", "quick, 3 seeds")
    report.conclude("With the lane loss, the car knows its lane **0.8 s** into its own imagination.")
    report.results(table)
    report.strip([("real", real), ("imagined", imagined)], ["0.08 s", "0.4 s"], "Ten real frames, then only actions")
    report.write(run_folder / "report.html")
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import numpy as np
from jaxtyping import UInt8

from drivelab_shared import markup
from drivelab_shared.files import replace_bytes, replace_text
from drivelab_shared.pictures import Picture, shown_width_px
from drivelab_shared.results import Table, provenance, sections

if TYPE_CHECKING:
    import matplotlib.figure

PAGE_WIDTH_PX = 1000
"""Room on a desktop page; the same number stands in report.css."""

STRIP_CELL_PX = 128
STRIP_LABEL_PX = 150

SavePicture = Callable[[Picture], str]
"""Stores a picture beside the Markdown file and returns the link to it."""


class _Block(Protocol):
    def html(self) -> str: ...

    def markdown(self, save: SavePicture) -> str: ...


class Report:
    """Blocks in the order in which they are added; the conclusions come first whenever they were added."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._subtitle = subtitle
        self._conclusions: list[str] = []
        self._blocks: list[_Block] = []

    def conclude(self, *sentences: str) -> None:
        """Add to the box at the top that says what to take from all this; `code` and **bold** are understood."""
        self._conclusions += sentences

    def heading(self, text: str) -> None:
        """Start a section."""
        self._blocks.append(_Heading(text, f"section-{len(self._blocks)}"))

    def text(self, text: str) -> None:
        """Paragraphs, separated by empty lines, and lists of lines that start with `- `."""
        self._blocks.append(_Text(text))

    def table(self, header: Sequence[str], body: Sequence[Sequence[str]], caption: str = "") -> None:
        """A table of text; figures with intervals, as `76.1 [71.4, 80.2]`, are set so that they can be compared."""
        self._blocks.append(_Table(header, body, caption))

    def results(self, table: Table) -> None:
        """A section with everything a measured table has: title, conclusions, figures, command, commit and machine."""
        self.heading(table.title)
        if table.conclusions:
            self._blocks.append(_Text("\n".join(f"- {' '.join(sentence.split())}" for sentence in table.conclusions)))
        for header, body in sections(table):
            self.table(header, body)
        self._blocks.append(_Origin(table.command, provenance(table)))

    def figure(self, figure: "matplotlib.figure.Figure", caption: str, alt: str) -> None:
        """A matplotlib figure; `alt` says what it shows to somebody who cannot see it."""
        frame = _drawn(figure)
        self._blocks.append(_Picture(Picture(frame[None], alt, min(frame.shape[1] // 2, PAGE_WIDTH_PX)), caption))

    def picture(self, frame: UInt8[np.ndarray, "height width 3"], caption: str, alt: str = "") -> None:
        """One RGB picture; small ones are magnified."""
        width_px = shown_width_px(frame.shape[1], PAGE_WIDTH_PX)
        self._blocks.append(_Picture(Picture(frame[None], alt or caption, width_px), caption))

    def strip(
        self,
        rows: Sequence[tuple[str, UInt8[np.ndarray, "columns height width 3"]]],
        column_labels: Sequence[str],
        caption: str,
    ) -> None:
        """Frames over time, one row per (label, frames), such as real above imagined.

        Raises:
            ValueError: a row does not have one frame per column label.
        """
        self._blocks.append(_strip(rows, column_labels, caption))

    def animation(
        self,
        frames: UInt8[np.ndarray, "frames height width 3"],
        fps: float,
        caption: str,
        labels: Sequence[str] = (),
    ) -> None:
        """A moving picture. `labels` stand above the equal parts of frames that were put side by side."""
        width_px = shown_width_px(frames.shape[2], PAGE_WIDTH_PX)
        self._blocks.append(_Picture(Picture(frames, caption, width_px, fps), caption, labels))

    def write(self, path: Path) -> None:
        """Write the whole report as one HTML file."""
        replace_text(path, self._html())

    def write_markdown(self, path: Path) -> None:
        """Write Markdown, and its pictures to the folder `<name>_pictures` beside it."""
        folder = path.with_name(f"{path.stem}_pictures")
        saved: list[str] = []

        def save(picture: Picture) -> str:
            saved.append(f"{len(saved) + 1:02}.{picture.suffix}")
            replace_bytes(folder / saved[-1], picture.encoded(picture.factor))
            return quote(f"{folder.name}/{saved[-1]}")

        parts = [f"# {markup.escape_markdown(self._title)}", markup.inline_markdown(self._subtitle)]
        if self._conclusions:
            parts.append("## What to conclude\n\n" + markup.bullets_markdown(self._conclusions))
        parts += [block.markdown(save) for block in self._blocks]
        replace_text(path, "\n\n".join(part for part in parts if part) + "\n")

    def _html(self) -> str:
        style = files("drivelab_shared").joinpath("report.css").read_text(encoding="utf-8")
        subtitle = f'<p class="subtitle">{markup.inline_html(self._subtitle)}</p>' if self._subtitle else ""
        body = "\n".join([self._conclusions_html(), self._contents_html(), *(block.html() for block in self._blocks)])
        # The policy forbids scripts and requests, should a name ever get past the escaping.
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(self._title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{html.escape(self._title)}</h1>
{subtitle}
{body}
</main>
</body>
</html>
"""

    def _conclusions_html(self) -> str:
        if not self._conclusions:
            return ""
        bullets = markup.bullets_html(self._conclusions)
        return f'<section class="conclusions"><h2>What to conclude</h2>{bullets}</section>'

    def _contents_html(self) -> str:
        headings = [block for block in self._blocks if isinstance(block, _Heading)]
        if len(headings) < 3:
            return ""
        links = (f'<a href="#{heading.anchor}">{html.escape(heading.text)}</a>' for heading in headings)
        return f'<nav aria-label="Contents">{" ".join(links)}</nav>'


@dataclass(frozen=True)
class _Heading:
    text: str
    anchor: str

    def html(self) -> str:
        return f'<h2 id="{self.anchor}">{html.escape(self.text)}</h2>'

    def markdown(self, save: SavePicture) -> str:
        return f"## {markup.escape_markdown(self.text)}"


@dataclass(frozen=True)
class _Text:
    text: str

    def html(self) -> str:
        return markup.text_html(self.text)

    def markdown(self, save: SavePicture) -> str:
        return markup.text_markdown(self.text)


@dataclass(frozen=True)
class _Origin:
    command: str
    line: str

    def html(self) -> str:
        command = f"<code>{html.escape(self.command)}</code>"
        return f'<p class="origin">{command}<br>{html.escape(self.line)}</p>'

    def markdown(self, save: SavePicture) -> str:
        return markup.origin_markdown(self.command, self.line)


@dataclass(frozen=True)
class _Table:
    header: Sequence[str]
    body: Sequence[Sequence[str]]
    caption: str

    def html(self) -> str:
        return _figure_html(f'<div class="scroll">{markup.table_html(self.header, self.body)}</div>', self.caption)

    def markdown(self, save: SavePicture) -> str:
        table = markup.table_markdown(self.header, self.body)
        return f"{markup.inline_markdown(self.caption)}\n\n{table}" if self.caption else table


@dataclass(frozen=True)
class _Picture:
    picture: Picture
    caption: str
    labels: Sequence[str] = ()

    def html(self) -> str:
        labels = "".join(f"<span>{html.escape(label)}</span>" for label in self.labels)
        above = f'<div class="labels" style="max-width: {self.picture.width_px}px">{labels}</div>' if labels else ""
        return _figure_html(above + self.picture.html(), self.caption)

    def markdown(self, save: SavePicture) -> str:
        labels = " · ".join(markup.escape_markdown(label) for label in self.labels)
        parts = [labels, _image_markdown(self.picture, save), markup.inline_markdown(self.caption)]
        return "\n\n".join(part for part in parts if part)


@dataclass(frozen=True)
class _Strip:
    """Pictures in labelled rows and columns, broken into bands that fit the page."""

    rows: Sequence[tuple[str, Sequence[Picture]]]
    column_labels: Sequence[str]
    caption: str

    def _bands(self) -> list[slice]:
        """Column ranges of nearly equal length."""
        num_columns = len(self.column_labels)
        cell_px = 4 + max(pictures[0].width_px for _, pictures in self.rows)
        fitting = max(1, (PAGE_WIDTH_PX - STRIP_LABEL_PX) // cell_px)
        num_bands = -(-num_columns // fitting)
        width = -(-num_columns // num_bands)
        return [slice(start, start + width) for start in range(0, num_columns, width)]

    def html(self) -> str:
        return _figure_html("".join(map(self._band_html, self._bands())), self.caption)

    def _band_html(self, band: slice) -> str:
        head = "".join(f'<th scope="col">{html.escape(label)}</th>' for label in self.column_labels[band])
        lines = [f'<div class="scroll"><table class="strip"><thead><tr><td></td>{head}</tr></thead><tbody>']
        for label, pictures in self.rows:
            cells = "".join(f"<td>{picture.html()}</td>" for picture in pictures[band])
            lines.append(f'<tr><th scope="row">{html.escape(label)}</th>{cells}</tr>')
        return "".join([*lines, "</tbody></table></div>"])

    def markdown(self, save: SavePicture) -> str:
        bands = [self._band_markdown(band, save) for band in self._bands()]
        return "\n\n".join([*bands, markup.inline_markdown(self.caption)])

    def _band_markdown(self, band: slice, save: SavePicture) -> str:
        head = ["", *map(markup.escape_markdown, self.column_labels[band])]
        lines = [head, ["---"] * len(head)]
        for label, pictures in self.rows:
            lines.append([markup.escape_markdown(label), *(_image_markdown(p, save) for p in pictures[band])])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _figure_html(content: str, caption: str) -> str:
    caption = f"<figcaption>{markup.inline_html(caption)}</figcaption>" if caption else ""
    return f"<figure>{content}{caption}</figure>"


def _image_markdown(picture: Picture, save: SavePicture) -> str:
    alt = html.escape(" ".join(picture.alt.split())).replace("|", "&#124;")
    return f'<img src="{save(picture)}" alt="{alt}" width="{picture.width_px}">'


def _strip(rows: Sequence[tuple[str, np.ndarray]], column_labels: Sequence[str], caption: str) -> _Strip:
    labelled = []
    for label, frames in rows:
        if len(frames) != len(column_labels):
            raise ValueError(f"{label}: expected a frame for each of {len(column_labels)} columns, got {len(frames)}")
        width_px = shown_width_px(frames.shape[2], STRIP_CELL_PX)
        pairs = zip(frames, column_labels, strict=True)
        labelled.append((label, [Picture(frame[None], f"{label}, {column}", width_px) for frame, column in pairs]))
    return _Strip(labelled, column_labels, caption)


def _drawn(figure: "matplotlib.figure.Figure") -> UInt8[np.ndarray, "height width 3"]:
    """The figure's pixels, two per pixel of the page so that text stays sharp."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(200)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
