"""``python tests/tools/check_demonstration.py``: read what `make demo` wrote into a clean clone, as its user would."""

import sys
from collections import Counter
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
DETECTORS = {"Padim", "Patchcore", "Cflow", "Dsr", "Draem", "Autoencoder"}
DETECTORS |= {"FeatureSegmenter", "Supersimplenet", "Unet", "Combined"}
RUNS = 23
SHEETS = ["Decision", "Winner", "Best models", "Comparison pcb", "Comparison textures", "All runs", "By backbone"]
SHEETS += [
    "By dataset",
    "By defect type",
    "Labels",
    "Hyper-parameters",
    "Speed and size",
    "Examples",
    "Decision models",
    "Curves",
]
SHEETS += ["Failed", "About"]
SHEETS += ["training_code"]  # very hidden: the record of what was written


def main() -> int:
    """Run the script; the exit status is 1 if anything is not as the README says."""
    sheets = pd.read_excel(ROOT / "models_comparing.xlsx", sheet_name=None)
    runs, best = sheets["All runs"], sheets["Best models"]
    folders = [ROOT / "results" / "runs" / run_id for run_id in runs["run_id"]]
    found = {
        "rows by status": dict(Counter(runs["status"])) == {"ok": RUNS},
        "detectors": set(runs["detector"]) == DETECTORS == set(best["Model"].dropna()),
        "sheets": list(sheets) == SHEETS,
        "rows of sheets": all(len(sheet) for name, sheet in sheets.items() if name != "Failed"),
        "metrics": runs["image_AUROC"].between(0, 1).all() and runs["pixel_F1Score"].between(0, 1).all(),
        "notebooks": all((folder / "notebook.ipynb").is_file() for folder in folders),
    }
    print(f"{len(runs)} rows {dict(Counter(runs['status']))}, detectors {sorted(set(runs['detector']))}")
    print(f"sheets {list(sheets)}")
    for what in (what for what, right in found.items() if not right):
        print(f"error: {what} of the workbook of the demonstration are not as they should be", file=sys.stderr)
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
