"""BTAD: P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti, "VT-ADL", 2021.

Published as ``01``, ``02`` and ``03``, each with ``train/ok``, ``test/ok``, ``test/ko`` and ``ground_truth/ko``.
"""

from pathlib import Path

from training_code.data.adapters.copying import Target
from training_code.data.adapters.mvtec import prepare_category
from training_code.errors import InputError


def prepare_btad(source: Path, target: Target) -> None:
    """Bring every product below ``source``, or ``source`` itself, into ``target``."""
    if (source / "train" / "ok").is_dir():
        prepare_category(source, target)
        return
    products = sorted(folder for folder in source.iterdir() if (folder / "train" / "ok").is_dir())
    if not products:
        raise InputError(f"{source} is not BTAD as published: there is no folder train/ok in it or in 01, 02, 03")
    for product in products:
        prepare_category(product, Target(target.root / product.name, target.link))
