"""The file of the workbook: which files are written to, and that nobody's work is written over."""

import datetime
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from openpyxl import Workbook
from openpyxl.chartsheet import Chartsheet
from openpyxl.worksheet.worksheet import Worksheet

from training_code.foundation.errors import InputError
from training_code.foundation.files import atomic_path
from training_code.reporting.losses import find_losses


class ChangedError(Exception):
    """Somebody saved the workbook after it was read."""


def check_output(path: Path) -> Path:
    """Return the file that a workbook is written to, where a link leads.

    Raises
    ------
    InputError
        If it cannot or must not be written.
    """
    if path.suffix.lower() == ".xlsm":
        raise InputError(f"{path}: macros cannot be kept; name a file that ends in .xlsx")
    if path.suffix.lower() != ".xlsx":
        raise InputError(
            f"{path} is no name of a workbook, which ends in .xlsx; "
            "--format csv, parquet, markdown or latex writes one sheet to another kind of file"
        )
    target = check_file(path)
    for place in {path, target}:
        for lock in (place.with_name(f"~${place.name}"), place.with_name(f".~lock.{place.name}#")):
            if lock.exists():
                raise InputError(f"{path} is open in a spreadsheet program ({lock.name} is there); close it first")
    return target


def check_file(path: Path) -> Path:
    """Return the file that is written to, where a link leads; refuse what is none, or is read-only."""
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} is a link that leads nowhere ({error})") from error
    if target.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    # Also for the administrator, who may write to any file: it was made read-only for a reason.
    if target.exists() and (not os.access(target, os.W_OK) or not stat.S_IMODE(target.stat().st_mode) & 0o222):
        raise InputError(f"{path} is read-only; make it writable (chmod u+w) or give another --output")
    folder = next(folder for folder in target.parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{folder} is no folder that can be written to; give another --output")
    return target


def open_on(workbook: Workbook, sheet: Worksheet | Chartsheet | None) -> None:
    """Have a workbook open on a sheet, on the first visible one where that is not seen, and select it alone."""
    visible = [each for each in workbook._sheets if each.sheet_state == "visible"]
    chosen = sheet if sheet in visible else next(iter(visible), None)
    for each in workbook._sheets:
        for view in (each.sheetViews if isinstance(each, Chartsheet) else each.views).sheetView:
            view.tabSelected = each is chosen
    if chosen is not None:
        workbook.active = chosen
        for window in workbook.views:  # so that its tab is among those that are seen
            window.firstSheet = min(window.firstSheet or 0, workbook._sheets.index(chosen))


def save(workbook: Workbook, target: Path, content: bytes | None, lost: Sequence[str]) -> list[str]:
    """Write a workbook in place of what was read; return what people should know.

    Parameters
    ----------
    content
        What was read, None where there was nothing.
    lost
        What cannot be kept; a copy is made before that goes.

    Raises
    ------
    ChangedError
        If somebody saved the file after it was read: nothing is written.
    """
    with atomic_path(target) as temporary:
        workbook.save(temporary)
        lost = list(lost)
        if content is not None:
            shutil.copymode(target, temporary)
            lost += find_losses(content, temporary.read_bytes())
        if (target.read_bytes() if target.exists() else None) != content:
            raise ChangedError
        check_output(target)
        told = _copy_before(target, content, list(dict.fromkeys(lost))) if lost and content is not None else []
    return told


def _copy_before(target: Path, content: bytes, lost: list[str]) -> list[str]:
    """Write the workbook as it was beside the new one; return what is in it alone."""
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    copy, number = target.with_name(f"{target.stem}.before-{now}{target.suffix}"), 1
    while copy.exists():
        number += 1
        copy = target.with_name(f"{target.stem}.before-{now}-{number}{target.suffix}")
    with atomic_path(copy) as temporary:
        temporary.write_bytes(content)
        shutil.copymode(target, temporary)
    return [
        f"not everything could be kept; {copy.name} is the workbook as it was, with:",
        *(f"- {name}" for name in lost),
    ]
