import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from drivelab_shared.plots import Line, confusion_plot, heat_map, line_plot
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table, provenance
from drivelab_shared.stats import Interval


class Page(HTMLParser):
    """The elements of a page, its text, and the pictures it contains."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self):
        return " ".join(" ".join(self.words).split())

    def pictures(self):
        for image in self.named("img"):
            yield Image.open(io.BytesIO(base64.b64decode(image["src"].split(",", 1)[1])))


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, size=(5, 64, 64, 3), dtype=np.uint8)


def written(report, tmp_path):
    report.write(tmp_path / "report.html")
    return Page(tmp_path / "report.html")


def test_everything_is_in_one_file_that_asks_for_nothing(tmp_path, frames):
    report = Report("Lanes")
    report.picture(frames[0], "A frame")
    report.animation(frames, 12.5, "Moving")
    report.strip([("real", frames)], list("abcde"), "Strip")
    report.figure(heat_map(np.eye(2), ["a", "b"], ["c", "d"]), "Map", "An identity matrix")
    page = written(report, tmp_path)
    assert len(page.named("img")) == 8
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.named("img"))
    assert page.named("script") == page.named("link") == []
    assert "url(" not in (tmp_path / "report.html").read_text()


def test_a_picture_keeps_every_pixel_and_is_magnified_by_the_page(tmp_path, frames):
    report = Report("Lanes")
    report.picture(frames[0], "A frame")
    page = written(report, tmp_path)
    np.testing.assert_array_equal(np.asarray(next(page.pictures())), frames[0])
    (image,) = page.named("img")
    assert (image["class"], image["width"], image["height"]) == ("pixels", "256", "256")


def test_a_large_picture_is_shrunk_to_the_page_without_squares(tmp_path):
    report = Report("Lanes")
    report.picture(np.zeros((600, 1600, 3), np.uint8), "Large")
    (image,) = written(report, tmp_path).named("img")
    assert (image.get("class"), image["width"], image["height"]) == (None, "1000", "375")


def test_an_animation_has_all_frames_at_their_speed_and_never_ends(tmp_path, frames):
    report = Report("Lanes")
    report.animation(frames, 12.5, "Moving", labels=["real"])
    (picture,) = written(report, tmp_path).pictures()
    assert picture.format == "GIF"
    assert (picture.n_frames, picture.info["duration"], picture.info["loop"]) == (5, 80, 0)


def test_a_strip_names_its_rows_and_columns_in_text(tmp_path, frames):
    report = Report("Lanes")
    report.strip([("real", frames[:2]), ("imagined", frames[2:4])], ["0.08 s", "0.16 s"], "Strip")
    page = written(report, tmp_path)
    expected = ["real, 0.08 s", "real, 0.16 s", "imagined, 0.08 s", "imagined, 0.16 s"]
    assert [image["alt"] for image in page.named("img")] == expected
    np.testing.assert_array_equal([np.asarray(picture) for picture in page.pictures()], frames[:4])
    assert "0.08 s 0.16 s real imagined Strip" in page.text()


def test_a_long_strip_is_broken_into_bands_of_equal_length(tmp_path, frames):
    report = Report("Lanes")
    report.strip([("real", np.repeat(frames, 4, axis=0))], [str(i) for i in range(20)], "Strip")
    page = written(report, tmp_path)
    assert len(page.named("table")) == 4
    assert " ".join(str(i) for i in range(5)) + " real 5 6" in page.text()


def test_a_strip_with_too_few_frames_is_refused(frames):
    with pytest.raises(ValueError, match="imagined: expected a frame for each of 6 columns, got 5"):
        Report("Lanes").strip([("imagined", frames)], list("abcdef"), "Strip")


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 \[1, 4, 4, 3\]"),
        (np.zeros((3, 4, 4), np.uint8), r"uint8 \[1, 3, 4, 4\]"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[1, 4, 4\]"),
    ],
)
def test_a_picture_of_another_kind_is_refused(bad, found):
    with pytest.raises(ValueError, match=rf"frames: expected uint8 .*, got {found}"):
        Report("Lanes").picture(bad, "Bad")


def test_a_table_sets_figures_apart_from_their_intervals(tmp_path):
    report = Report("Lanes")
    report.table(["row", "accuracy", "note"], [["ours", "76.1 [71.4, 80.2]", "fine"], ["theirs", "–", ""]], "Caption")
    page = written(report, tmp_path)
    assert page.text().endswith("row accuracy note ours 76.1 [71.4, 80.2] fine theirs – Caption")
    assert [cell.get("class") for cell in page.named("td")] == ["number", None, "number", "number"]
    assert [cell.get("class") for cell in page.named("th")][:3] == [None, "number", None]


def test_a_measured_table_shows_its_conclusions_figures_and_origin(tmp_path):
    rows = [Row("ours", "accuracy [%]", 76.1, at=h, low=71.4, high=80.2, n=14) for h in (1, 10)]
    table = Table("h", "By horizon", "evaluate --seed 0", rows, [0], ["It **works**."], "1a2b3c4", "two cores")
    report = Report("Lanes")
    report.results(table)
    text = written(report, tmp_path).text()
    assert text.endswith(
        "By horizon It works . accuracy [%] 1 10 ours 76.1 [71.4, 80.2] 76.1 [71.4, 80.2] "
        f"evaluate --seed 0 {provenance(table)}"
    )


def test_conclusions_stand_at_the_top_whenever_they_were_added(tmp_path):
    report = Report("Lanes")
    report.text("Body")
    report.conclude("First.", "Second.")
    text = written(report, tmp_path).text()
    assert text.index("What to conclude First. Second.") < text.index("Body")


def test_sections_are_listed_where_there_are_several(tmp_path):
    report = Report("Lanes")
    for name in ("One", "Two", "Three"):
        report.heading(name)
    page = written(report, tmp_path)
    assert [link["href"][1:] for link in page.named("a")] == [heading["id"] for heading in page.named("h2")]


HOSTILE = '</title></style><script>alert(1)</script><img src=x onerror="alert(2)"> `</code><b>` **<i>**'


def test_hostile_names_are_shown_and_not_obeyed(tmp_path, frames):
    report = Report(HOSTILE, HOSTILE)
    report.conclude(HOSTILE)
    for _ in range(3):
        report.heading(HOSTILE)
    report.text(f"{HOSTILE}\n\n- {HOSTILE}")
    report.table([HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]], HOSTILE)
    report.strip([(HOSTILE, frames)], [HOSTILE] * 5, HOSTILE)
    report.animation(frames, 10, HOSTILE, labels=[HOSTILE])
    report.results(Table("t", HOSTILE, HOSTILE, [Row(HOSTILE, HOSTILE, 1)], [], [HOSTILE], machine=HOSTILE))
    page = written(report, tmp_path)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "b", "i"}
    assert all(image["src"].startswith("data:image/") and "onerror" not in image for image in page.named("img"))
    assert page.text().count("<script>alert(1)</script>") >= 15
    report.write_markdown(tmp_path / "report.md")
    assert "<script" not in (tmp_path / "report.md").read_text().replace("`" + HOSTILE + "`", "").split("```sh")[0]


def test_a_name_that_is_not_text_does_not_lose_the_report(tmp_path):
    page = written(Report("traj\udcff.npz"), tmp_path)
    assert "traj?.npz" in page.text()


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, frames, monkeypatch):
    written(Report("Old"), tmp_path)
    report = Report("New")
    report.picture(frames[0], "A frame")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(tmp_path / "report.html")
    assert "Old" in Page(tmp_path / "report.html").text()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_same_report_gives_the_same_bytes(tmp_path, frames):
    contents = []
    for _ in range(2):
        report = Report("Lanes")
        report.animation(frames, 10, "Moving")
        report.figure(heat_map(np.eye(2), ["a", "b"], ["c", "d"]), "Map", "An identity matrix")
        report.write(tmp_path / "report.html")
        contents.append((tmp_path / "report.html").read_bytes())
    assert contents[0] == contents[1]


def test_markdown_has_its_pictures_magnified_in_a_folder_beside_it(tmp_path, frames):
    report = Report("Lanes")
    report.strip([("re|al", frames[:2])], ["a", "b"], "Strip")
    report.animation(frames, 10, "Moving")
    report.write_markdown(tmp_path / "my report.md")
    lines = (tmp_path / "my report.md").read_text().splitlines()
    assert lines[2:5] == [
        "|  | a | b |",
        "| --- | --- | --- |",
        r'| re\|al | <img src="my%20report_pictures/01.png" alt="re&#124;al, a" width="128"> '
        '| <img src="my%20report_pictures/02.png" alt="re&#124;al, b" width="128"> |',
    ]
    with Image.open(tmp_path / "my report_pictures" / "01.png") as first:
        np.testing.assert_array_equal(np.asarray(first), frames[0].repeat(2, axis=0).repeat(2, axis=1))
    with Image.open(tmp_path / "my report_pictures" / "03.gif") as moving:
        assert moving.n_frames == 5


def test_markdown_keeps_text_and_escapes_the_rest(tmp_path):
    report = Report("Lanes")
    report.conclude("It **works** with `a|b`.")
    report.text("# not a heading, 2 * 3 <b>\nsame line\n\n- one\n- two")
    report.write_markdown(tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text().splitlines() == [
        "# Lanes",
        "",
        "## What to conclude",
        "",
        "- It **works** with `a|b`.",
        "",
        r"\# not a heading, 2 \* 3 &lt;b> same line",
        "",
        "- one",
        "- two",
    ]


def test_a_line_plot_draws_every_line_its_interval_and_its_units():
    lines = [
        Line("baseline", [1, 10], [90, 60], is_baseline=True),
        Line("cost in $ and $", [1, 10], [80, 70], low=[75, 66], high=[85, 74]),
        Line("unfinished", [1, 10], [50, np.nan]),
    ]
    figure = line_plot(lines, "horizon [steps]", "accuracy [%]", y_range=(0, 100), x_ticks=[1, 10])
    (axes,) = figure.axes
    assert len(axes.lines) == 3
    assert len(axes.collections) == 1
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_ylim()) == ("horizon [steps]", "accuracy [%]", (0, 100))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [r"cost in \$ and \$", "baseline", "unfinished"]


def test_measured_figures_are_a_line_with_a_band_where_all_of_them_have_an_interval():
    rows = [Row("ours", "accuracy [%]", 90, low=88, high=92), Row("ours", "accuracy [%]", 60, low=55, high=66)]
    line = Line.of("ours", [1, 10], rows, is_baseline=True)
    assert (line.y, line.low, line.high, line.is_baseline) == ([90, 60], [88, 55], [92, 66], True)
    alone = Line.of("ours", [1, 10], [rows[0], Row("ours", "accuracy [%]", 60)])
    assert (alone.y, alone.low, alone.high) == ([90, 60], None, None)
    assert Line.of("ours", [1], [Interval(0.5, 0.4, 0.7, 3)]).low == [0.4]


def test_baselines_are_dashed_and_no_two_lines_look_the_same():
    lines = [Line(str(i), [0, 1], [i, i], is_baseline=i < 5) for i in range(11)]
    drawn = line_plot(lines, "x", "y").axes[0].lines
    assert all(line.get_linestyle() == "-" for line in drawn[5:])
    assert all(line.get_linestyle() != "-" for line in drawn[:5])
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in drawn}) == 11


def test_a_heat_map_writes_every_number_and_leaves_nan_empty():
    axes = heat_map(np.array([[1.25, np.nan], [-0.001, 2.0]]), ["a", "b"], ["c", "d"], decimals=2).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.25", "", "0.00", "2.00"]


def test_confusion_matrices_show_shares_of_the_true_class():
    figure = confusion_plot({"1 step": np.array([[3, 1], [0, 0]]), "10 steps": np.eye(2, dtype=int)}, ["left", "right"])
    assert [axes.get_title() for axes in figure.axes] == ["1 step", "10 steps"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["75 %\n3", "25 %\n1", "0 %\n0", "0 %\n0"]
