"""docs/licenses.md knows everything that is not this project's own text."""

import re
import runpy
from fnmatch import fnmatch

import pytest
import yaml
from helpers.repository import HAS_GIT, ROOT, project_files

TEXT = (ROOT / "docs" / "licenses.md").read_text(encoding="utf-8")
#: Cells of the tables by their first one, `…`.
ROWS = {row[1]: row[2].split(" | ") for row in re.finditer(r"^\| `([^`]+)` \| (.+) \|$", TEXT, re.M)}
TOOL = runpy.run_path(str(ROOT / "tests" / "tools" / "list_licenses.py"))


def _section(title):
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.skipif(not HAS_GIT, reason="nothing tells what is the project's")
def test_every_file_that_is_no_text_has_its_row_and_no_row_is_left_over():
    patterns = re.findall(r"^\| `([^`]+)` \|", _section("Files of the repository that are no text"), re.M)
    binary = [path.relative_to(ROOT).as_posix() for path in project_files("*") if b"\0" in path.read_bytes()]
    assert {"images/page.png", "models_comparing.xlsx"} <= set(binary)
    assert [name for name in binary if not any(fnmatch(name, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in binary)] == []


def test_every_package_of_pyproject_has_the_license_that_its_metadata_state():
    table = re.findall(r"^\| `[^`]+` \| .+ \|$", _section("Packages"), re.M)
    names = [re.match(r"\| `([^`]+)`", line)[1] for line in table]
    assert sorted(names) == sorted(TOOL["packages"]())
    written = dict(zip(names, table, strict=True))
    installed = TOOL["rows"]()
    assert len(installed) > 60
    assert {name: written[name] for name in installed} == installed


def test_what_metadata_state_is_found_in_each_of_their_three_places():
    assert TOOL["stated"]("paho-mqtt") == "EPL-2.0 OR BSD-3-Clause"  # an expression
    assert TOOL["stated"]("seaborn") == "BSD License"  # a classifier alone
    assert TOOL["stated"]("xxhash") == "BSD-2-Clause"  # a text alone
    assert TOOL["stated"]("no-such-package") is None


def test_who_cites_names_the_version_that_was_released_last():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    released = re.search(r"^## \[(\d[\d.]*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert [str(cited["version"]), str(cited["date-released"])] == [released[1], released[2]]
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert released[1] == version[1]
    assert cited["license"] == "Apache-2.0" and cited["cff-version"] == "1.2.0"
    assert cited["authors"] == [{"name": "The anomaly-detection-experiments authors"}]


@pytest.mark.parametrize("path", project_files(".github/ISSUE_TEMPLATE/*.yml"), ids=lambda path: path.stem)
def test_a_form_for_issues_is_one_that_github_accepts(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["type"] in ("input", "textarea", "dropdown") and field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
