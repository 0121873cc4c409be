"""The command `python -m training_code.weights`."""

import json
import os
import subprocess
import sys

import pytest
import timm
import torch
from efficientnet_pytorch import EfficientNet

from training_code.backbones import store
from training_code.backbones.registry import BACKBONES, get_backbone
from training_code.backbones.weights import find_weights
from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.foundation.files import sha256
from training_code.weights import main


def _run(folder, *arguments):
    return run_command(main, ["--folder", str(folder), *map(str, arguments)])


@pytest.fixture
def resnet18(tmp_path):
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "download.pth")
    return tmp_path / "download.pth"


def test_list_has_a_line_for_each_backbone_and_for_other_files(tmp_path, resnet18, capsys):
    folder = tmp_path / "weights"
    assert _run(folder, "add", resnet18) == 0
    torch.save({}, folder / "regnety_008.pth")
    capsys.readouterr()
    assert _run(folder, "list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    published = {file.name for spec in DETECTORS.values() for file in spec.published}
    assert set(lines) == {*BACKBONES, *published, "regnety_008"}
    assert "present" in lines["resnet18"] and "44.6 MiB" in lines["resnet18"]
    assert sha256(folder / "resnet18.safetensors") in lines["resnet18"]
    assert "missing" in lines["resnet50"] and "present" in lines["regnety_008"]


def test_list_is_fast_because_it_imports_no_deep_learning_library():
    code = "import sys; from training_code.weights import main; main(['list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_what_is_added_is_recognized_stored_and_its_origin_remembered(tmp_path, resnet18, capsys):
    assert _run(tmp_path / "weights", "add", resnet18) == 0
    weights = find_weights(get_backbone("resnet18"), tmp_path / "weights")
    assert weights.path.name == "resnet18.safetensors" and weights.sha256 in capsys.readouterr().out
    assert weights.source == f"download.pth, sha256 {sha256(resnet18)}, tensors named as by timm"


def test_an_existing_file_is_replaced_only_on_demand(tmp_path, resnet18, capsys):
    assert _run(tmp_path, "add", resnet18, "--as", "resnet18") == 0
    before = (tmp_path / "resnet18.safetensors").stat().st_mtime_ns
    assert _run(tmp_path, "add", resnet18, "--as", "resnet18") == 2
    assert "has the file" in capsys.readouterr().err
    assert (tmp_path / "resnet18.safetensors").stat().st_mtime_ns == before
    assert _run(tmp_path, "add", resnet18, "--as", "resnet18", "--replace") == 0


def test_how_a_network_is_built_stays_with_the_stored_file(tmp_path):
    torch.manual_seed(0)
    torch.save(EfficientNet.from_name("efficientnet-b0").state_dict(), tmp_path / "download.pth")
    assert _run(tmp_path / "weights", "add", tmp_path / "download.pth") == 0
    weights = find_weights(get_backbone("efficientnet_b0"), tmp_path / "weights")
    assert weights.path.suffix == ".safetensors" and weights.recipe.architecture == "tf_efficientnet_b0"


@pytest.mark.parametrize(("name", "stored"), [("download.pth", "efficientnet_b0"), ("tf_b0.pth", "tf_efficientnet_b0")])
def test_networks_with_the_same_tensors_are_distinguished_by_name(tmp_path, name, stored, capsys):
    torch.save(timm.create_model("tf_efficientnet_b0").state_dict(), tmp_path / name)
    assert _run(tmp_path / "weights", "add", tmp_path / name) == 0
    assert (tmp_path / "weights" / f"{stored}.safetensors").is_file()
    assert ("add it with --as tf_efficientnet_b0" in capsys.readouterr().out) == (stored == "efficientnet_b0")


def test_the_one_of_two_files_that_is_used_is_shown(tmp_path, resnet18, capsys):
    folder = tmp_path / "weights"
    _run(folder, "add", resnet18)
    (folder / "resnet18-f37072fd.pth").write_bytes(resnet18.read_bytes())
    capsys.readouterr()
    _run(folder, "list")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resnet18 ")]
    assert len(lines) == 2 and "present" in lines[0] and "not used" in lines[1]
    assert find_weights(get_backbone("resnet18"), folder).path.name in lines[0]
    assert _run(folder, "add", resnet18, "--replace") == 0
    assert sorted(path.name for path in folder.glob("resnet18*")) == [
        "resnet18.safetensors",
        "resnet18.safetensors.json",
    ]


def test_a_file_of_the_same_time_and_another_size_is_not_taken_for_the_one_that_was_added(tmp_path, resnet18, capsys):
    path = tmp_path / "weights" / "resnet18.safetensors"
    _run(path.parent, "add", resnet18)
    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, ns=(0, 0))
    capsys.readouterr()
    _run(path.parent, "list")
    assert sha256(path) in capsys.readouterr().out


def test_check_reloads_every_file_and_says_which_one_has_changed(tmp_path, resnet18, capsys):
    assert _run(tmp_path / "weights", "check") == 0
    assert "no weight files" in capsys.readouterr().out
    assert _run(tmp_path / "weights", "add", resnet18) == 0
    torch.save(timm.create_model("mobilenetv3_large_100").state_dict(), tmp_path / "weights/mobilenetv3_large_100.pth")
    capsys.readouterr()
    assert _run(tmp_path / "weights", "check") == 0
    assert "resnet18: as it was added; never trained" in (said := capsys.readouterr().out)
    assert "mobilenetv3_large_100: good; added by hand" in said
    path = tmp_path / "weights" / "resnet18.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert _run(tmp_path / "weights", "check") == 1
    assert "resnet18: NOT GOOD, " in (said := capsys.readouterr().out) and "has changed since it was added" in said


def test_a_changed_file_is_listed_with_its_own_fingerprint_and_loses_its_origin(tmp_path, resnet18, capsys):
    _run(tmp_path / "weights", "add", resnet18)
    path = tmp_path / "weights" / "resnet18.safetensors"
    origin = json.loads(path.with_name("resnet18.safetensors.json").read_text())
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "other.pth")
    _run(tmp_path / "other", "add", tmp_path / "other.pth")
    path.write_bytes((tmp_path / "other" / "resnet18.safetensors").read_bytes())
    capsys.readouterr()
    _run(tmp_path / "weights", "list")
    assert origin["sha256"] not in (listed := capsys.readouterr().out) and sha256(path) in listed
    assert find_weights(get_backbone("resnet18"), tmp_path / "weights").source == "not recorded"


@pytest.fixture
def hub(monkeypatch):
    """A model hub that gives untrained networks; the names that it was asked for."""
    created, asked = timm.create_model, []

    def create_model(name, pretrained=False, **options):
        asked.extend([name] if pretrained else [])
        return created(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(store, "_check_reachable", lambda name: None)
    return asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pretrained", "architecture"),
    [
        ("resnet18", "resnet18.tv_in1k", "resnet18"),
        ("efficientnet_b7", "tf_efficientnet_b7.aa_in1k", "tf_efficientnet_b7"),
        # Its classifier has more parts than timm says.
        ("repvit_m0_9", "repvit_m0_9", "repvit_m0_9"),
    ],
)
def test_what_is_fetched_is_stored_with_the_network_that_it_needs(tmp_path, hub, name, pretrained, architecture):
    assert _run(tmp_path, "fetch", name) == 0
    assert hub == [pretrained]
    weights = find_weights(get_backbone(name), tmp_path)
    assert weights.recipe.architecture == architecture and weights.source.startswith(f"timm {architecture}.")
    assert _run(tmp_path, "fetch", name) == 2 and hub == [pretrained]  # it is there: nothing is fetched


def test_fetch_says_in_one_line_that_the_hub_is_out_of_reach(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store.huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert _run(tmp_path, "fetch", "resnet18", "resnet50") == 2
    said = capsys.readouterr().err
    assert (
        said.startswith("error: resnet18 cannot be fetched: http://127.0.0.1:9 is out of reach")
        and said.count("\n") == 1
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "nothing.pth"], "there is no file nothing.pth"),
        (["fetch", "resnet19"], "unknown backbone 'resnet19' (did you mean 'resnet18'?)"),
        (["fetch", "cspresnet50d"], "timm has no weights for cspresnet50d"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, words, capsys):
    assert _run(tmp_path, *arguments) == 2
    assert words in capsys.readouterr().err
