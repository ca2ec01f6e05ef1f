"""What check-data has to say, before it is printed and written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opv2v_stage2.data.check_data.across import across_problems
from opv2v_stage2.data.check_data.glances import Glance, glance
from opv2v_stage2.data.check_data.problems import Grid, Problem, grouped
from opv2v_stage2.data.check_data.tables import tables
from opv2v_stage2.data.tree import Tree, all_files, each_agent, index_tree


@dataclass(frozen=True, eq=False)
class Findings:
    """What is printed and written alike."""

    root: Path
    glances: dict[str, list[Glance]]
    """At every agent at every moment, by split."""
    problems: list[Problem]
    """Grouped, worst first."""
    answers: list[str]
    tables: dict[str, Grid]
    """By caption."""

    @property
    def errors(self) -> list[Problem]:
        """What makes the exit code 2."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def num_usable(self) -> int:
        """Agents at moments that are left without errors."""
        return sum(one.is_usable for of_split in self.glances.values() for one in of_split)


def find(data_dir: Path) -> Findings:
    """Look at everything.

    Raises:
        UserError: there is no data set.
    """
    tree = index_tree(data_dir)
    glances = _glances(tree)
    each = (problem for of_split in glances.values() for one in of_split for problem in one.problems)
    problems = grouped([*each, *across_problems(tree, glances)])
    return Findings(data_dir, glances, problems, list(_answers(glances)), tables(glances))


def _glances(tree: Tree) -> dict[str, list[Glance]]:
    found = iter(each_agent(glance, all_files(tree)))
    return {
        split: [next(found) for agents in moments.values() for _ in agents] for split, moments in tree.files.items()
    }


def _answers(glances: Mapping[str, Sequence[Glance]]) -> Iterator[str]:
    everything = [one for of_split in glances.values() for one in of_split]
    usable = [one for one in everything if one.is_usable]
    yield f"**Usable:** {len(usable)} of {len(everything)} agents at moments."
    errors = [one.gps_error for one in usable]
    if errors:
        metres, degrees = (sum(column) / len(errors) for column in zip(*errors, strict=True))
        yield (
            f"**GNSS:** {metres:.2f} m and {degrees:.2f} degrees from the truth on average: "
            "pose estimates have to be compared with simply trusting it."
        )
    dense = sum(one.files.truth_path is not None for one in everything)
    yield f"**Dense depth:** {f'of {dense} agents at moments' if dense else 'none; lidar is all there is to judge by'}."
