"""The images of a dataset that lies in tar shards, as webdataset names them.

Of members whose names are the same up to the first dot, ``<key>.png`` (or another image) is the image,
``<key>.mask.png`` its mask, and ``<key>.json`` says what it is: ``{"split": "test", "defect": "scratch", "group":
"board 17"}``. ``<key>.cls`` holds the defect alone: its name, or a number, of which 0 is a good image. Where no label
says the split, the name of the shard does: ``train-000000.tar``, ``line7-test-000003.tar``.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from training_code.data.findings import FileFinding
from training_code.data.images import SUFFIXES
from training_code.data.sample import NORMAL, VALIDATION, Listed, Sample, listed_sample
from training_code.data.shards import Shard, read_shard
from training_code.foundation.errors import InputError

# Up to the first dot of the file's name, folders included; what is behind it says what the member is.
_KEY = re.compile(r"(?P<key>(?:.*/)?[^./][^/.]*)\.(?P<kind>[^/]+)")
_MASK = "mask."
_JSON, _CLASS = "json", "cls"
_SPLIT_OF_NAME = re.compile(r"(?<![a-z])(train|val|validation|test)(?![a-z])")
_KEYS = ("split", "defect", "group")


def read_shards(shards: Sequence[Path]) -> tuple[Listed, list[FileFinding]]:
    """Return the images in shards, and findings about members that belong to no image.

    Raises
    ------
    InputError
        If a shard cannot be read, an image has no split or two files of a kind, or a label is wrong.
    """
    samples: list[Sample] = []
    good_masks: list[Path] = []
    groups: dict[Path, str] = {}
    findings: list[FileFinding] = []
    for path in shards:
        shard = read_shard(path)
        for key, members in _by_key(path, shard).items():
            image, mask = members.get("image"), members.get("mask")
            if image is None:
                if mask is not None:
                    what = "is a mask without an image"
                    findings.append(FileFinding(path / mask, "mask without image", what, "skipped"))
                continue
            where = f"{path}: {image}"
            label = _label(path, key, members, shard.labels)
            split = label.get("split") or _split_of_name(path)
            if not split:
                raise InputError(f"{where} has no split: neither {key}.{_JSON} nor the name of the shard says it")
            mask_path = path / mask if mask else None
            sample = listed_sample(where, path / image, split, label.get("defect", ""), mask_path)
            if mask_path is not None and sample.defect_type == NORMAL:
                good_masks.append(mask_path)
                sample = Sample(sample.path, sample.split, NORMAL)
            if group := label.get("group"):
                groups[sample.path] = group
            samples.append(sample)
        findings += _unread(path, shard)
    if not samples:
        raise InputError(f"{shards[0].parent} holds shards without images; an image is a member <key>.png, or the like")
    return Listed(sorted(samples, key=lambda sample: sample.path.parts), good_masks, groups), findings


def _by_key(path: Path, shard: Shard) -> dict[str, dict[str, str]]:
    """Return the members that belong together, by their key: the name of each kind."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in shard.members:
        matched = _KEY.fullmatch(name)
        kind = _kind(matched["kind"].lower()) if matched else None
        if matched is None or kind is None:
            continue
        if (other := found[matched["key"]].setdefault(kind, name)) != name:
            raise InputError(f"{path}: {name} is a second {kind} of {matched['key']}, beside {other}")
    return found


def _kind(ending: str) -> str | None:
    if ending in (_JSON, _CLASS):
        return ending
    if f".{ending}" in SUFFIXES:
        return "image"
    return "mask" if ending.startswith(_MASK) and f".{ending.removeprefix(_MASK)}" in SUFFIXES else None


def _label(path: Path, key: str, members: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """Return what the labels of an image say, as text by `_KEYS`."""
    found: dict[str, str] = {}
    if _CLASS in members and (text := labels[members[_CLASS]].strip()):
        found["defect"] = NORMAL if text == "0" else text
    if _JSON in members:
        name = members[_JSON]
        try:
            content = json.loads(labels[name])
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: {name} is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise InputError(f'{path}: {name} is no label; valid: {{"split": "test", "defect": "scratch"}}')
        for each in _KEYS:
            if not isinstance(value := content.get(each, ""), str):
                raise InputError(f"{path}: {name} has the {each} {value!r}; valid: text")
            if value.strip():
                found[each] = value.strip()
    return found


def _split_of_name(path: Path) -> str:
    matched = _SPLIT_OF_NAME.search(path.stem.lower())
    return "" if matched is None else VALIDATION if matched[1] == "val" else matched[1]


def _unread(path: Path, shard: Shard) -> list[FileFinding]:
    """Return a finding if images of a shard are not read because of their names."""
    others = []
    for name in shard.members:
        matched = _KEY.fullmatch(name)
        kind = _kind(matched["kind"].lower()) if matched else None
        if kind is None and Path(name).suffix.lower() in SUFFIXES:
            others.append(name)
    if not others:
        return []
    what = f"holds {len(others)} images that are neither <key>.png nor <key>.mask.png, as {others[0]}: not read"
    return [FileFinding(path, "unread images", what, "skipped")]
