"""``python -m training_code.weights``: the weight files of the backbones, listed, added, checked, fetched."""

import sys
from pathlib import Path

from training_code.backbones.files import fingerprint, list_files
from training_code.backbones.published import WeightFile
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = command_parser("training_code.weights", __doc__)
    parser.add_argument("--folder", type=Path, default=paths.WEIGHTS, help="where the files lie (default: weights/)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every backbone with its file, size and SHA-256")
    add = commands.add_parser("add", help="check a weight file, convert it to safetensors and store it")
    add.add_argument("file", type=Path, metavar="FILE", help=".pth, .pt, .bin or .safetensors; it is left as it is")
    add.add_argument(
        "--as", dest="name", metavar="NAME", help="the backbone it is for; otherwise recognized by its tensors"
    )
    commands.add_parser("check", help="reload every file and compare its fingerprint")
    fetch = commands.add_parser("fetch", help="fetch weights from the model hub through timm")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="a registered backbone or another name of timm's")
    for command in (add, fetch):
        command.add_argument("--replace", action="store_true", help="replace the file that is there")
    options = parser.parse_args(arguments)
    if options.command == "list":
        return list_weights(options.folder)
    if options.command == "check":
        return check(options.folder)
    # Only now, since torch and timm take 3.5 s, which help, wrong arguments and the list go without.
    from training_code.backbones.store import add_weights, fetch_weights, tf_variant

    if options.command == "add":
        path = add_weights(options.file, options.name, options.folder, options.replace)
        _print_stored(path)
        if options.name is None and (other := tf_variant(path)):
            print(f"its tensors fit timm's {other} as well; if it is that one, add it with --as {other}")
    else:
        for name in options.names:
            _print_stored(fetch_weights(name, options.folder, options.replace))
    return 0


def list_weights(folder: Path) -> int:
    """Print every registered backbone, every file that detectors need beside one, and all others that are there."""
    published = _published()
    files: dict[str, list[Path]] = {name: [] for name in published} | list_files(folder)
    width = max(len(name) for name in files)
    for name, found in files.items():
        if not found:
            carried = ", made from an installed package when it is first needed" if name == "efficientnet_lite0" else ""
            other = published.get(name)
            comes = f", {other.holds}, from {other.source}, license {other.license}" if other else ""
            print(f"{name:{width}}  missing{carried}{comes}")
        for number, path in enumerate(found):
            state = "present " if number == 0 else "not used"
            size = path.stat().st_size / 2**20
            print(f"{name:{width}}  {state}  {size:6.1f} MiB  {fingerprint(path)}  {paths.relative_to_home(path)}")
    return 0


def check(folder: Path) -> int:
    """Reload every file that is used; print a line for each; return 1 if one cannot be used."""
    # Here, as in `main`.
    from training_code.backbones.check import check_tensors, check_weights

    status = 0
    present = {name: found[0] for name, found in list_files(folder).items() if found}
    if not present:
        print(f"there are no weight files in {folder}")
    for name, path in present.items():
        try:
            checked = check_tensors(path) if name in _published() else check_weights(path, name)
            print(f"{name}: {checked}", flush=True)
        except (InputError, OSError) as error:
            print(f"{name}: NOT GOOD, {error}", flush=True)
            status = 1
    return status


def _published() -> dict[str, WeightFile]:
    """Return the files that detectors need beside backbones, by name."""
    return {file.name: file for spec in DETECTORS.values() for file in spec.published}


def _print_stored(path: Path) -> None:
    """Print which file was stored; findings about it are kept, so that plans need not read it."""
    find_weights(get_backbone(path.stem), path.parent)
    print(f"{paths.relative_to_home(path)}  {path.stat().st_size / 2**20:.1f} MiB  sha256 {fingerprint(path)}")


if __name__ == "__main__":
    sys.exit(run_command(main))
