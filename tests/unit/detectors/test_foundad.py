import random

import anomalib.models
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.models.image.foundad.components.augmentation import FewShotAugmentation as AnomalibFewShotAugmentation

from training_code.backbones.networks import create_network
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.foundad.model import FewShotAugmentation, PlainFoundAD
from training_code.detectors.foundad.spec import SPEC
from training_code.features.extractor import TORCH
from training_code.features.store import FeatureStore
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError

SIZE = (64, 64)
PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


def _built(size=SIZE, store=None, **arguments):
    """Return a detector with random weights."""
    torch.manual_seed(0)
    configuration = configure("FoundAD", SPEC.small | arguments)
    recipe = configuration.backbone.recipe
    return build_detector(configuration, create_network(recipe), size, (recipe.mean, recipe.std), TORCH, store)


def _batch(images):
    return ImageBatch(image=images, gt_label=torch.zeros(len(images), dtype=torch.long))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"feat_normed": True, "use_pos_embed": True}])
def test_scores_maps_and_steps_are_anomalibs(options, monkeypatch):
    # What dropout takes away goes by how numbers lie in memory, which is not as in anomalib.
    small = {"pred_depth": 2, "pred_emb_dim": 48, "use_few_shot_augmentation": False, "n_layer": 3, "dropout": 0.0}
    small |= options
    detector = _built((56, 56), backbone="vit_small_patch14_dinov2", **small)
    plain = PlainFoundAD("dinov2_vit_small_14", image_size=56, **small, **PARTS)
    assert type(plain).__bases__ == (anomalib.models.FoundAD,) and detector.model.layer == "blocks.9"
    own, theirs = SPEC.plain.moved.copy().popitem()
    plain.load_state_dict({name.replace(own, theirs): tensor for name, tensor in detector.state_dict().items()})
    images = torch.rand(3, 3, 56, 56)
    with torch.inference_mode():
        ours, expected = (each.eval().model(images) for each in (detector, plain))
    torch.testing.assert_close(ours.pred_score, expected.pred_score)
    torch.testing.assert_close(ours.anomaly_map, expected.anomaly_map)
    losses = []
    for each in (detector, plain):
        monkeypatch.setattr(each, "log", lambda *_, **__: None)
        each.train()
        for seed in range(4):  # two of them with pasted images
            random.seed(seed)
            torch.manual_seed(seed)
            losses.append(each.training_step(_batch(images))["loss"])
    torch.testing.assert_close(losses[:4], losses[4:])


def test_colors_are_altered_in_those_that_the_network_was_not_given():
    detector = _built()  # vit_tiny_patch16_224 has values of -1 to 1, where anomalib reads those of ImageNet
    pixels = torch.rand(2, 3, 4, 4)
    given = (pixels - 0.5) / 0.5
    expected = (pixels - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[
        :, None, None
    ]
    found = detector._recolored(given)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(detector._recolored(found, back=True), given)
    native = _built((56, 56), backbone="vit_small_patch14_dinov2")
    assert native._recolored(given) is given


def test_altered_images_are_blurred_by_their_size_and_keep_their_shape():
    augment = FewShotAugmentation(p_orient=1, p_appear=1)
    for size, kernel in (((32, 48), 11), ((384, 400), 23)):
        for seed in range(3):
            random.seed(seed)
            assert augment(torch.rand(2, 3, *size)).shape == (2, 3, *size)
        assert augment._blur.kernel_size == (kernel, kernel)
    theirs = AnomalibFewShotAugmentation(p_orient=1, p_appear=0)
    with pytest.raises(RuntimeError, match="expanded size of the tensor"):
        for seed in range(9):
            random.seed(seed)
            theirs(torch.rand(4, 3, 32, 48))


def test_only_images_that_recur_are_in_the_store(tmp_path, monkeypatch):
    for augments, kept in ((True, 0), (False, 4)):
        store = FeatureStore(TensorCache(tmp_path / str(augments)), "on")
        detector = _built(store=store, use_few_shot_augmentation=augments).train()
        monkeypatch.setattr(detector, "log", lambda *_, **__: None)
        images = torch.rand(4, 3, *SIZE)
        for seed in range(3):
            torch.manual_seed(seed)
            detector.training_step(_batch(images))
        assert store.misses == kept


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_layer": 13}, "n_layer=13 is out of range; valid for vit_tiny_patch16_224: 1 to 12"),
        ({"layers": ["blocks.5"]}, r"is not the block that n_layer=9 counts; valid: \['blocks.3'\]"),
    ],
)
def test_the_block_is_the_one_that_is_counted_from_the_last(arguments, words):
    assert configure("FoundAD", SPEC.small).layers == ["blocks.3"]
    with pytest.raises(InputError, match=words):
        configure("FoundAD", SPEC.small | arguments)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match="pred_emb_dim=50 is no multiple of the 3 heads of vit_tiny_patch16_224"):
        _built(pred_emb_dim=50)


def test_images_without_room_for_a_scar_are_refused():
    with pytest.raises(InputError, match="up to 25 pixels, and images have 16 × 64; valid: at least 25"):
        SPEC.check(configure("FoundAD", SPEC.small).arguments, (16, 64), 10)
