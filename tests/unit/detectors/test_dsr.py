import anomalib.models
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.models.image.dsr.torch_model import DsrModel
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Compose, Normalize, Resize

from training_code.backbones.reading import load_backbone
from training_code.backbones.registry import get_backbone
from training_code.backbones.weights import find_weights
from training_code.codebooks import pretrain_codebook
from training_code.detectors import Dsr
from training_code.detectors.build import build_detector
from training_code.detectors.configuration import configure
from training_code.detectors.dsr.codebook import read_codebook
from training_code.detectors.dsr.spec import PUBLISHED, check_dsr, epochs_of_phases, files_of_dsr, find_codebook
from training_code.foundation import paths
from training_code.foundation.errors import InputError

SMALL = {"width": 0.1, "embedding_dim": 8, "num_embeddings": 16, "codebook_epochs": 1}
PARTS = {"post_processor": False, "evaluator": False, "visualizer": False}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """An empty folder in place of the repository's weights."""
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    paths.WEIGHTS.mkdir()
    return paths.WEIGHTS


def _arguments(**changes):
    return configure("Dsr", SMALL | changes).arguments


def _in_phase(detector, epoch, monkeypatch):
    """Take one training step of an epoch, of which the first trains phase 2 and the others phase 3."""
    detector.second_phase = 1
    monkeypatch.setattr(type(detector), "current_epoch", property(lambda self: epoch))
    optimizers = [
        torch.optim.Adam([parameter for parameter in detector.parameters() if parameter.requires_grad], lr=0.01)
        for _ in range(2)
    ]
    monkeypatch.setattr(detector, "optimizers", lambda: optimizers)
    monkeypatch.setattr(detector, "manual_backward", lambda loss: loss.backward())
    monkeypatch.setattr(detector, "log", lambda *_, **__: None)
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    detector.train().training_step(
        ImageBatch(image=torch.rand(2, 3, 64, 64), gt_label=torch.zeros(2, dtype=torch.int64))
    )
    after = detector.state_dict()
    return {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}


def test_phase_2_leaves_codebooks_and_general_decoder_untouched_and_phase_3_trains_the_upsampling_alone(monkeypatch):
    torch.manual_seed(3)
    detector = Dsr(**SMALL, **PARTS)
    assert _in_phase(detector, 0, monkeypatch) == {
        "image_reconstruction_network",
        "subspace_restriction_module_hi",
        "subspace_restriction_module_lo",
        "anomaly_detection_module",
    }
    assert _in_phase(detector, 1, monkeypatch) == {"upsampling_module"}


def test_the_default_networks_are_anomalibs():
    shapes = [
        {name: tensor.shape for name, tensor in model.state_dict().items()} for model in (DsrModel(), Dsr().model)
    ]
    assert shapes[0] == shapes[1]


def test_the_model_gives_anomalibs_numbers():
    torch.manual_seed(0)
    theirs = DsrModel(embedding_dim=8, num_embeddings=16).eval()
    own = Dsr(embedding_dim=8, num_embeddings=16, **PARTS).model.eval()
    own.load_state_dict(theirs.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = theirs(images.clone()), own(images.clone())
    torch.testing.assert_close(found.pred_score, expected.pred_score)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)


@pytest.mark.parametrize(("epochs", "ratio", "expected"), [(20, 0.7, (14, 6)), (2, 0.7, (1, 1)), (1, 0.7, (0, 1))])
def test_epochs_are_shared_out_as_in_anomalib(epochs, ratio, expected):
    assert epochs_of_phases(epochs, ratio) == expected


def test_a_phase_without_epochs_is_an_error_that_says_what_each_gets(weights):
    words = "max_epochs=1 with upsampling_train_ratio=0.7 gives 0 epochs to .*phase 2.* and 1 to .*phase 3.*at least 1"
    with pytest.raises(InputError, match=words):
        check_dsr(_arguments(max_epochs=1), (64, 64), 10)


def test_more_codes_than_training_vectors_are_refused_unless_phase_1_is_there(weights):
    check_dsr(_arguments(num_embeddings=192), (64, 64), 3)
    with pytest.raises(InputError, match="num_embeddings=193 are more codes than the 192 vectors of 3 training images"):
        check_dsr(_arguments(num_embeddings=193), (64, 64), 3)
    (weights / "book.pckl").touch()
    check_dsr(_arguments(num_embeddings=193, codebook="book.pckl"), (64, 64), 3)


def test_a_normalizing_transform_is_refused():
    transform = Compose([Resize((64, 64)), Normalize([0.5] * 3, [0.5] * 3)])
    with pytest.raises(InputError, match="Dsr takes images with values from 0 to 1"):
        Dsr(**SMALL, **PARTS | {"pre_processor": PreProcessor(transform)})


def test_the_published_codebook_is_taken_where_it_fits_and_the_run_tells(weights):
    paper = configure("Dsr", {}).arguments
    assert find_codebook(paper) is None and files_of_dsr(paper) == {}
    (weights / PUBLISHED).write_bytes(b"x")
    assert find_codebook(paper) == weights / PUBLISHED and set(files_of_dsr(paper)) == {"codebook"}
    assert find_codebook(_arguments()) is None, "it is for the paper's sizes"
    with pytest.raises(InputError, match="codebook='other.pckl': there is no file"):
        find_codebook(_arguments(codebook="other.pckl"))


def test_nothing_is_downloaded_at_the_start_of_training(monkeypatch):
    monkeypatch.setattr(anomalib.models.Dsr, "prepare_pretrained_model", lambda *_: pytest.fail("a download"))
    with pytest.raises(InputError, match="DSR has no codebook yet"):
        Dsr(**SMALL, **PARTS).on_train_start()


@pytest.fixture
def on_backbone(weights):
    configuration = configure("Dsr", SMALL | {"backbone": "efficientnet_lite0"})
    found = find_weights(get_backbone("efficientnet_lite0"), paths.HOME / "weights")
    torch.manual_seed(0)
    return build_detector(configuration, load_backbone(found), (64, 64), (found.recipe.mean, found.recipe.std))


def test_a_backbone_gives_its_features_of_strides_4_and_8_frozen_and_normalized(on_backbone):
    latent, images = on_backbone.latent_model, torch.rand(2, 3, 64, 64)
    fine, coarse = (latent._encoder_b.extractor((images - 0.5) / 0.5)[layer] for layer in ("blocks.1", "blocks.2"))
    packed = latent._encoder_b(images)
    assert fine.shape[2:] == (16, 16) and coarse.shape[2:] == (8, 8)
    assert torch.equal(packed[:, : fine.shape[1]], fine) and torch.equal(latent._encoder_t(packed), coarse)
    assert not any(parameter.requires_grad for parameter in latent.parameters())
    made = latent(images)
    assert made["quantized_b"].shape == (2, 8, 16, 16) and made["quantized_t"].shape == (2, 8, 8, 8)
    assert made["recon_image"].shape == images.shape


def test_phase_1_on_a_backbone_trains_projection_codebooks_and_decoder_only(on_backbone, weights, tiny_dataset):
    before = {name: tensor.clone() for name, tensor in on_backbone.latent_model.state_dict().items()}
    path = pretrain_codebook(tiny_dataset / "train", "book", image_size=64, backbone="efficientnet_lite0", **SMALL)
    assert path == weights / "book.pckl"
    on_backbone.load_codebook(path)
    after = on_backbone.latent_model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"_pre_vq_conv_bot", "_pre_vq_conv_top", "_vq_vae_top", "_vq_vae_bot", "_decoder_b", "upsample_t"}
    with pytest.raises(InputError, match="book.pckl is there already; valid: another name, or replace=True"):
        pretrain_codebook(tiny_dataset / "train", "book", image_size=64, **SMALL)
    state = read_codebook(path)
    state["_encoder_b.extractor.feature_extractor.conv_stem.weight"] += 1
    torch.save(state, path)
    with pytest.raises(InputError, match="was trained on other weights of the backbone"):
        on_backbone.load_codebook(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"backbone": "vit_small_patch14_dinov2"},
            "Dsr takes features of strides 4 and 8, .*layers by stride: 4: none",
        ),
        (
            {"backbone": "resnet18", "layers": ["layer2", "layer3"]},
            "layer2, layer3 of resnet18 have 8, 16; .*4: layer1",
        ),
        ({"layers": ["layer1"]}, r"layers=\['layer1'\] of Dsr are of no use without a backbone"),
        ({"latent_anomaly_strength": 0.05}, "valid: above 0.05 and at most 1"),
        ({"patience": 3}, "unknown argument of Dsr 'patience'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        configure("Dsr", arguments)


def test_phase_1_needs_images_and_arguments_that_it_has(weights, tmp_path):
    with pytest.raises(InputError, match="is no folder with images"):
        pretrain_codebook(tmp_path, "book")
    with pytest.raises(InputError, match="is no folder with images"):
        pretrain_codebook(tmp_path / "nowhere", "book")


def test_arguments_that_have_no_part_in_phase_1_are_refused(weights, tiny_dataset):
    with pytest.raises(InputError, match="lr has no part in phase 1; valid: backbone, layers"):
        pretrain_codebook(tiny_dataset / "train", "book", lr=0.1)
