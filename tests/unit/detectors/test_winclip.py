"""WinCLIP over a small network in place of CLIP: scores of anomalib's, kept with what they need in the checkpoint."""

from types import SimpleNamespace

import pytest
import torch
from anomalib.models.image.winclip import torch_model
from helpers.small_clip import SmallClip
from safetensors.torch import save_file
from torch.nn import functional as F

from training_code.detectors.registry import DETECTORS
from training_code.detectors.winclip.model import AnomalibWinClipModel, WinClip
from training_code.detectors.winclip.spec import FILE
from training_code.foundation import paths
from training_code.foundation.errors import InputError, MissingWeightsError

PARTS = {"pre_processor": False, "post_processor": False, "evaluator": False, "visualizer": False}


@pytest.fixture(autouse=True)
def clip(monkeypatch, tmp_path):
    """Put the small network in OpenCLIP's place, and weights of it into an empty folder; return these."""

    def create(name, pretrained):
        assert name == "ViT-B-16-plus-240" and pretrained in (None, "laion400m_e31")
        network = SmallClip()
        if pretrained:  # as anomalib asks for it
            network.load_state_dict(state)
        return network.eval(), None, None

    monkeypatch.setattr(torch_model, "open_clip", SimpleNamespace(create_model_and_transforms=create))
    monkeypatch.setattr(
        torch_model, "tokenize", lambda texts: torch.tensor([list(text.rjust(20)[-20:].encode()) for text in texts])
    )
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    torch.manual_seed(0)
    state = SmallClip().state_dict()
    save_file(state, tmp_path / f"{FILE.name}.safetensors")
    return state


def _trained(images, **arguments):
    detector = WinClip("bolt", **arguments, **PARTS)
    detector.on_fit_start()
    for batch in images.split(2):
        detector.training_step(SimpleNamespace(image=batch))
    detector.on_train_epoch_end()
    return detector.eval()


@pytest.mark.parametrize("k_shot", [0, 3])
def test_scores_are_anomalibs_and_a_checkpoint_alone_gives_them_again(k_shot, tmp_path):
    images = torch.rand(5, 3, 120, 120)
    detector = _trained(images, k_shot=k_shot)
    found = detector.model(images[3:] ** 2)
    mean, std = (torch.tensor(each)[:, None, None] for each in ((0.48145466, 0.4578275, 0.40821073),
                                                                 (0.26862954, 0.26130258, 0.27577711)))  # fmt: skip
    resized = [
        (F.interpolate(each, (240, 240), mode="bicubic", antialias=True) - mean) / std
        for each in (images, images[3:] ** 2)
    ]
    plain = AnomalibWinClipModel("bolt", resized[0][:k_shot] if k_shot else None).eval()
    expected = plain(resized[1])
    torch.testing.assert_close(found.pred_score, expected.pred_score)
    assert found.anomaly_map.shape == (2, 120, 120)
    (tmp_path / f"{FILE.name}.safetensors").unlink()
    restored = WinClip("bolt", k_shot=k_shot, **PARTS).eval()
    restored.load_state_dict(detector.state_dict())
    again = restored.model(images[3:] ** 2)
    assert torch.equal(again.pred_score, found.pred_score) and torch.equal(again.anomaly_map, found.anomaly_map)


def test_models_with_other_windows_do_not_disturb_each_other():
    images = torch.rand(3, 3, 240, 240)
    first = _trained(images, k_shot=2, scales=(2, 3))
    expected = first.model(images).pred_score
    second = _trained(images, k_shot=2, scales=(2,))
    assert len(second.model.masks) == 1 and len(first.model.masks) == 2
    assert torch.equal(first.model(images).pred_score, expected)


def test_without_its_file_a_run_names_it_and_where_it_comes_from(tmp_path):
    (tmp_path / f"{FILE.name}.safetensors").unlink()
    with pytest.raises(
        MissingWeightsError, match=r"open_clip_vit_b_16_plus_240.safetensors .*networks of CLIP.*license MIT"
    ):
        WinClip(**PARTS).on_fit_start()


def test_more_references_than_images_and_a_missing_package_are_refused(monkeypatch, tmp_path):
    spec = DETECTORS["WinClip"]
    with pytest.raises(InputError, match="k_shot=9 is out of range with 4 training images; valid: 0 to 4"):
        spec.check(spec.defaults | {"k_shot": 9}, (240, 240), 4)
    monkeypatch.setattr("training_code.detectors.winclip.spec.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"open_clip|experiments\[words\]"):
        spec.check(spec.defaults, (240, 240), 4)
    (tmp_path / f"{FILE.name}.safetensors").unlink()
    spec.check(spec.defaults, (240, 240), 4)  # such a run is skipped
