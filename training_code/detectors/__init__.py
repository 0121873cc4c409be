"""Detectors: a folder each with its specification, their checked configurations, and how one is built.

The classes are attributes of this package, imported on first use, as by
``from training_code.detectors import Padim``.
"""

from typing import TYPE_CHECKING, Any

from training_code.detectors.registry import DETECTORS

if TYPE_CHECKING:
    from training_code.detectors.autoencoder.model import Autoencoder as Autoencoder
    from training_code.detectors.cflow.model import Cflow as Cflow
    from training_code.detectors.combined.model import Combined as Combined
    from training_code.detectors.dinomaly.model import Dinomaly as Dinomaly
    from training_code.detectors.draem.model import Draem as Draem
    from training_code.detectors.dsr.model import Dsr as Dsr
    from training_code.detectors.feature_segmenter.model import FeatureSegmenter as FeatureSegmenter
    from training_code.detectors.foundad.model import FoundAD as FoundAD
    from training_code.detectors.general_ad.model import GeneralAD as GeneralAD
    from training_code.detectors.inp_former.model import InpFormer as InpFormer
    from training_code.detectors.padim.model import Padim as Padim
    from training_code.detectors.patchcore.model import Patchcore as Patchcore
    from training_code.detectors.supersimplenet.model import Supersimplenet as Supersimplenet
    from training_code.detectors.unet.model import Unet as Unet


def __getattr__(name: str) -> Any:
    if name not in DETECTORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return DETECTORS[name].load()
