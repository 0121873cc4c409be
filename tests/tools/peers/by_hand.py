"""What people write in a notebook: each configuration through anomalib's Engine, one after the other, and a table.

``python by_hand.py``, in a folder with ``grid.json``.
"""

import csv
import json
import time
from pathlib import Path

import anomalib.models
from anomalib.data import Folder
from anomalib.engine import Engine
from lightning.pytorch import seed_everything

work = json.loads(Path("grid.json").read_text())
rows = []
for name, arguments in work["grid"]:
    seed_everything(work["seed"])
    model = getattr(anomalib.models, name)(**arguments)
    started = time.perf_counter()
    engine = Engine(accelerator="cpu", devices=1)
    datamodule = Folder(**work["data"])
    engine.fit(model, datamodule=datamodule)
    (found,) = engine.test(model, datamodule=datamodule)
    rows.append({"detector": name, "seconds": time.perf_counter() - started, **found})
with open("results.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
