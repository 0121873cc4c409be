"""The settings of the papers, below which a run is a reduced one."""

from training_code.comparison.values import is_number
from training_code.records.record import Record

#: By detector: arguments that make networks small and training short, with the paper's values.
PAPER: dict[str, dict[str, float]] = {
    "Cflow": {"max_epochs": 30, "fiber_sampling_ratio": 1.0},
    "Dsr": {"max_epochs": 20, "width": 1.0, "embedding_dim": 128, "num_embeddings": 4096},
    "Draem": {"max_epochs": 700, "width": 1.0},
    "Autoencoder": {"max_epochs": 200, "width": 1.0, "num_crops": 10_000, "crop_size": 128},
}


def reduced_settings(record: Record) -> str:
    """Return the arguments that are below the paper's, with both values; nothing for a run in its full setting."""
    return ", ".join(
        f"{name} {record.arguments[name]:g} of {full:g}"
        for name, full in PAPER.get(record.detector, {}).items()
        if is_number(record.arguments.get(name)) and record.arguments[name] < full
    )
