"""What pyproject.toml cannot say: notebooks and sweep files come into a wheel below the package, not beside it."""

from setuptools import find_namespace_packages, setup

# Of the names of folders, as "notebooks", there may be others in an environment.
_FOLDERS = {f"training_code._files.{name}": name for name in ("notebooks", "sweeps")}

setup(
    packages=[*find_namespace_packages(include=["training_code*", "inference_code*"]), *_FOLDERS],
    package_dir=_FOLDERS,
)
