"""What the pages say is true."""

import json
import re
import runpy
import subprocess

import pytest

from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths

IN_FOLDERS = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "notebooks/README.md",
    "weights/README.md",
    "data/README.md",
]
PAGES = IN_FOLDERS + sorted(path.relative_to(paths.ROOT).as_posix() for path in paths.ROOT.glob("docs/*.md"))
TEXTS = {page: (paths.ROOT / page).read_text(encoding="utf-8") for page in PAGES}
#: Lines after which a newcomer has given up.
LONGEST_README = 120


def test_the_tables_of_published_results_are_those_of_the_workbook():
    # The committed workbook: the one in the working tree holds whatever was run last.
    command = ["git", "-C", paths.ROOT, "show", f"HEAD:{paths.WORKBOOK.name}"]
    committed = subprocess.run(command, capture_output=True)
    if committed.returncode:
        pytest.skip("not in a git checkout, so there is no committed workbook")
    page, tool = (
        TEXTS["docs/published.md"],
        runpy.run_path(str(paths.ROOT / "tests" / "tools" / "tabulate_published.py")),
    )
    written = page.partition(tool["BEGIN"])[2].partition(tool["END"])[0].strip()
    assert written == tool["tables"](committed.stdout)
    models = set(re.findall(r"^\| (\w+) \|", written, re.M)) - {"Model"}
    assert models <= set(DETECTORS) and models >= {"Padim", "Patchcore", "Subspace", "FeatureSegmenter"}


def test_the_tables_of_scale_are_those_of_what_was_measured():
    tool = runpy.run_path(str(paths.ROOT / "tests" / "tools" / "plot_scale.py"))
    lines = tool["read_lines"](paths.ROOT / "results" / "scale.jsonl")
    assert lines and len({line["images"] for line in lines}) > 1
    written = TEXTS["docs/scale.md"].partition(tool["BEGIN"])[2].partition(tool["END"])[0].strip()
    assert written == tool["table"](lines)
    coresets = list(map(json.loads, (paths.ROOT / "results" / "coresets.jsonl").read_text("utf-8").splitlines()))
    written = TEXTS["docs/scale.md"].partition(tool["BEGIN_CORESETS"])[2].partition(tool["END"])[0].strip()
    assert len({line["dataset"] for line in coresets}) == 3 and written == tool["coreset_table"](coresets)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (paths.ROOT / page).parent
    for link, _, heading in (found.partition("#") for found in re.findall(r"\]\(([^)]+)\)", TEXTS[page])):
        if "://" in link:
            continue
        target = folder / link if link else paths.ROOT / page
        assert target.exists(), link
        assert not heading or heading in headings(target.read_text(encoding="utf-8")), f"{link}#{heading}"


def headings(text: str) -> set[str]:
    """Return the names by which the headings of a page are linked to."""
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_newcomers_can_read_the_readme_in_one_go_and_find_every_page_from_it():
    assert len(TEXTS["README.md"].splitlines()) <= LONGEST_README
    linked = set(re.findall(r"\]\(([^)#]+)", TEXTS["README.md"]))
    assert set(PAGES) - {"README.md"} <= linked


def test_as_many_detectors_are_there_as_the_readme_says():
    anomalibs = sum(spec.plain is not None for spec in DETECTORS.values())
    assert f"{anomalibs} of the {len(DETECTORS)} detectors are [anomalib]" in TEXTS["README.md"]
    assert f"- **Detectors**: {len(DETECTORS)}, " in TEXTS["README.md"]
    assert set(re.findall(r"^\| `(\w+)` \|", TEXTS["docs/detectors.md"], re.M)) == set(DETECTORS)


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (paths.ROOT / "Makefile").read_text(), re.M))
    named = {name for text in TEXTS.values() for name in re.findall(r"`make ([a-z-]+)", text)}
    for block in (block for text in TEXTS.values() for block in re.findall(r"^```.*?^```", text, re.M | re.S)):
        named |= set(re.findall(r"^make ([a-z-]+)", block, re.M))
    assert named <= targets
    assert {"environment", "demo", "test", "lint", "notebooks", "sweep", "compare"} <= named


@pytest.mark.parametrize("page", sorted({*PAGES} - {"CHANGELOG.md"}))  # which tells of files that were there once
def test_every_file_of_the_code_that_is_named_is_there(page):
    named = re.findall(r"`((?:training_code|inference_code|tests|notebooks|sweeps)/[\w./]+)`", TEXTS[page])
    missing = [path for path in named if not (paths.ROOT / path).exists()]
    assert missing == []


def test_every_backbone_is_named_with_its_weight_file():
    from training_code.backbones.registry import BACKBONES

    for backbone in BACKBONES.values():
        assert f"`{backbone.name}`" in TEXTS["README.md"] and f"`{backbone.pretrained}`" in TEXTS["weights/README.md"]


def test_the_page_of_the_layers_names_every_package_and_module():
    text = TEXTS["docs/architecture.md"]
    for path in (paths.ROOT / "training_code").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            assert path.name.startswith("__") or re.search(rf"\b{path.stem}\b", text), path.name
