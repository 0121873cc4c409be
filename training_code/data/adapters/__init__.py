"""Converting published datasets and annotations of labeling programs to the layout that this project reads."""

from collections.abc import Callable, Sequence
from pathlib import Path

from training_code.data.adapters.btad import prepare_btad
from training_code.data.adapters.coco import prepare_coco
from training_code.data.adapters.copying import Target
from training_code.data.adapters.cvat import prepare_cvat
from training_code.data.adapters.deeppcb import prepare_deeppcb
from training_code.data.adapters.elpv import find_elpv, prepare_elpv
from training_code.data.adapters.kolektor import prepare_kolektor
from training_code.data.adapters.labelme import prepare_labelme
from training_code.data.adapters.magnetic_tile import prepare_magnetic_tile
from training_code.data.adapters.miic import prepare_miic
from training_code.data.adapters.mvtec import prepare_mvtec
from training_code.data.adapters.mvtec_ad_2 import prepare_mvtec_ad_2
from training_code.data.adapters.mvtec_loco import prepare_mvtec_loco
from training_code.data.adapters.real_iad import prepare_real_iad
from training_code.data.adapters.station import prepare_station
from training_code.data.adapters.visa import prepare_visa
from training_code.data.adapters.voc import prepare_voc
from training_code.data.adapters.yolo import prepare_yolo

#: Name of each adapter and the function that brings a dataset from a folder into another in MVTec layout.
ADAPTERS: dict[str, Callable[[Path, Target], None]] = {
    "btad": prepare_btad,
    "coco": prepare_coco,
    "cvat": prepare_cvat,
    "deeppcb": prepare_deeppcb,
    "elpv": prepare_elpv,
    "kolektor": prepare_kolektor,
    "labelme": prepare_labelme,
    "magnetic_tile": prepare_magnetic_tile,
    "miic": prepare_miic,
    "mvtec": prepare_mvtec,
    "mvtec_ad_2": prepare_mvtec_ad_2,
    "mvtec_loco": prepare_mvtec_loco,
    "real_iad": prepare_real_iad,
    "station": prepare_station,
    "visa": prepare_visa,
    "voc": prepare_voc,
    "yolo": prepare_yolo,
}
#: Adapters of datasets that are published as packages, and the function that finds the folder of the installed one.
INSTALLED: dict[str, Callable[[], Path]] = {"elpv": find_elpv}
#: Adapters that bring chosen views of parts only, and take their names as ``views``.
BY_VIEW: dict[str, Callable[[Path, Target, Sequence[str]], None]] = {"station": prepare_station}

__all__ = ["ADAPTERS", "BY_VIEW", "INSTALLED", "Target"]
