"""Tar shards as webdataset has them, made of a folder in the MVTec layout."""

import io
import json
import tarfile
from pathlib import Path


def add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a shard."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


def make_shards(folder: Path, root: Path, images: int = 10) -> Path:
    """Write the images of ``folder`` with their masks and labels into shards of so many images in ``root``."""
    root.mkdir(parents=True)
    files = sorted(folder.glob("t*/*/*.png"))
    for begin in range(0, len(files), images):
        with tarfile.open(root / f"part-{begin // images:06d}.tar", "w") as shard:
            for number, path in enumerate(files[begin : begin + images], begin):
                split, defect = path.parts[-3:-1]
                add(shard, f"{number:05d}.png", path.read_bytes())
                mask = folder / "ground_truth" / defect / f"{path.stem}_mask.png"
                if mask.exists():
                    add(shard, f"{number:05d}.mask.png", mask.read_bytes())
                add(shard, f"{number:05d}.json", json.dumps({"split": split, "defect": defect, "camera": 3}).encode())
    return root
