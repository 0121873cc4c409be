"""Run records made by the tests."""

from typing import Any

from training_code.records.record import Identity, Record

IDENTITY = Identity(
    detector="Padim",
    arguments={"backbone": "resnet18", "layers": ["layer1"], "n_features": 10},
    image_size=(64, 64),
    normalization={"mode": "backbone", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    seed=0,
    validation_split=0.1,
    train_batch_size=32,
    eval_batch_size=32,
    dataset_fingerprint="f" * 64,
    weights_sha256="a" * 64,
    files_sha256={},
    backbone_precision="float32",
    channels_last=False,
    backbone_runtime="auto",
)


def make_record(run_id: str = "padim-resnet18-0123456789", identity: Identity = IDENTITY, **changes: Any) -> Record:
    """Return a record of a run that ended well, with ``changes``."""
    base = {
        "run_id": run_id,
        "status": "ok",
        "identity": identity.as_plain_data(),
        "dataset": {"name": "d", "folder": "data/d", "counts": {"train/good": 4, "test/good": 2}, "fingerprint": "f"},
        "weights": {"file": "weights/resnet18.pth", "sha256": "a", "source": "s", "pretrained": True},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "metrics": {"image_AUROC": 0.75},
        "times": {"fit": 3.0, "test": 0.5, "latency": 0.02},
    }
    return Record(**base | changes)
