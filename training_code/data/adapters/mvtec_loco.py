"""MVTec LOCO AD: P. Bergmann, K. Batzner, M. Fauser, D. Sattlegger, C. Steger, "Beyond Dents and Scratches", IJCV 2022.

Published as a folder for each category with ``train/good``, ``validation/good``, ``test/good``,
``test/logical_anomalies``, ``test/structural_anomalies``, and a folder of masks for each image,
``ground_truth/<defect type>/NAME/000.png`` and so on.
"""

from pathlib import Path

import numpy as np

from training_code.data.adapters.copying import Target
from training_code.data.adapters.mvtec import category_folders
from training_code.data.adapters.mvtec_ad_2 import add_training
from training_code.data.walk import find_images


def prepare_mvtec_loco(source: Path, target: Target) -> None:
    """Bring one category, or each category below ``source`` into a folder of its own.

    The mask of an image marks what any of its masks marks. Images for validation join those for training, from which
    this project holds out images to find thresholds on.
    """
    layout = "as MVTec LOCO AD is published"
    for folder, category in category_folders(source, target, "test/logical_anomalies", layout):
        add_training(folder, category)
        for kind in sorted(entry for entry in (folder / "test").iterdir() if entry.is_dir()):
            for image in find_images(kind):
                path = category.add(image, "test", kind.name)
                masks = find_images(folder / "ground_truth" / kind.name / image.stem)
                if masks:
                    category.add_mask(np.any([category.read_mask(mask) for mask in masks], axis=0), path)
