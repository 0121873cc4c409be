"""BTAD: P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti, "VT-ADL", 2021.

Published as ``01``, ``02`` and ``03``, each with ``train/ok``, ``test/ok``, ``test/ko`` and ``ground_truth/ko``.
"""

from pathlib import Path

from training_code.data.adapters.copying import Target
from training_code.data.adapters.mvtec import prepare_categories


def prepare_btad(source: Path, target: Target) -> None:
    """Bring every product below ``source``, or ``source`` itself, into ``target``."""
    prepare_categories(source, target, "train/ok", "as BTAD is published")
