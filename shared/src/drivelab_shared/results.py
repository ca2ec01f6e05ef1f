"""Measured figures as data: `results.json`, and the Markdown tables rendered from it.

What evaluate, ablate, diagnose and bench measure is a `Table` of `Row`s in long form. The same rows become
results.json, the tables of report.html and, kept in `packages/NAME/results/`, RESULTS.md: no figure is typed by hand.

    table = Table.create("horizons", "Lane accuracy by horizon", seeds=[0, 1, 2], rows=[
        Row("copy last", "accuracy [%]", 64.1, at=10, low=59.8, high=68.0, n=14), ...
    ])
    write(run_folder / "results.json", [table])
"""

import dataclasses
import json
import math
import numbers
import operator
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drivelab_shared.files import replace_text
from drivelab_shared.markup import bullets_markdown, escape_markdown, origin_markdown, table_markdown
from drivelab_shared.origin import command_line, commit, counted, machine


@dataclass(frozen=True)
class Row:
    """One measured figure. A figure that is not finite is stored as None and shown as a dash."""

    row: str
    """What was measured: a method, a baseline, a setting."""
    metric: str
    """What was measured of it, with its unit: `accuracy [%]`."""
    value: int | float | None
    at: str | int | float | None = None
    """Where: horizon, dataset, noise level..."""
    low: int | float | None = None
    """Lower end of the 95 % interval; None where there is none."""
    high: int | float | None = None
    """Upper end."""
    n: int | None = None
    """How many independent groups the interval rests on."""

    def __post_init__(self) -> None:
        _expect(self, "row", str)
        _expect(self, "metric", str)
        _expect(self, "at", str, numbers.Real, type(None))
        _expect(self, "n", numbers.Integral, type(None))
        for name in ("value", "low", "high"):
            _expect(self, name, numbers.Real, type(None))
        for name in ("value", "at", "low", "high", "n"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if (self.low is None) != (self.high is None):
            raise ValueError(f"low, high: expected both or neither, got {self.low} and {self.high}")


@dataclass(frozen=True)
class Table:
    """Figures that were measured together, and what is needed to measure them again."""

    table: str
    """Short name, as in a file name."""
    title: str
    command: str
    rows: list[Row]
    seeds: list[int]
    """Training seeds that the figures average over."""
    conclusions: list[str] = field(default_factory=list)
    """What a reader should take from it, one sentence each; `code` and **bold** are understood."""
    commit: str | None = None
    machine: str = ""

    def __post_init__(self) -> None:
        for name in ("table", "title", "command", "machine"):
            _expect(self, name, str)
        _expect(self, "commit", str, type(None))
        for name, kind in {"rows": Row, "seeds": numbers.Integral, "conclusions": str}.items():
            _expect(self, name, list)
            for index, item in enumerate(getattr(self, name)):
                if not _is_a(item, kind):
                    raise TypeError(f"{name}[{index}]: expected {KINDS.get(kind, 'a Row')}, got {item!r:.80}")
        cells = [(row.row, row.metric, row.at) for row in self.rows]
        if twice := {cell for cell in cells if cells.count(cell) > 1}:
            raise ValueError(f"rows: expected one figure per (row, metric, at), got several for {min(twice, key=str)}")

    @classmethod
    def create(
        cls,
        table: str,
        title: str,
        rows: Sequence[Row],
        seeds: Sequence[int],
        conclusions: Sequence[str] = (),
        *,
        command: str | None = None,
        threads: int | None = None,
    ) -> "Table":
        """The table with this process's command line, commit and machine. `threads` are torch's."""
        return cls(
            table=table,
            title=title,
            command=command or command_line(),
            rows=list(rows),
            seeds=[int(seed) for seed in seeds],
            conclusions=list(conclusions),
            commit=commit(),
            machine=machine(threads),
        )


KINDS = {str: "text", numbers.Real: "a number", numbers.Integral: "a whole number", list: "a list", type(None): "null"}


def _expect(owner: object, name: str, *kinds: type) -> None:
    value = getattr(owner, name)
    if not _is_a(value, *kinds):
        expected = " or ".join(KINDS[kind] for kind in kinds)
        raise TypeError(f"{name}: expected {expected}, got {value!r:.80}")


def _is_a(value: object, *kinds: type) -> bool:
    """True is an int to Python, but never a figure."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def _plain(value: object) -> str | int | float | None:
    """Numpy's numbers as Python's, and None for what is not finite: JSON knows neither."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if math.isfinite(value) else None


def write(path: Path, tables: Sequence[Table]) -> None:
    """Write results.json: one row per line, so that a diff shows which figures changed."""
    replace_text(path, '{"tables": [' + ",\n".join(_table_json(table) for table in tables) + "]}\n")


def _table_json(table: Table) -> str:
    fields = dataclasses.asdict(table)
    rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in fields.pop("rows"))
    lines = [f'  "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in fields.items()]
    return "{\n" + ",\n".join([*lines, f'  "rows": [\n{rows}\n  ]']) + "\n}"


def read(path: Path) -> list[Table]:
    """Read results.json, or one that somebody edited.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not JSON, or not the keys and types of `Table` and `Row`; names the file and the place in it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        if not isinstance(document, dict) or list(document) != ["tables"] or not isinstance(document["tables"], list):
            raise ValueError('expected an object {"tables": [...]}')
        return [_table(fields, f"tables[{index}]") for index, fields in enumerate(document["tables"])]
    except ValueError as problem:  # broken JSON and broken UTF-8 are ValueErrors too
        raise ValueError(f"{path}: {problem}") from problem


def _refuse_constant(name: str) -> None:
    raise ValueError(f"expected a number or null, got {name}, which is not JSON")


def _table(fields: object, where: str) -> Table:
    if isinstance(fields, dict) and isinstance(fields.get("rows"), list):
        rows = [_build(Row, row, f"{where}.rows[{index}]") for index, row in enumerate(fields["rows"])]
        fields = fields | {"rows": rows}
    return _build(Table, fields, where)


def _build(kind: type, fields: object, where: str) -> Row | Table:
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: expected an object, got {fields!r:.80}")
    known = {f.name: f.default is f.default_factory is dataclasses.MISSING for f in dataclasses.fields(kind)}
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"{where}: expected the keys {', '.join(known)}, got {unknown[0]!r}")
    if missing := [name for name, is_required in known.items() if is_required and name not in fields]:
        raise ValueError(f"{where}: expected a key {missing[0]!r}, got none")
    try:
        return kind(**fields)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{where}: {problem}") from problem


def pivot(table: Table, metric: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and body: one line per row, one column per `at` of `metric` (None: per metric and `at`).

    Cells read `76.1 [71.4, 80.2]`; all cells of a metric have the same number of decimals. An empty cell was not
    measured, a dash was measured and is undefined.
    """
    return _grid([row for row in table.rows if metric in (None, row.metric)])


def sections(table: Table) -> list[tuple[list[str], list[list[str]]]]:
    """The table in pieces that fit a page: metrics measured at one place share a piece, the others have their own."""
    places: dict[str, set] = {}
    for row in table.rows:
        places.setdefault(row.metric, set()).add(row.at)
    single = [row for row in table.rows if len(places[row.metric]) == 1]
    pieces = [_grid(single)] if single else []
    return pieces + [pivot(table, metric) for metric in places if len(places[metric]) > 1]


def _grid(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    names, columns = _unique(row.row for row in rows), _unique((row.metric, row.at) for row in rows)
    metrics = _unique(metric for metric, _ in columns)
    decimals = {metric: _decimals([row for row in rows if row.metric == metric]) for metric in metrics}
    cells = {(row.row, row.metric, row.at): _cell(row, decimals[row.metric]) for row in rows}
    by_place = len(metrics) == 1 and len(columns) > 1
    labels = [_number(at, None) if by_place else metric + _suffix(at) for metric, at in columns]
    return [metrics[0] if by_place else "", *labels], [[n, *(cells.get((n, *c), "") for c in columns)] for n in names]


def _suffix(at: str | int | float | None) -> str:
    return "" if at is None else f" at {_number(at, None)}"


def _unique(items: Iterable) -> list:
    return list(dict.fromkeys(items))


def _decimals(rows: Sequence[Row]) -> int | None:
    """Decimals that show three digits of a metric's largest figure; None: figures are whole, or of no common size."""
    figures = [figure for row in rows for figure in (row.value, row.low, row.high) if figure is not None]
    largest = max((abs(figure) for figure in figures), default=0)
    if all(isinstance(figure, int) for figure in figures) or not 1e-4 <= largest < 1e6:
        return None
    if largest >= 10:
        # One decimal from 10 to 1000, so that an accuracy of 100 % leaves its column as it was. Two where one baseline
        # is far off: it must not hide what tells the others apart.
        typical = statistics.median([abs(row.value) for row in rows if row.value] or [largest])
        return 0 if largest >= 1000 else 2 if largest < 100 and typical < largest / 3 else 1
    return 2 - math.floor(math.log10(largest))


def _cell(row: Row, decimals: int | None) -> str:
    if row.value is None:
        return "–"
    interval = "" if row.low is None else f" [{_number(row.low, decimals)}, {_number(row.high, decimals)}]"
    return _number(row.value, decimals) + interval


def _number(value: str | int | float, decimals: int | None) -> str:
    if isinstance(value, str):
        return value
    if decimals is not None:
        return f"{value:z,.{decimals}f}"  # z: no minus before zero
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def provenance(table: Table) -> str:
    """Commit, machine, seeds and number of groups of a table in one line."""
    sizes = sorted({row.n for row in table.rows if row.n is not None})
    parts = [
        f"commit {table.commit}" if table.commit else "commit unknown",
        table.machine,
        f"{counted(len(table.seeds), 'seed')} ({', '.join(map(str, table.seeds))})" if table.seeds else "",
        f"n = {sizes[0]}" + (f" to {sizes[-1]}" if len(sizes) > 1 else "") if sizes else "",
    ]
    return " · ".join(part for part in parts if part)


def bar_conclusions(rows: Iterable[Row]) -> list[str]:
    """What to say of rows whose names end with the bar they were set, such as `error against CTRV [%] (bar: >= 35)`."""
    found = []
    for bar in rows:
        relation, limit = bar.row.rpartition("(bar: ")[2].rstrip(")").split()
        if bar.value is None:
            found.append(f"{bar.row}: **not measured**.")
            continue
        holds = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}[relation]
        shown, worst = f"{bar.value:.2f}", bar.high if relation[0] == "<" else bar.low
        if worst is not None:
            shown += f" [{bar.low:.2f}, {bar.high:.2f}]"
        if not holds(bar.value, float(limit)):
            verdict = "**missed**"
        elif worst is not None and holds(worst, float(limit)):
            verdict = "reached, and the whole interval is"
        else:
            verdict = "reached"
        found.append(f"{bar.row}: {shown}: {verdict}.")
    return found


def markdown(table: Table) -> str:
    """A table with its title, conclusions and origin as Markdown."""
    parts = [f"## {escape_markdown(table.title)}", bullets_markdown(table.conclusions)]
    parts += [table_markdown(header, body) for header, body in sections(table)]
    parts.append(origin_markdown(table.command, provenance(table)))
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(table: Table, *metrics: str) -> str:
    """For a terminal: the title, the conclusions, and one grid of aligned columns per metric."""
    lines = [table.title, *(f"- {sentence.replace('**', '')}" for sentence in table.conclusions)]
    for metric in metrics:
        header, body = pivot(table, metric)
        widths = [max(len(row[column]) for row in [header, *body]) for column in range(len(header))]
        lines.append("")
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *body]
        ]
    return "\n".join(lines)


INTRODUCTION = """\
# Results of {name}

Rendered from `results/*.json` by `tools/results {name}`; no figure here was typed by hand, and a test compares them.

A cell is a measured value and, in square brackets, its 95 % interval: a percentile bootstrap that draws whole
trajectories, sequences or scenes (n of them) anew, and training seeds where there are several. A dash is a value that
is not defined, an empty cell was not measured. Methods are compared by the rows that give their paired difference, not
by whether two intervals overlap. Below each table stand the command that made it, the commit (`+dirty`: with changes
that were not committed), the machine and the seeds.
"""


def render_results(folder: Path) -> str:
    """RESULTS.md of a package as its results/*.json say it should be; `folder` is the package's.

    Raises:
        ValueError: there are no such files, or one is damaged.
    """
    return "\n".join([INTRODUCTION.format(name=folder.name), *map(markdown, _kept_tables(folder))])


def render_readme(folder: Path) -> str:
    """README.md of a package with the tables that it quotes as its results/*.json say they should be.

    A table stands between the lines `<!-- results: NAME -->` and `<!-- end of results -->`.

    Raises:
        ValueError: it quotes a table that there is not, or a file is damaged.
    """
    tables = {table.table: table for table in _kept_tables(folder)}

    def quoted(match: re.Match) -> str:
        if match["name"] not in tables:
            raise ValueError(f"{folder / 'README.md'}: expected one of {', '.join(tables)}, got {match['name']!r}")
        _, _, body = markdown(tables[match["name"]]).partition("\n\n")  # the README has a heading of its own
        return f"{match['begin']}\n\n{body}\n{match['end']}"

    return _QUOTED.sub(quoted, (folder / "README.md").read_text(encoding="utf-8"))


_QUOTED = re.compile(r"(?P<begin><!-- results: (?P<name>\S+) -->)\n.*?(?P<end><!-- end of results -->)", re.DOTALL)


def _kept_tables(folder: Path) -> list[Table]:
    paths = sorted((folder / "results").glob("*.json"))
    if not paths:
        raise ValueError(f"{folder / 'results'}: expected *.json files, got none")
    return [table for path in paths for table in read(path)]
