"""``python -m training_code.check_data PATH``: what is in a dataset folder, and what is wrong with it.

With ``--suspicious`` the training images that look unlike the others are listed, too; ``--exclude`` leaves images out.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from training_code.data.dataset import Dataset, examine
from training_code.data.excluded import EXCLUDE, exclude
from training_code.data.joined import join, shared_images
from training_code.data.layout import find_samples
from training_code.data.places import locate, names_of
from training_code.data.report import is_complete, is_usable, report
from training_code.foundation.collection import rarely_collecting
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

_SHOWN = 20


@rarely_collecting()
def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if the dataset cannot be used or is not read completely."""
    parser = command_parser("training_code.check_data", __doc__)
    parser.add_argument("path", metavar="PATH", help="a folder in data/ or a path; several with + between them: a+b")
    _add_suspicious(parser)
    parser.add_argument(
        "--exclude", nargs="+", metavar="IMAGE", help=f"first add images to the {EXCLUDE} of the folder"
    )
    parser.add_argument("--reason", help="why these are excluded, for people")
    options = parser.parse_args(arguments)
    names = names_of(options.path)
    if options.reason is not None and not options.exclude:
        raise InputError("--reason says why images are excluded, and --exclude names none")
    if len(names) > 1 and (options.exclude or options.suspicious is not None):
        raise InputError(f"--exclude and --suspicious are for a single dataset, not for {options.path}")
    if options.exclude:
        _exclude(locate(names[0]), options.exclude, options.reason or "")
    datasets = [examine(name) for name in names]
    print("\n\n".join(map(report, datasets)))
    usable, complete = all(map(is_usable, datasets)), all(map(is_complete, datasets))
    if usable and len(datasets) > 1:
        usable = _can_be_joined(datasets)
    if usable and options.suspicious is not None:
        _list_suspicious(datasets[0], options.suspicious, options.backbone, options.image_size, options.sheet)
    return 0 if usable and complete else 1


def _can_be_joined(datasets: Sequence[Dataset]) -> bool:
    """Say whether datasets can be joined, and which images two of them have; return whether they can."""
    try:
        joined = join(datasets)
    except InputError as error:
        print(f"\nTHEY CANNOT BE JOINED: {error}")
        return False
    print(f"\n{joined.name}: they can be joined, fingerprint {joined.fingerprint[:16]}")
    print("".join(f"  {each.treatment:9}  {joined.sentence(each)}\n" for each in shared_images(joined)), end="")
    return True


def _add_suspicious(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--suspicious",
        nargs="?",
        type=int,
        const=_SHOWN,
        metavar="N",
        help=f"list the N training images that look least like the others ({_SHOWN})",
    )
    parser.add_argument("--backbone", help="whose features they are compared by (efficientnet_lite0)")
    parser.add_argument("--image-size", type=int, help="height and width in pixels at which they are compared (256)")
    parser.add_argument("--sheet", metavar="FILE", help="a PNG file for a picture of them with their maps")


def _exclude(root: Path, names: list[str], reason: str) -> None:
    found = find_samples(root)
    images = [sample.path for sample in [*found.samples, *found.excluded]]
    added = exclude(root, images, names, reason)
    print(f"{root / EXCLUDE}: {len(added)} images added, {len(names) - len(added)} were there\n")


def _list_suspicious(
    dataset: Dataset, shown: int, backbone: str | None, image_size: int | None, sheet: str | None
) -> None:
    # Here, since they bring torch and anomalib, which take 15 s to import and 0.5 GiB.
    from training_code.display.examples import save_picture
    from training_code.display.suspicious import draw_suspicious
    from training_code.suspicious import BACKBONE, IMAGE_SIZE, find_suspicious

    found = find_suspicious(dataset, shown, backbone or BACKBONE, IMAGE_SIZE if image_size is None else image_size)
    print(f"\n{found.sentence()}\n")
    print(found.table(dataset.root).to_string(index=False, float_format="{:.3f}".format))
    if sheet is not None:
        save_picture(draw_suspicious(found), Path(sheet))
        print(f"\n{sheet} shows them with their maps")
    print(f"\nleave out what is wrong: anomaly check-data {dataset.root} --exclude IMAGE … --reason '…'")


if __name__ == "__main__":
    sys.exit(run_command(main))
