"""The command `python -m training_code.weights`."""

import json
import subprocess
import sys

import pytest
import timm
import torch

from training_code import paths
from training_code.backbones import store
from training_code.backbones.naming import to_timm
from training_code.backbones.registry import BACKBONES, get_backbone
from training_code.backbones.weights import find_weights
from training_code.errors import run_command
from training_code.files import sha256
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
    assert set(lines) == {*BACKBONES, "regnety_008"}
    assert "present" in lines["resnet18"] and "44.6 MiB" in lines["resnet18"]
    assert sha256(folder / "resnet18.safetensors") in lines["resnet18"]
    assert "missing" in lines["resnet50"] and "present" in lines["regnety_008"]


def test_list_is_there_at_once_because_it_imports_no_deep_learning_library():
    code = "import sys; from training_code.weights import main; main(['list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_what_is_added_is_recognised_stored_and_its_origin_remembered(tmp_path, resnet18, capsys):
    assert _run(tmp_path / "weights", "add", resnet18) == 0
    weights = find_weights(get_backbone("resnet18"), tmp_path / "weights")
    assert weights.path.name == "resnet18.safetensors" and weights.sha256 in capsys.readouterr().out
    assert weights.source == f"download.pth, sha256 {sha256(resnet18)}, tensors named as by timm"


def test_a_file_that_is_there_is_replaced_only_on_demand(tmp_path, resnet18, capsys):
    assert _run(tmp_path, "add", resnet18, "--as", "resnet18") == 0
    before = (tmp_path / "resnet18.safetensors").stat().st_mtime_ns
    assert _run(tmp_path, "add", resnet18, "--as", "resnet18") == 2
    assert "has the file" in capsys.readouterr().err
    assert (tmp_path / "resnet18.safetensors").stat().st_mtime_ns == before
    assert _run(tmp_path, "add", resnet18, "--as", "resnet18", "--replace") == 0


def test_how_a_network_is_built_stays_with_the_stored_file(tmp_path):
    torch.manual_seed(0)
    state = {
        name.replace("conv_stem", "_conv_stem"): tensor
        for name, tensor in timm.create_model("tf_efficientnet_b0").state_dict().items()
    }
    backbone = get_backbone("efficientnet_b0")
    assert to_timm(state, backbone).recipe.architecture == "tf_efficientnet_b0"
    renamed = {name.replace("_conv_stem", "conv_stem"): tensor for name, tensor in state.items()}
    recipe = to_timm(state, backbone).recipe
    store._store(backbone, renamed, recipe, "a test", tmp_path, replace_file=False)
    assert find_weights(backbone, tmp_path).recipe == recipe


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


def test_fetch_stores_what_timm_brings_with_the_network_that_it_needs(tmp_path, monkeypatch, capsys):
    created = timm.create_model
    asked = []

    def create_model(name, pretrained=False, **options):
        asked.append((name, pretrained))
        return created(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", create_model)
    monkeypatch.setattr(store, "_check_reachable", lambda name: None)
    assert _run(tmp_path, "fetch", "resnet18") == 0
    assert ("resnet18.tv_in1k", True) in asked
    assert find_weights(get_backbone("resnet18"), tmp_path).source == "timm resnet18.tv_in1k, licence bsd-3-clause"


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
