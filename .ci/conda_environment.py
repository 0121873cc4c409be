"""Print ``environment.yml``: every package that pyproject.toml names, as constraints.txt pins it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# The environment of pyproject.toml and constraints.txt for users of conda, written by `make environment.yml`:
#   conda env create --file environment.yml
name: {name}
channels:
  - conda-forge
dependencies:
  - python={python}
  - pip
  - pip:
"""
# Data that not everyone may use, and a language model without its weights: who may and wants to, installs them.
NOT_FOR_ALL = ("elpv", "words")


def environment(project: dict, constraints: str) -> str:
    """Return the text of ``environment.yml``.

    Parameters
    ----------
    project
        The table ``project`` of pyproject.toml.
    constraints
        The content of constraints.txt.
    """
    pinned = {_normalized(line): line for line in constraints.splitlines() if "==" in line and line[0] != "#"}
    extras = {name: packages for name, packages in project["optional-dependencies"].items() if name not in NOT_FOR_ALL}
    named = [*project["dependencies"], *(name for packages in extras.values() for name in packages)]
    lines = []
    for requirement in named:
        if (package := _normalized(requirement)) == project["name"]:  # one extra that names another
            continue
        if package not in pinned:
            raise SystemExit(f"error: pyproject.toml names {package}, and constraints.txt does not pin it")
        lines.append(pinned[package])
    head = HEAD.format(name=project["name"], python=project["requires-python"].removeprefix(">="))
    lines = [*dict.fromkeys(lines), "--constraint constraints.txt", "--editable ."]
    return head + "".join(f"      - {line}\n" for line in lines)


def _normalized(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    print(environment(project, (ROOT / "constraints.txt").read_text()), end="")
