"""Print the table of packages in docs/licenses.md: each that pyproject.toml names, and the license that it states.

``python tests/tools/list_licenses.py``; what is not installed is left out.
"""

import tomllib
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from training_code.foundation.program import DISTRIBUTION, normalized

ROOT = Path(__file__).resolve().parents[2]


def packages() -> dict[str, list[str]]:
    """Return every package that pyproject.toml names, with the extras that name it; none if it is always installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, list[str]] = {normalized(line): [] for line in project["dependencies"]}
    for extra, lines in project["optional-dependencies"].items():
        for line in lines:
            found.setdefault(normalized(line), []).append(extra)
    del found[DISTRIBUTION]
    return found


def stated(name: str) -> str | None:
    """Return the license in the metadata of a package: its expression, else its classifiers, else its first line.

    None if the package is not installed.
    """
    try:
        said: Message = metadata(name)  # type: ignore[assignment]
    except PackageNotFoundError:
        return None
    if expression := said.get("License-Expression"):
        return expression
    classes = [each.rsplit(" :: ", 1)[-1] for each in said.get_all("Classifier") or [] if each.startswith("License ::")]
    lines = (said.get("License") or "").strip().splitlines() or [""]
    return ", ".join(classes) or lines[0].replace("UNKNOWN", "") or "not stated"


def rows() -> dict[str, str]:
    """Return the lines of the table by package, for those that are installed."""
    return {
        name: f"| `{name}` | {', '.join(f'`{extra}`' for extra in extras) or 'always'} | {said} |"
        for name, extras in packages().items()
        if (said := stated(name)) is not None
    }


if __name__ == "__main__":
    print("\n".join(rows().values()))
