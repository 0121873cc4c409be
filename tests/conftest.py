"""Fixtures that several test modules share."""

import os
from pathlib import Path

import pytest
from helpers.data import add_validation, make_mvtec

# First of all plugins: it must come before anything imports training_code.
pytest_plugins = ["helpers.home", "helpers.late_imports", "helpers.pace"]

REAL_DATA = Path(os.environ.get("ANOMALY_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        # Here, since no test is set up before all are collected, which goes without torch.
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> Path:
    """A dataset of 48 × 48 pixels in MVTec layout: 12 images for training, 6 good and 8 with defects for testing."""
    return make_mvtec(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def labelled_dataset(tmp_path_factory) -> Path:
    """The same with two labelled images of each defect type for validation."""
    return add_validation(make_mvtec(tmp_path_factory.mktemp("labelled") / "tiny"))


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
