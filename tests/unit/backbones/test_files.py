"""The record of a weight file's origin."""

import json

import pytest

from training_code.backbones.files import read_origin, write_origin
from training_code.backbones.store import tf_variant

ADDED = "download.pth, sha256 " + 64 * "a" + ", tensors named as by timm"


@pytest.mark.slow  # the import of timm and torch
@pytest.mark.parametrize(
    ("source", "naming", "other"),
    [
        (ADDED, "timm", "tf_efficientnet_b0"),
        (ADDED.replace("by timm", "by torchvision"), "torchvision", None),
        ("timm efficientnet_b0.ra, licence as stated by timm", None, None),
    ],
)
def test_a_file_has_a_tf_variant_only_if_timms_names_identified_its_network(tmp_path, source, naming, other):
    path = tmp_path / "efficientnet_b0.safetensors"
    path.write_bytes(b"weights")
    write_origin(path, 64 * "b", source, naming, "2026-01-01T00:00:00+00:00")
    assert tf_variant(path) == other


@pytest.mark.parametrize(
    ("source", "naming"), [(ADDED, "timm"), ("timm efficientnet_b0.ra, licence as stated by timm", None)]
)
def test_an_older_record_without_a_naming_is_read(tmp_path, source, naming):
    path = tmp_path / "efficientnet_b0.safetensors"
    path.with_name(f"{path.name}.json").write_text(json.dumps({"sha256": 64 * "b", "source": source}))
    assert read_origin(path)["naming"] == naming
