"""How published datasets are recognized by their folders, and the adapter that brings each into the layout."""

from pathlib import Path

#: Patterns by adapter, from the folder of the dataset; where one of them exists, the adapter is named.
PUBLISHED: dict[str, tuple[str, ...]] = {
    "mvtec_ad_2": ("test_public", "*/test_public"),
    "mvtec_loco": ("test/logical_anomalies", "*/test/logical_anomalies"),
    "visa": ("split_csv/1cls.csv",),
    "real_iad": ("realiad_jsons*", "OK/S*", "*/OK/S*"),
    "kolektor": ("kos*/*_label.bmp", "*/kos*/*_label.bmp", "train/*_GT.png"),
    "deeppcb": ("PCBData/group*", "group*/*_not"),
    "magnetic_tile": ("MT_Free/Imgs",),
    "elpv": tuple(f"{place}images/cell[0-9][0-9][0-9][0-9].png" for place in ("", "data/", "src/elpv_dataset/data/")),
    "miic": ("boxes/*.txt",),
}


def find_adapter(root: Path) -> str | None:
    """Return the adapter for a folder that is laid out as a published dataset, None if none is known."""
    for adapter, patterns in PUBLISHED.items():
        if any(next(root.glob(pattern), None) for pattern in patterns):
            return adapter
    return None


def adapter_hint(root: Path) -> str:
    """Return a sentence that names the adapter for a folder, empty if there is none."""
    adapter = find_adapter(root)
    command = f"python -m training_code.prepare_data {adapter} {root} NEW_FOLDER"
    return f"it is laid out as published for the adapter {adapter}: {command}" if adapter else ""
