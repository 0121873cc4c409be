"""Detectors: a folder each with its specification, their checked configurations, and how one is built.

The classes are attributes of this package, imported on first use, as by
``from training_code.detectors import Padim``.
"""

from typing import TYPE_CHECKING, Any

from training_code.detectors.registry import DETECTORS

if TYPE_CHECKING:
    from training_code.detectors.anomaly_dino.model import AnomalyDINO as AnomalyDINO
    from training_code.detectors.anomalyvfm.model import AnomalyVFM as AnomalyVFM
    from training_code.detectors.autoencoder.model import Autoencoder as Autoencoder
    from training_code.detectors.cfa.model import Cfa as Cfa
    from training_code.detectors.cflow.model import Cflow as Cflow
    from training_code.detectors.combined.model import Combined as Combined
    from training_code.detectors.csflow.model import Csflow as Csflow
    from training_code.detectors.dfkde.model import Dfkde as Dfkde
    from training_code.detectors.dfm.model import Dfm as Dfm
    from training_code.detectors.dinomaly.model import Dinomaly as Dinomaly
    from training_code.detectors.draem.model import Draem as Draem
    from training_code.detectors.dsr.model import Dsr as Dsr
    from training_code.detectors.efficient_ad.model import EfficientAd as EfficientAd
    from training_code.detectors.fastflow.model import Fastflow as Fastflow
    from training_code.detectors.feature_segmenter.model import FeatureSegmenter as FeatureSegmenter
    from training_code.detectors.foundad.model import FoundAD as FoundAD
    from training_code.detectors.fre.model import Fre as Fre
    from training_code.detectors.ganomaly.model import Ganomaly as Ganomaly
    from training_code.detectors.general_ad.model import GeneralAD as GeneralAD
    from training_code.detectors.glass.model import Glass as Glass
    from training_code.detectors.inp_former.model import InpFormer as InpFormer
    from training_code.detectors.l2bt.model import L2BT as L2BT
    from training_code.detectors.mh_patchcore.model import MHPatchcore as MHPatchcore
    from training_code.detectors.padim.model import Padim as Padim
    from training_code.detectors.patchcore.model import Patchcore as Patchcore
    from training_code.detectors.patchflow.model import Patchflow as Patchflow
    from training_code.detectors.rad.model import Rad as Rad
    from training_code.detectors.reverse_distillation.model import ReverseDistillation as ReverseDistillation
    from training_code.detectors.stfpm.model import Stfpm as Stfpm
    from training_code.detectors.subspace.model import Subspace as Subspace
    from training_code.detectors.super_add.model import SuperADD as SuperADD
    from training_code.detectors.supersimplenet.model import Supersimplenet as Supersimplenet
    from training_code.detectors.uflow.model import Uflow as Uflow
    from training_code.detectors.unet.model import Unet as Unet
    from training_code.detectors.uninet.model import UniNet as UniNet
    from training_code.detectors.winclip.model import WinClip as WinClip


def __getattr__(name: str) -> Any:
    if name not in DETECTORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return DETECTORS[name].load()
