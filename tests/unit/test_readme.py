"""What the README says is true."""

import io
import re
import subprocess

import pandas as pd
import pytest

from training_code.comparison.table import MAIN_METRICS
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md", "weights/README.md", "data/README.md"]
PAGES += ["docs/performance.md", "docs/cluster.md", "docs/results.md", "docs/comparison.md", "docs/inference.md"]
README = (paths.ROOT / "README.md").read_text()


def test_the_table_is_that_of_the_workbook():
    rows = [
        line.strip("| ").split(" | ") for line in README.splitlines() if re.match(rf"\| ({'|'.join(DETECTORS)}) ", line)
    ]
    # The committed workbook: the one in the working tree holds whatever was run last.
    command = ["git", "-C", paths.ROOT, "show", f"HEAD:{paths.WORKBOOK.name}"]
    committed = subprocess.run(command, capture_output=True)
    if committed.returncode:
        pytest.skip("not in a git checkout, so there is no committed workbook")
    sheet = pd.read_excel(io.BytesIO(committed.stdout), sheet_name="Best models").dropna(subset=["run_id"])
    written = [
        [row["Model"], *(f"{row[name]:.3f} ± {row[f'{name}_sd']:.3f}" for name in MAIN_METRICS)]
        for _, row in sheet.iterrows()
    ]
    assert written == [row[:5] for row in rows]
    assert [f"{row['dataset']}, {row['protocol'].split()[0]}" for _, row in sheet.iterrows()] == [
        row[5] for row in rows
    ]
    assert {row[0] for row in rows} >= {"Padim", "Patchcore", "Cflow", "Dsr", "Autoencoder"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (paths.ROOT / page).parent
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (paths.ROOT / page).read_text()):
        assert "://" in link or (folder / link).exists(), link


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (paths.ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", README, re.M))
    assert {name for pair in named for name in pair if name} <= targets
    assert {"demo", "test", "lint", "notebooks", "sweep", "compare"} <= targets


def test_every_backbone_is_named_with_its_weight_file():
    from training_code.backbones.registry import BACKBONES

    weights = (paths.ROOT / "weights" / "README.md").read_text()
    for backbone in BACKBONES.values():
        assert f"`{backbone.name}`" in README and f"`{backbone.pretrained}`" in weights
