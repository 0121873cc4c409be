"""Run records made by the tests."""

import dataclasses
from typing import Any

from training_code.backbones.backbone import Recipe
from training_code.protocol import ComputeOptions, ExperimentProtocol
from training_code.records.identity import Identity
from training_code.records.record import DatasetUsed, Record, WeightsUsed

IDENTITY = Identity(
    detector="Padim",
    arguments={"backbone": "resnet18", "layers": ["layer1"], "n_features": 10},
    seed=0,
    protocol=ExperimentProtocol(image_size=(64, 64), threshold="conformal"),
    compute={"backbone_precision": "float32", "channels_last": False, "backbone_runtime": "torch"},
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    dataset_fingerprint="f" * 64,
    weights_sha256="a" * 64,
    files_sha256={},
)
WEIGHTS = WeightsUsed(
    "weights/resnet18.pth", "a", "s", "timm", True, Recipe("resnet18", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
)
#: Changes of `make_record` for weights that are drawn at random.
RANDOM = {"weights": dataclasses.replace(WEIGHTS, file=None, sha256=None, source="random", pretrained=False)}


def make_identity(**changes: Any) -> Identity:
    """Return `IDENTITY` with changes: of its parts, of fields of the protocol, or of compute options."""
    of_protocol = {name: changes.pop(name) for name in ExperimentProtocol.names() if name in changes}
    of_compute = {name: changes.pop(name) for name in ComputeOptions.names() if name in changes}
    base = dataclasses.replace(IDENTITY, **changes)
    protocol = dataclasses.replace(base.protocol, **of_protocol)
    return dataclasses.replace(base, protocol=protocol, compute=base.compute | of_compute)


def make_dataset(name: str = "d", **changes: Any) -> DatasetUsed:
    """Return the dataset ``name``, with ``changes``."""
    counts = {"train/good": 4, "test/good": 2}
    base = {"name": name, "folder": f"data/{name}", "fingerprint": f"fingerprint of {name}", "counts": counts}
    return DatasetUsed(**base | changes)


def make_record(run_id: str = "padim-resnet18-0123456789", identity: Identity = IDENTITY, **changes: Any) -> Record:
    """Return a record of a run that ended well, with ``changes``."""
    base = {
        "run_id": run_id,
        "status": "ok",
        "identity": identity,
        "compute": dataclasses.asdict(ComputeOptions()),
        "dataset": make_dataset(),
        "weights": WEIGHTS,
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "metrics": {"image_AUROC": 0.75},
        "times": {"fit": 3.0, "test": 0.5, "latency": 0.02},
    }
    return Record(**base | changes)
