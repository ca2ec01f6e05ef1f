import json
import subprocess
import sys

import numpy as np
import pytest

from drivelab_shared import origin
from drivelab_shared.results import (
    Row,
    Table,
    bar_conclusions,
    markdown,
    pivot,
    plain,
    provenance,
    read,
    render_readme,
    render_results,
    sections,
    write,
)


def table(rows, **fields):
    usual = {"table": "horizons", "title": "By horizon", "command": "evaluate", "seeds": [0]}
    return Table(rows=rows, **usual | fields)


ACCURACY = [
    Row("real", "accuracy [%]", 89.4, at=1, low=87.0, high=91.2, n=14),
    Row("real", "accuracy [%]", 88.8, at=10, low=86.0, high=91.0, n=14),
    Row("copy last", "accuracy [%]", 92.2, at=1, low=90.14, high=94.26, n=14),
    Row("copy last", "accuracy [%]", 65.6, at=10, n=14),
]


def test_written_tables_read_back_equal(tmp_path):
    tables = [
        table(ACCURACY, commit="1a2b3c4", machine="a machine", conclusions=["Lanes survive – mostly."]),
        table([Row("ours", "ratio", 1 / 3, at="BEV"), Row("ours", "size", 12288)], seeds=[]),
    ]
    write(tmp_path / "run" / "results.json", tables)
    assert read(tmp_path / "run" / "results.json") == tables


def test_numpy_numbers_are_stored_as_json_and_undefined_ones_as_null(tmp_path):
    undefined = Row("a", "recall", np.float32(np.nan), at=np.int64(5), low=np.nan, high=np.nan, n=np.int64(1))
    write(tmp_path / "r.json", [table([undefined, Row("b", "recall", np.float32(0.5))])])
    rows = json.loads((tmp_path / "r.json").read_text())["tables"][0]["rows"]
    assert rows[0] == {"row": "a", "metric": "recall", "value": None, "at": 5, "low": None, "high": None, "n": 1}
    assert rows[1]["value"] == 0.5


def damaged(change):
    """results.json of one table after `change`, which edits the parsed document."""
    document = {
        "tables": [
            {
                "table": "t",
                "title": "T",
                "command": "c",
                "seeds": [0],
                "rows": [{"row": "a", "metric": "m", "value": 1.5}, {"row": "b", "metric": "m", "value": 2}],
                "conclusions": [],
            }
        ]
    }
    change(document)
    return json.dumps(document)


def row(document):
    return document["tables"][0]["rows"][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: row(d).update(vaule=1), r"tables\[0\].rows\[1\]: expected the keys row, metric, .*, got 'vaule'"),
        (lambda d: row(d).update(value="2"), r"rows\[1\]: value: expected a number or null, got '2'"),
        (lambda d: row(d).update(value=True), r"rows\[1\]: value: expected a number or null, got True"),
        (lambda d: row(d).update(n=1.5), r"rows\[1\]: n: expected a whole number or null, got 1.5"),
        (lambda d: row(d).update(value=float("nan")), "expected a number or null, got NaN"),
        (lambda d: row(d).update(low=1.0), "low, high: expected both or neither, got 1.0 and None"),
        (lambda d: row(d).pop("metric"), r"rows\[1\]: expected a key 'metric', got none"),
        (lambda d: row(d).update(row="a"), r"one figure per \(row, metric, at\), got several for \('a', 'm', None\)"),
        (lambda d: d["tables"][0].update(seeds=["0"]), r"tables\[0\]: seeds\[0\]: expected a whole number, got '0'"),
        (lambda d: d["tables"][0].update(rows={}), r"tables\[0\]: rows: expected a list"),
        (lambda d: d["tables"][0]["rows"].append(3), r"rows\[2\]: expected an object, got 3"),
        (lambda d: d.update(version=1), "expected an object"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(tmp_path, change, message):
    path = tmp_path / "results.json"
    path.write_text(damaged(change))
    with pytest.raises(ValueError, match=message) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b'{"tables": [', b"\xff\xfe", b"[]"])
def test_a_file_that_is_no_results_json_is_refused(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"results\.json: "):
        read(tmp_path / "results.json")


def test_a_pivot_has_a_line_per_row_and_a_column_per_place():
    header, body = pivot(table(ACCURACY), "accuracy [%]")
    assert header == ["accuracy [%]", "1", "10"]
    assert body == [["real", "89.4 [87.0, 91.2]", "88.8 [86.0, 91.0]"], ["copy last", "92.2 [90.1, 94.3]", "65.6"]]


def test_metrics_of_one_place_share_a_table_and_the_others_have_their_own():
    extra = [Row("real", "PSNR [dB]", 25.13), Row("copy last", "recall", float("nan"), at=5)]
    first, second = sections(table([*ACCURACY, *extra]))
    assert first == (["", "PSNR [dB]", "recall at 5"], [["real", "25.1", ""], ["copy last", "", "–"]])
    assert second == pivot(table(ACCURACY))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([100.0, 5.25], ["100.0", "5.2"]),
        ([1.385, 0.84], ["1.39", "0.84"]),
        ([0.0123, 0.5], ["0.012", "0.500"]),
        ([1234.5, 3.0], ["1,234", "3"]),
        ([12288, 3], ["12,288", "3"]),
        ([2.5e-7, 0.0], ["2.5e-07", "0"]),
        ([-0.0001, -12.34], ["0.0", "-12.3"]),
        ([1.26, 1.46, 1.85, 16.6], ["1.26", "1.46", "1.85", "16.60"]),  # a far-off baseline hides nothing
    ],
)
def test_figures_of_a_metric_share_their_decimals(values, shown):
    _, body = pivot(table([Row(str(i), "m", value) for i, value in enumerate(values)]))
    assert [cell for _, cell in body] == shown


def test_markdown_shows_title_conclusions_figures_and_origin():
    text = markdown(table(ACCURACY, commit="1a2b3c4+dirty", seeds=[0, 1, 2], conclusions=["It **works**."]))
    assert text.splitlines() == [
        "## By horizon",
        "",
        "- It **works**.",
        "",
        "| accuracy [%] | 1 | 10 |",
        "| --- | ---: | ---: |",
        "| real | 89.4 [87.0, 91.2] | 88.8 [86.0, 91.0] |",
        "| copy last | 92.2 [90.1, 94.3] | 65.6 |",
        "",
        "```sh",
        "evaluate",
        "```",
        "commit 1a2b3c4+dirty · 3 seeds (0, 1, 2) · n = 14",
    ]


def test_hostile_names_cannot_leave_their_cell():
    name = "<img src=x onerror=alert(1)> | [click](javascript:x)\n# big `code` **bold** a_b_c"
    line = markdown(table([Row(name, "m", 1)])).splitlines()[4]
    assert line == (
        r"| &lt;img src=x onerror=alert(1)> \| [click]\(javascript:x) # big \`code\` \*\*bold\*\* a_b_c | 1 |"
    )


def test_groups_of_different_sizes_are_given_as_a_range():
    rows = [Row("a", "m", 1.0, n=14), Row("b", "m", 1.0, n=9)]
    assert provenance(table(rows, seeds=[])) == "commit unknown · n = 9 to 14"


def test_rendered_results_take_the_files_in_order_of_their_names(tmp_path):
    write(tmp_path / "results" / "2-bench.json", [table([Row("a", "m", 1)], title="Speed")])
    write(tmp_path / "results" / "1-evaluate.json", [table([Row("a", "m", 1)], title="Quality")])
    text = render_results(tmp_path)
    assert text.startswith(f"# Results of {tmp_path.name}\n")
    assert text.index("## Quality") < text.index("## Speed")


def test_a_package_without_results_cannot_be_rendered(tmp_path):
    with pytest.raises(ValueError, match=r"results: expected \*\.json files, got none"):
        render_results(tmp_path)


def test_a_created_table_says_where_it_comes_from(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/env/bin/latent-predictor", "evaluate", "--data_dir", "my data"])
    made = Table.create("t", "T", [Row("a", "m", 1)], seeds=np.arange(2), threads=1)
    assert made.command == "latent-predictor evaluate --data_dir 'my data'"
    assert "1 torch thread, Python 3." in made.machine
    assert ", torch 2." in made.machine
    assert made.seeds == [0, 1]


def test_a_module_is_named_as_it_was_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/src/latent_predictor/__main__.py", "bench"])
    assert origin.command_line() == "python -m latent_predictor bench"


@pytest.fixture
def repository(tmp_path):
    """A checkout with one commit of `code/model.py`, and a function that runs git in it."""

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model.py").write_text("layers = 3\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "model")
    return tmp_path, git


def test_the_commit_of_a_clean_checkout_is_its_short_hash(repository):
    folder, git = repository
    assert origin.commit(folder / "code") == git("rev-parse", "--short", "HEAD")


def test_changed_code_makes_a_checkout_dirty_but_results_and_documents_do_not(repository):
    folder, git = repository
    (folder / "RESULTS.md").write_text("new")
    (folder / "packages" / "p" / "results").mkdir(parents=True)
    (folder / "packages" / "p" / "results" / "1.json").write_text("{}")
    assert origin.commit(folder / "code") == git("rev-parse", "--short", "HEAD")
    (folder / "code" / "model.py").write_text("layers = 4\n")
    assert origin.commit(folder / "code") == git("rev-parse", "--short", "HEAD") + "+dirty"


def test_there_is_no_commit_where_git_does_not_track_the_code(repository):
    folder, _ = repository
    (folder / "venv").mkdir()
    (folder / "venv" / "installed.py").write_text("")
    assert origin.commit(folder / "venv") is None


def test_there_is_no_commit_outside_a_repository(tmp_path):
    assert origin.commit(tmp_path) is None


def test_importing_results_and_stats_imports_neither_torch_nor_matplotlib():
    check = (
        "import sys, drivelab_shared.results, drivelab_shared.stats, drivelab_shared.report, drivelab_shared.plots;"
        "assert not {'torch', 'matplotlib', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


def test_a_readme_quotes_tables_between_its_markers_and_keeps_the_rest(tmp_path):
    table = Table.create("speed", "How fast", [Row("ours", "ratio", 7.5)], [0], command="x bench")
    write(tmp_path / "results" / "speed.json", [table])
    readme = tmp_path / "README.md"
    readme.write_text("before\n\n<!-- results: speed -->\nstale\n<!-- end of results -->\n\nafter\n")
    rendered = render_readme(tmp_path)
    assert rendered.startswith("before\n")
    assert rendered.endswith("\nafter\n")
    assert "7.5" in rendered
    assert "stale" not in rendered
    readme.write_text(rendered)
    assert render_readme(tmp_path) == rendered


def test_a_readme_that_quotes_a_table_that_does_not_exist_is_refused(tmp_path):
    write(tmp_path / "results" / "speed.json", [Table.create("speed", "How fast", [Row("a", "b", 1.0)], [0])])
    (tmp_path / "README.md").write_text("<!-- results: sped -->\n<!-- end of results -->\n")
    with pytest.raises(ValueError, match="expected one of speed, got 'sped'"):
        render_readme(tmp_path)


def test_the_terminal_gets_aligned_columns_and_no_markup():
    rows = [Row(name, "accuracy [%]", value, at=h) for name, value in (("ours", 81.4), ("x", 9.0)) for h in (1, 10)]
    shown = plain(Table.create("t", "Title", rows, [0], ["**ours** wins."]), "accuracy [%]").splitlines()
    assert shown[:3] == ["Title", "- ours wins.", ""]
    assert shown[4].index("81.4") == shown[5].index("9.0") == shown[3].index("1")


@pytest.mark.parametrize(
    ("bar", "value", "low", "high", "verdict"),
    [
        (">= 8", 9.0, 8.5, 10.0, "9.00 [8.50, 10.00]: reached, and the whole interval is."),
        (">= 8", 9.0, 7.5, 10.0, "9.00 [7.50, 10.00]: reached."),
        (">= 8", 8.0, None, None, "8.00: reached."),
        (">= 8", 7.9, 7.0, 9.0, "7.90 [7.00, 9.00]: **missed**."),
        ("> 0", 0.0, None, None, "0.00: **missed**."),
        ("> 0", 0.2, 0.0, 0.4, "0.20 [0.00, 0.40]: reached."),
        ("<= 5", 4.0, 3.0, 5.0, "4.00 [3.00, 5.00]: reached, and the whole interval is."),
        ("<= 5", 4.0, 3.0, 5.1, "4.00 [3.00, 5.10]: reached."),
        ("< 5", 5.0, 4.0, 6.0, "5.00 [4.00, 6.00]: **missed**."),
    ],
)
def test_a_bar_is_judged_by_the_figure_and_by_the_worse_end_of_its_interval(bar, value, low, high, verdict):
    name = f"gain (paired) over CV [%] (bar: {bar})"
    assert bar_conclusions([Row(name, "quotient", value, low=low, high=high)]) == [f"{name}: {verdict}"]


def test_a_bar_without_a_figure_is_not_measured():
    assert bar_conclusions([Row("spread (bar: >= 0.8)", "quotient", None)]) == [
        "spread (bar: >= 0.8): **not measured**."
    ]
