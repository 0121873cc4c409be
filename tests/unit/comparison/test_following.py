"""Arguments that follow from others: numbers of features, sizes of images."""

import pytest

from training_code.comparison.effects import effects_of_arguments
from training_code.comparison.example_runs import example_table


@pytest.mark.parametrize("changed", ["backbone", "layer", "pooling_kernel_size"])
def test_what_follows_from_an_argument_changes_with_it_and_is_none_itself(changed):
    values = {"backbone": ("resnet18", "resnet50"), "layer": ("layer2", "layer3"), "pooling_kernel_size": (2, 4)}
    common = {name: first for name, (first, _) in values.items()} | {"latent_dim": 8}
    first, second = (
        {**common, changed: value, "input_dim": dim} for value, dim in zip(values[changed], (7, 9), strict=True)
    )
    runs = [(seed, 0.5, first) for seed in (1, 2)] + [(seed, 0.6, second) for seed in (1, 2)]
    found = effects_of_arguments(example_table(runs), "image_AUROC")
    assert set(found["argument"]) == {changed}
    assert found["difference"].dropna().tolist() == pytest.approx([0.1]) and found["pairs"].tolist() == [2, 2]
