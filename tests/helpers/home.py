"""A plugin of pytest: tests have folders and settings of their own; what the user has in the checkout has no influence.

`training_code.foundation.paths` reads the variable that is set here when it is first imported, in this process and in
all that tests start: commands, kernels, workers.
"""

import os
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

# Settings of the project and of the libraries below it; where the tests find photographs is meant for them.
SETTINGS = re.compile(r"(?!ANOMALY_TEST_DATA$)(ANOMALY|HF|MLFLOW|RAY|TENSOR_CACHE|TIMM)_\w+|TORCH_HOME")


def pytest_configure(config: pytest.Config) -> None:
    """Set the variables, before any test module is imported."""
    if "training_code.foundation.paths" in sys.modules:
        raise pytest.UsageError("training_code.foundation.paths is imported before the tests have a home of their own")
    for name in filter(SETTINGS.fullmatch, list(os.environ)):
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix="anomaly-tests-"))
    config.add_cleanup(partial(shutil.rmtree, home, ignore_errors=True))
    folders = {"ANOMALY_HOME": home, "HF_HOME": home / "hub", "IPYTHONDIR": home / "ipython"}
    os.environ.update({name: str(folder) for name, folder in folders.items()})
