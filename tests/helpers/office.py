"""LibreOffice without a window: what a spreadsheet program makes of a workbook."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: The program, None where it is not installed.
SOFFICE = shutil.which("soffice")


def convert(kind: str, files: Sequence[Path], folder: Path) -> None:
    """Open files, calculate, and save them as another kind below ``folder / "out"``."""
    command = ["soffice", f"-env:UserInstallation=file://{folder}/profile", "--headless", "--convert-to", kind]
    command += ["--outdir", str(folder / "out"), *map(str, files)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
