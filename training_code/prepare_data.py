"""``python -m training_code.prepare_data ADAPTER SRC DST``: bring a dataset into the layout that is read."""

import dataclasses
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from training_code.data.adapters import ADAPTERS, BY_VIEW, INSTALLED, Target
from training_code.data.dataset import examine
from training_code.data.description import MASK_THRESHOLD
from training_code.data.excluded import EXCLUDE
from training_code.data.findings import FileFinding, is_missing
from training_code.data.groups import GROUPS
from training_code.data.layout import DESCRIPTION, DESCRIPTION_KEYS, Found, find_samples
from training_code.data.region_of_interest import PICTURE, POLYGONS
from training_code.data.report import is_complete, is_usable
from training_code.data.unread import find_unread
from training_code.data.walk import check_apart
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices, run_command
from training_code.foundation.program import called, command_parser
from training_code.foundation.yaml_files import read_yaml

#: Marks a folder that this command made and may replace.
MARKER = ".prepared"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if the dataset cannot be used or a part of the source was left out."""
    parser = command_parser("training_code.prepare_data", __doc__)
    parser.add_argument("adapter", choices=sorted([*ADAPTERS, "folder"]), help="how the dataset is published")
    packages = f"for {choices(INSTALLED)} not needed: that comes from its package"
    parser.add_argument("source", type=Path, nargs="?", metavar="SRC", help=f"its folder; never changed; {packages}")
    help_text = "the new folder, for instance data/tiles; where SRC is not needed, by default data/ADAPTER"
    parser.add_argument("destination", type=Path, nargs="?", metavar="DST", help=help_text)
    parser.add_argument("--link", action="store_true", help="link to the images, do not copy them")
    for key in DESCRIPTION_KEYS:
        option = f"--{key.replace('_', '-')}"
        parser.add_argument(option, metavar="DIR", help=f"folder: its {key}, from SRC (used in place, not copied)")
    parser.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="NAME",
        help="for station: a view; may be repeated (default: all)",
    )
    # With the usual `parse_args` folders that may be left out could not follow an option.
    options = parser.parse_intermixed_args(arguments)
    source, destination = options.source, options.destination
    if destination is None:  # a folder alone is the new one
        if options.adapter not in INSTALLED:
            parser.error(f"{'DST is' if source else 'SRC and DST are'} missing: {options.adapter} needs both")
        source, destination = INSTALLED[options.adapter](), source or paths.DATA / options.adapter
    folders = {key: getattr(options, key) for key in DESCRIPTION_KEYS if getattr(options, key) is not None}
    findings = prepare(options.adapter, source, destination, options.link, folders, options.view)
    return _report(destination.resolve(), _print_findings(source, findings))


def prepare(
    adapter: str,
    source: Path,
    destination: Path,
    link: bool = False,
    folders: dict[str, str] | None = None,
    views: Sequence[str] = (),
) -> list[FileFinding]:
    """Bring a dataset into ``destination``; what an earlier call made is replaced when the new one is complete.

    It returns the findings about files of the source: what was left out, and how masks were read.

    Parameters
    ----------
    adapter
        A name of `ADAPTERS`, or ``"folder"``, which describes folders under any names where they are.
    source
        The dataset; never changed.
    destination
        The new folder. One that was not made by this function is never touched.
    link
        Whether images are linked to, not copied.
    folders
        For ``"folder"``: paths from ``source`` by the keys of `DESCRIPTION_KEYS`.
    views
        For adapters of `BY_VIEW`: names of the views that are brought; all of them if empty.

    Raises
    ------
    InputError
        If the source is not what the adapter expects, or the destination must not be replaced.
    """
    if not source.is_dir():
        raise InputError(f"there is no folder {source}")
    if destination.exists() and not (destination / MARKER).is_file():
        raise InputError(f"{destination} exists and was not made by this command; choose another folder")
    if views and adapter not in BY_VIEW:
        raise InputError(f"--view is for {choices(BY_VIEW)}, not for {adapter}")
    check_apart({"source": source, "destination": destination})
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        target = Target(temporary, link)
        if adapter == "folder":
            _describe(source.resolve(), temporary, folders or {})
            findings = _left_in(source.resolve(), find_samples(temporary))
        elif folders:
            raise InputError(f"--{next(iter(folders)).replace('_', '-')} is for the adapter folder, not for {adapter}")
        else:
            if views:
                BY_VIEW[adapter](source, target, views)
            else:
                ADAPTERS[adapter](source, target)
            target.write_groups()
            findings = target.findings + find_unread(source, target.read, target.findings, True, adapter)
        categories = [entry.name for entry in temporary.iterdir() if entry.is_dir() and not entry.is_symlink()]
        for name in (".", *categories):
            _keep_what_people_wrote(destination / name, temporary / name)
        (temporary / MARKER).write_text(adapter + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        old = Path(f"{temporary}.old")
        if destination.exists():
            destination.rename(old)
        temporary.rename(destination)
        shutil.rmtree(old, ignore_errors=True)
        return findings
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep_what_people_wrote(before: Path, now: Path) -> None:
    """Copy what people wrote into a dataset into the one that replaces it; adapters make nothing of it but groups."""
    for name in (EXCLUDE, PICTURE, POLYGONS, GROUPS):
        if (before / name).is_file() and not (now / name).exists():
            shutil.copy(before / name, now)
    told = read_yaml(before / DESCRIPTION) if (before / DESCRIPTION).is_file() else None
    if isinstance(told, dict) and MASK_THRESHOLD in told:
        content = read_yaml(now / DESCRIPTION) if (now / DESCRIPTION).is_file() else {}
        _write_description(now, {MASK_THRESHOLD: told[MASK_THRESHOLD]} | content)


def _write_description(folder: Path, content: dict[str, Any]) -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def _describe(source: Path, target: Path, folders: dict[str, str]) -> None:
    """Write the description of folders that stay where they are."""
    if "normal_dir" not in folders:
        raise InputError("the adapter folder needs --normal-dir, the folder of the defect-free images")
    for key, folder in folders.items():
        if not (source / folder).is_dir():
            found = sorted(entry.name for entry in source.iterdir() if entry.is_dir())
            raise InputError(f"there is no folder {folder!r} in {source} ({key}); found {', '.join(found) or 'none'}")
    check_apart({key: source / folder for key, folder in folders.items()})
    content = {key: str((source / folder).resolve()) for key, folder in folders.items()}
    _write_description(target, content)


def _left_in(source: Path, found: Found) -> list[FileFinding]:
    """Return what the description of folders leaves out of their source, as it was asked to."""
    read = [path for sample in found.samples for path in (sample.path, sample.mask) if path]
    unread = find_unread(source, read, found.findings, True, "folder")
    return [dataclasses.replace(finding, kind="left out") for finding in unread]


def _print_findings(source: Path, findings: Sequence[FileFinding]) -> int:
    """Print the findings about the source; return 1 if something of it was not read."""
    groups: dict[tuple[str, str], list[FileFinding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.what), []).append(finding)
    for group in groups.values():
        path = group[0].path
        name = path.relative_to(source).as_posix() if path != source and path.is_relative_to(source) else str(path)
        others = f" (and {len(group) - 1} others)" if len(group) > 1 else ""
        print(f"        {name} {group[0].what}{others}")
    return int(any(is_missing(finding) for finding in findings))


def _report(destination: Path, status: int) -> int:
    """Print what was made; return the exit status, at least ``status``, that of the source."""
    usable = []
    made = "is ready" if not status else "is made, but NOT EVERYTHING OF THE SOURCE IS IN IT"
    for folder in _datasets(destination):
        dataset = examine(folder)
        for name, count in dataset.counts.items():
            print(f"{count:6d}  {name}")
        for note in dataset.notes:
            print(f"        {note.message}")
        state = made if is_complete(dataset) else "can be used, but NOT EVERYTHING IN IT IS READ"
        status = max(status, int(not is_complete(dataset)))
        if is_usable(dataset):
            usable.append(folder)
        else:
            status, state = 1, "CANNOT BE USED yet (python -m training_code.check_data says why)"
        print(f"{folder} {state}, fingerprint {dataset.fingerprint[:16]}")
    for folder in usable[:1]:
        data = paths.DATA.resolve()
        shown = folder.relative_to(data) if folder.is_relative_to(data) else folder
        print(f"next: {called(Path.cwd())} check-data {shlex.quote(str(shown))}")
    return status


def _datasets(destination: Path) -> Sequence[Path]:
    """Return the folder itself, or those of its categories."""
    if (destination / "train").is_dir() or (destination / DESCRIPTION).is_file():
        return [destination]
    return sorted(folder for folder in destination.iterdir() if (folder / "train").is_dir())


if __name__ == "__main__":
    sys.exit(run_command(main))
