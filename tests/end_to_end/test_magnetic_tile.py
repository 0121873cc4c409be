"""On real photographs, the numbers are those of plain anomalib."""

import anomalib.models
import pytest
import torch
from anomalib.data import Folder
from anomalib.engine import Engine
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import seed_everything
from sklearn.metrics import roc_auc_score
from torchvision.transforms.v2 import Compose, Normalize, Resize

from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.data.dataset import read_dataset
from training_code.data.groups import write_groups
from training_code.experiment import Experiment
from training_code.prepare_data import prepare

SIZE = (256, 256)
SEED = 42
CONFIGURATIONS = {
    "Padim": {"layers": ["blocks.1", "blocks.2", "blocks.4"], "n_features": 100},
    "Patchcore": {"layers": ["blocks.2", "blocks.4"], "coreset_sampling_ratio": 0.01},
}

# What makes the selection of the coreset anomalib's, which goes by projected features.
SAME = {"Patchcore": {"projection": True}}


@pytest.fixture(scope="module")
def tiles(magnetic_tile, tmp_path_factory):
    """Return the prepared dataset, training images named in the order in which a run sees them.

    anomalib goes by name, this project by content. Which images a random number means is the same for both this way.
    """
    folder = tmp_path_factory.mktemp("tiles") / "magnetic_tile"
    prepare("magnetic_tile", magnetic_tile, folder)
    dataset = read_dataset(folder)
    names = {sample.path: sample.path for sample in dataset.samples}
    for number, sample in enumerate(dataset.select("train")):
        names[sample.path] = sample.path.rename(sample.path.with_name(f"{number:03d}{sample.path.suffix}"))
    write_groups(folder, {names[path]: group for path, group in dataset.groups.items()})
    return folder


def test_the_split_is_100_tiles_for_training_and_the_rest_for_testing(tiles):
    counts = read_dataset(tiles).counts
    assert counts.pop("train/good") == 100 and counts.pop("test/good") == 37
    assert counts == {f"test/{name}": 14 for name in ("blowhole", "break", "crack", "fray", "uneven")}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_aurocs_are_those_of_plain_anomalib(name, tiles, tmp_path):
    arguments = CONFIGURATIONS[name]
    plain = _plain_anomalib(name, arguments, tiles, tmp_path)
    experiment = Experiment(tiles, image_size=SIZE, seed=SEED, validation_split=0, results=tmp_path / "results")
    run = experiment.run(name, backbone="efficientnet_lite0", **arguments, **SAME.get(name, {}))
    for metric in ("image_AUROC", "pixel_AUROC"):
        assert run.metrics[metric] == pytest.approx(plain[metric], abs=1e-3), metric
    if name in SAME:  # by default it selects another coreset, which is no worse
        run = experiment.run(name, backbone="efficientnet_lite0", **arguments)
        for metric in ("image_AUROC", "pixel_AUROC"):
            assert run.metrics[metric] >= plain[metric] - 1e-2, metric
    # A trial of others with the photographs of a tile on one side reached 0.83 and 0.80.
    assert run.metrics["image_AUROC"] > 0.78


def _plain_anomalib(name, arguments, root, folder):
    """Run anomalib as its users do, but for the weights: those of the file in place of a download."""
    backbone = get_backbone("efficientnet_lite0")
    defects = ["blowhole", "break", "crack", "fray", "uneven"]
    datamodule = Folder(
        "magnetic_tile",
        root=root,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{defect}" for defect in defects],
        mask_dir=[f"ground_truth/{defect}" for defect in defects],
        num_workers=0,
        val_split_mode="same_as_test",
    )
    normalize = Normalize(list(backbone.mean), list(backbone.std))
    pre_processor = PreProcessor(Compose([Resize(SIZE, antialias=True), normalize]))
    seed_everything(SEED, workers=True)
    model = getattr(anomalib.models, name)(
        backbone=backbone.architecture,
        pre_trained=False,
        pre_processor=pre_processor,
        post_processor=False,
        evaluator=False,
        visualizer=False,
        **arguments,
    )
    extractor = model.model.feature_extractor.feature_extractor
    weights = load_backbone(find_weights(backbone)).state_dict()
    extractor.load_state_dict({key: weights[key] for key in extractor.state_dict()})
    seed_everything(SEED, workers=True)
    if name == "Padim":
        # Building the plain model drew random weights before it chose the features; let it choose from the seed.
        model.model.idx = torch.randperm(model.model.n_features_original)[: model.model.n_features]
    engine = Engine(default_root_dir=folder / "plain", devices=1, logger=False, limit_val_batches=0)
    engine.fit(model, datamodule=datamodule)
    batches = engine.predict(model, datamodule=datamodule)
    # From raw scores: anomalib's AUROC puts scores above 1 through a sigmoid, which makes these all 1.
    truth, scores, masks, maps = (
        torch.cat([getattr(batch, name) for batch in batches]).flatten().numpy()
        for name in ("gt_label", "pred_score", "gt_mask", "anomaly_map")
    )
    return {"image_AUROC": roc_auc_score(truth, scores), "pixel_AUROC": roc_auc_score(masks, maps)}
