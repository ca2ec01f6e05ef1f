"""RESULTS.md and README.md of every package say what its results/*.json say."""

from pathlib import Path

import pytest

from drivelab_shared.results import render_readme, render_results

PACKAGES = sorted(path.parent for path in (Path(__file__).parent.parent / "packages").glob("*/pyproject.toml"))


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_results_md_is_rendered_from_the_json_files_beside_it(folder):
    document = folder / "RESULTS.md"
    if not document.exists() and not list((folder / "results").glob("*.json")):
        return  # a package that claims nothing yet
    assert document.exists(), f"run tools/results {folder.name}"
    assert document.read_text(encoding="utf-8") == render_results(folder), f"run tools/results {folder.name}"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert readme == render_readme(folder), f"run tools/results {folder.name}"
