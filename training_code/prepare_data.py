"""``python -m training_code.prepare_data ADAPTER SRC DST``: copy a published dataset into the layout that is read."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from training_code.data.adapters import ADAPTERS
from training_code.data.layout import read_dataset
from training_code.errors import InputError, run_command

#: Says that a folder was made by this command and may be replaced by it.
MARKER = ".prepared"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training_code.prepare_data", description=__doc__)
    parser.add_argument("adapter", choices=sorted(ADAPTERS), help="the dataset as it is published")
    parser.add_argument("source", type=Path, metavar="SRC", help="its folder; never changed")
    parser.add_argument("destination", type=Path, metavar="DST", help="the new folder, for instance data/tiles")
    options = parser.parse_args(arguments)
    prepare(options.adapter, options.source, options.destination)
    dataset = read_dataset(options.destination.resolve())
    for name, count in dataset.counts.items():
        print(f"{count:6d}  {name}")
    print(f"{options.destination} is ready, fingerprint {dataset.fingerprint[:16]}")
    return 0


def prepare(adapter: str, source: Path, destination: Path) -> None:
    """Copy a dataset; what an earlier call made is replaced when the new copy is complete, nothing else ever is."""
    if not source.is_dir():
        raise InputError(f"there is no folder {source}")
    if destination.exists() and not (destination / MARKER).is_file():
        raise InputError(f"{destination} exists and was not made by this command; choose another folder")
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        ADAPTERS[adapter](source, temporary)
        (temporary / MARKER).write_text(adapter + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        if destination.exists():
            shutil.rmtree(destination)
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
