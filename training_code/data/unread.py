"""Files in a dataset folder that are not read, and problematic names: reported, so that nothing is lost silently."""

import json
import os
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from functools import cache
from pathlib import Path

from training_code.data.findings import FileFinding
from training_code.data.images import SUFFIXES, image_format
from training_code.data.pairing import folded
from training_code.data.published import adapter_hint, find_adapter
from training_code.data.walk import find_images, find_others, find_unread_images, links_in
from training_code.foundation.errors import choices
from training_code.foundation.program import called

_SHOWN = 6  # folders
_LABEL_COLORS = "annotation_definitions.json"  # of Unity's Perception package
_PROGRAMS = ("labelme", "coco", "cvat", "voc", "yolo")  # adapters that read annotations
_LARGEST_LABELS = 64 * 2**20  # bytes
_TRIED = 20  # files of annotations in a folder: those of defect-free images may be empty
_XML_PROGRAMS = {b"annotations": "cvat", b"annotation": "voc"}  # by the root of a file
_XML_ROOT = re.compile(rb"<(\w+)[\s>]")
# A line of YOLO: the number of a class, and parts of width and height.
_YOLO = re.compile(rb"\s*(?=[^\n]*\.)\d+(?:[ \t]+(?:0?\.\d+(?:e-\d+)?|[01](?:\.0*)?)){4,}[ \t\r]*(?:\n|$)")
_BEGINNING = 4096  # bytes that say of which program a file is


def find_unread(
    root: Path,
    read: Iterable[Path],
    findings: Iterable[FileFinding],
    labeled: bool = False,
    adapter: str | None = None,
    ignored: Sequence[Path] = (),
) -> list[FileFinding]:
    """Return what is not read of a dataset folder: other images, images of unknown kinds, files of annotations.

    Parameters
    ----------
    root
        The folder.
    read
        Images and masks that are read.
    findings
        What is known already; files that these are about are not named again.
    labeled
        Whether there are masks: then annotations are mentioned, but not counted as missing.
    adapter
        The adapter that read the folder, None for the layouts that are read without one.
    ignored
        Folders that the description of the dataset says are not read.
    """
    _real_folder.cache_clear()  # links may have changed
    sources, unread = _segmentations(root, labeled)
    apart = {Path(os.path.realpath(folder)) for folder in [*ignored, *sources]}
    known = set(read)
    # Those of other paths, of which few are left; by a link such a path may lead to a file that is read.
    if others := [path for path in find_images(root) if path not in known]:
        used = {_real(path) for path in known}
        told = used | {_real(finding.path) for finding in findings if finding.kind != "no image"}
        left = [path for path in others if (real := _real(path)) not in told and not _is_below(real, apart)]
        unread += group_unread(root, left, used)
    unread += [
        FileFinding(path, "unread images", f"is an image by its content ({name}), and is not read", "skipped")
        for path, name in find_unread_images(root).items()
        if not _is_below(_real(path), apart)
    ]
    unread += [finding for finding in _annotations(root, labeled) if adapter not in _PROGRAMS]
    if (unread or not labeled) and find_adapter(root) not in (None, adapter):
        what = f"is not read completely: {adapter_hint(root)}"
        unread.append(FileFinding(root, "published layout", what, "kept" if labeled else "skipped"))
    return unread


def reading_hint(root: Path) -> str:
    """Return which adapter reads a folder that has no known layout, by its folders or its annotations; or nothing."""
    found = _annotations(root, labeled=False)
    return adapter_hint(root) or (f"{found[0].path.relative_to(root)} {found[0].what}" if found else "")


def renaming_hint(root: Path, normal: Sequence[str], abnormal: Sequence[str]) -> str:
    """Return how a folder is read whose folders of images have names that are not known; nothing without any.

    Of two folders the one with more images is taken for that of the good ones, unless its name says otherwise, and the
    sentence says so.

    Parameters
    ----------
    root
        The folder.
    normal, abnormal
        The names that are known of good images, and of images with defects.
    """
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    counts = {folder.name: len(images) for folder in folders if (images := find_images(folder))}
    names = sorted(counts, key=lambda name: (name.lower() in abnormal, -counts[name]))
    if not names or names[0].lower() in abnormal:
        return ""
    good, *bad = map(shlex.quote, names) if len(names) < 3 else ("GOOD", "BAD")
    them = f"them to {normal[0]} and {abnormal[0]}" if bad else f"it to {normal[0]}"
    options = " ".join([f"--normal-dir {good}", *(f"--abnormal-dir {name}" for name in bad)])
    command = f"{called(Path.cwd())} prepare-data folder {shlex.quote(str(root))} data/NAME {options}"
    return f"; rename {them}, or, if the good images are in {good}: {command}"


def group_unread(root: Path, left: Sequence[Path], used: Iterable[str]) -> list[FileFinding]:
    """Return a finding for each folder that holds images which are not read, with their number."""
    busy = {folder for parent in {os.path.dirname(path) for path in used} for folder in Path(parent, "_").parents}
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in left:
        above = [root / part for part in reversed(path.relative_to(root).parents[:-1])]
        groups[next((folder for folder in above if Path(_real_folder(str(folder))) not in busy), path.parent)].append(
            path
        )
    return [
        FileFinding(folder, "unread images", f"holds {_counted(folder, paths)}", "skipped")
        for folder, paths in sorted(groups.items())
    ]


def no_images(folders: Iterable[Path]) -> list[FileFinding]:
    """Return the files in folders of images that are not images."""
    found = [path for folder in folders for path in find_others(folder) if not image_format(path)]
    what = f"is no image by its name or content; read are {choices(sorted(SUFFIXES))}"
    return [FileFinding(path, "no image", what, "skipped") for path in found]


def problematic_names(root: Path, files: Sequence[Path]) -> list[FileFinding]:
    """Return names that cause problems on other systems, and links that lead out of the folder."""
    findings = []
    inside = root.resolve()
    by_folder: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_folder[os.path.dirname(path)].append(path)
    alike: dict[str, list[Path]] = defaultdict(list)
    for folder in by_folder:
        alike[folded(folder)].append(Path(folder))
    for folder, paths in by_folder.items():
        links, above = links_in(folder), folded(folder)
        for path in paths:
            name = path.name
            try:
                str(path).encode()  # names of folders too
            except UnicodeEncodeError:
                findings.append(FileFinding(path, "name", "has a name that is not valid UTF-8; rename it", "refused"))
            if name in links and not Path(os.path.realpath(path)).is_relative_to(inside):
                findings.append(FileFinding(path, "link", "is a link to a file outside of the folder", "kept"))
            alike[f"{above}/{folded(name)}"].append(path)
    for paths in alike.values():
        for path in paths[1:]:
            how = "only in case" if path.name.lower() == paths[0].name.lower() else "only in the form of its letters"
            what = f"differs from {paths[0].name} {how}; on other systems the two may be one file"
            findings.append(FileFinding(path, "name", what, "kept"))
    return findings


def _counted(folder: Path, paths: Sequence[Path]) -> str:
    """Return how many images there are, and where below the folder."""
    counts = Counter(path.relative_to(folder).parts[0] for path in paths if path.parent != folder)
    shown = [f"{name} {count}" for name, count in sorted(counts.items())[:_SHOWN]]
    more = [f"{len(counts) - _SHOWN} other folders"] if len(counts) > _SHOWN else []
    where = f" ({choices(shown + more)})" if counts else ""
    return f"{len(paths)} image{'s' if len(paths) > 1 else ''}{where} not read"


def _annotations(root: Path, labeled: bool) -> list[FileFinding]:
    """Find files of labeling programs, one finding for each folder that has them and each kind of file."""
    by_folder: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in find_others(root):
        if (suffix := path.suffix.lower()) in _READERS:
            by_folder[path.parent, suffix].append(path)
    findings = []
    for (_, suffix), paths in by_folder.items():
        if program := next(filter(None, map(_READERS[suffix], paths[:_TRIED])), None):
            number = f" (one of {len(paths)} files in its folder)" if len(paths) > 1 else ""
            what = (
                f"has annotations of {program}{number}, which are not read: python -m training_code.prepare_data "
                f"{program} {root} NEW_FOLDER draws masks of them"
            )
            findings.append(FileFinding(paths[0], "annotations", what, "kept" if labeled else "skipped"))
    return findings


def _segmentations(root: Path, labeled: bool) -> tuple[list[Path], list[FileFinding]]:
    """Find folders of segmentations in the colors of labels; if there are masks, they were made from these."""
    folders = sorted({path.parent for path in find_others(root) if path.name == _LABEL_COLORS})
    what = (
        f"holds a segmentation with the colors of its labels ({_LABEL_COLORS}), which is not read: "
        "python -m training_code.data.masks.mask_builder makes masks of it"
    )
    return folders, [] if labeled else [FileFinding(folder, "annotations", what, "skipped") for folder in folders]


def _program_of_json(path: Path) -> str | None:
    """Return the adapter for a file of annotations, by the keys that it has."""
    try:
        if path.stat().st_size > _LARGEST_LABELS:
            return None
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    keys = set(content) if isinstance(content, dict) else set()
    if {"shapes", "imagePath"} <= keys:
        return "labelme"
    return "coco" if {"images", "annotations", "categories"} <= keys else None


def _program_of_xml(path: Path) -> str | None:
    """Return the adapter for a file of annotations, by its root."""
    found = _XML_ROOT.search(_beginning(path))
    return _XML_PROGRAMS.get(found[1]) if found else None


def _program_of_text(path: Path) -> str | None:
    """Return the adapter for a file of annotations, by its first line."""
    return "yolo" if _YOLO.match(_beginning(path)) else None


def _beginning(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            return b""
        with open(path, "rb") as file:
            return file.read(_BEGINNING)
    except OSError:
        return b""


#: What tells of which program a file is, by the ending of its name.
_READERS = {".json": _program_of_json, ".xml": _program_of_xml, ".txt": _program_of_text}


def _real(path: Path) -> str:
    """Return where a file is after following links to folders; a link to a file counts as a file of its own."""
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(folder), name)


@cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _is_below(path: str, folders: Set[Path]) -> bool:
    return bool(folders) and not folders.isdisjoint(Path(path).parents)
