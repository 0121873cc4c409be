"""Plain anomalib, as its users run it; only the weights come from a file in place of a download."""

import time
from pathlib import Path
from typing import Any

import anomalib.models
import torch
from anomalib.data import Folder
from anomalib.engine import Engine
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import seed_everything
from torchvision.transforms.v2 import Compose, Normalize, Resize

from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights, random_weights
from training_code.benchmark.images import defect_types
from training_code.data.layout import NORMAL
from training_code.evaluation.measurement import peak_memory, wait_for_gpu
from training_code.training.engine import quiet


def run_plain(
    folder: Path, detector: str, arguments: dict[str, Any], image_size: int, seed: int, scratch: Path
) -> dict[str, Any]:
    """Train and test through anomalib's own engine, data module and model.

    Returns
    -------
    dict
        Seconds of ``fit`` and ``test``, the raw ``scores``, ``labels``, ``maps`` and ``masks`` of the test images as
        tensors, and the peak ``memory`` of this process in bytes.
    """
    datamodule = Folder(
        "benchmark",
        root=folder,
        normal_dir=f"train/{NORMAL}",
        normal_test_dir=f"test/{NORMAL}",
        abnormal_dir=[f"test/{name}" for name in defect_types(folder)],
        mask_dir=[f"ground_truth/{name}" for name in defect_types(folder)],
        num_workers=0,
        val_split_mode="same_as_test",
    )
    backbone = get_backbone(arguments["backbone"])
    size = (image_size, image_size)
    transform = Compose([Resize(size, antialias=True), Normalize(list(backbone.mean), list(backbone.std))])
    seed_everything(seed, workers=True, verbose=False)
    model = getattr(anomalib.models, detector)(
        **arguments | {"backbone": backbone.architecture, "pre_trained": False},
        pre_processor=PreProcessor(transform),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    weights = find_weights(backbone) if arguments.get("pre_trained", True) else random_weights(backbone)
    state = load_backbone(weights).state_dict()
    network = model.model.feature_extractor.feature_extractor
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    seed_everything(seed, workers=True, verbose=False)
    if detector == "Padim":
        # Building the plain model drew random weights before it chose the features; let it choose from the seed.
        model.model.idx = torch.randperm(model.model.n_features_original)[: model.model.n_features]
    engine = Engine(
        default_root_dir=scratch, devices=1, logger=False, limit_val_batches=0, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    with quiet():
        start = time.perf_counter()
        engine.fit(model, datamodule=datamodule)
        wait_for_gpu()
        fitted = time.perf_counter()
        batches = engine.predict(model, datamodule=datamodule) or []
        tested = time.perf_counter()
    found = {
        name: torch.cat([getattr(batch, attribute).flatten() for batch in batches])
        for name, attribute in (
            ("scores", "pred_score"), ("labels", "gt_label"), ("maps", "anomaly_map"), ("masks", "gt_mask")
        )
    }  # fmt: skip
    return found | {"fit": fitted - start, "test": tested - fitted, "memory": peak_memory()}
