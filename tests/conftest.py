"""The workspace as its own files describe it: a test that takes `package` runs once for each of them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Package:
    """A member of the workspace that has verbs, or the shared one."""

    folder: Path

    @property
    def project(self) -> dict:
        return self.pyproject["project"]

    @property
    def pyproject(self) -> dict:
        return tomllib.loads((self.folder / "pyproject.toml").read_text())

    @property
    def name(self) -> str:
        return self.project["name"]

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        return self.folder / "src" / self.module


PACKAGES = [Package(file.parent) for file in sorted(ROOT.glob("packages/*/pyproject.toml"))]
SHARED = Package(ROOT / "shared")


def pytest_generate_tests(metafunc):
    if "package" in metafunc.fixturenames:
        metafunc.parametrize("package", PACKAGES, ids=[package.name for package in PACKAGES])


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def packages() -> list[Package]:
    return PACKAGES


@pytest.fixture
def shared() -> Package:
    return SHARED
