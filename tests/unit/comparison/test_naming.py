import pytest

from training_code.comparison.naming import backbone_name, configuration_name, tell_apart


@pytest.mark.parametrize(
    ("backbone", "written"),
    [
        ("resnet18", "ResNet18"),
        ("wide_resnet50_2", "Wide ResNet50-2"),
        ("efficientnet_b7", "EfficientNet-B7"),
        ("efficientnet_lite0", "EfficientNet-Lite0"),
        ("tf_efficientnet_lite1", "TF EfficientNet-Lite1"),
        ("cspdarknet53", "CSPDarknet53"),
        ("mobilenetv3_large_100", "MobileNetV3-Large-100"),
        ("something_else", "something_else"),
        (None, ""),
    ],
)
def test_backbones_are_written_as_papers_do(backbone, written):
    assert backbone_name(backbone) == written


def test_configurations_are_called_as_in_the_readers_own_tables():
    patchcore = {"layers": ["a", "b"], "coreset_sampling_ratio": 0.1, "num_neighbors": 5}
    assert configuration_name("Patchcore", patchcore) == "2 layers, 0.1 sampling, 5 neighbors"
    assert configuration_name("Padim", {"n_features": 100, "layers": ["a"]}) == "100 features"
    assert configuration_name("Autoencoder", {"variant": "DAE", "max_epochs": 4}) == "DAE, 4 epochs"
    assert configuration_name("Unheard", {"layers": ["a"]}) == "1 layer"


def test_only_equal_names_get_more():
    settings = [{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 3, "b": 1}]
    assert tell_apart(settings, ["x", "x", "y"]) == ["x, a=1", "x, a=2", "y"]
