"""What several test modules share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.data import make_mvtec

from training_code import paths

pytest_plugins = ["helpers.late_imports", "helpers.pace"]

REAL_DATA = Path(os.environ.get("ANOMALY_TEST_DATA", paths.ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory) -> Iterator[None]:
    """Keep what is found out about images of the tests out of the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """A dataset of 48 × 48 pixels in MVTec layout: 12 images for training, 6 good and 8 with defects for testing."""
    return make_mvtec(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def magnetic_tile() -> Path:
    """The folder of the real photographs of magnetic tiles, as published."""
    return _real("magnetic_tile")


@pytest.fixture(scope="session")
def deeppcb() -> Path:
    """The folder of real photographs of circuit boards, as published."""
    return _real("deeppcb")


def _real(name: str) -> Path:
    folder = REAL_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the photographs are not here: {folder} (ANOMALY_TEST_DATA names another folder)")
    return folder
