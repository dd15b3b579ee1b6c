"""What the Python tests share: where the programs under test lie."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def build_dir():
    """Build folder under test: $MSA_BUILD_DIR, which ctest sets, else the release preset's."""
    return pathlib.Path(os.environ.get("MSA_BUILD_DIR", ROOT / "build" / "release"))


@pytest.fixture(scope="session")
def msa(build_dir):
    """The `msa` command."""
    program = build_dir / "bin" / "msa"
    assert program.is_file(), f"{program} is not built: scripts/setup, or cmake --build {build_dir}"
    return program
