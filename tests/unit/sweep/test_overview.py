"""What the plan says about memory before anything runs."""

from training_code.detectors.extent import Need
from training_code.foundation.memory import GIB
from training_code.sweep import overview


def test_the_plan_says_what_becomes_of_many_features_and_how_long_it_takes(monkeypatch):
    monkeypatch.setattr(overview, "multiplication_rate", lambda: 1e11)
    composed = Need(68 * GIB, 6 * GIB, operations=7.5e13, way="composed coreset")
    expected = "68 GiB of features, composed coreset, 6.0 GiB at once, about 50 min beside the backbone"
    assert overview.sentence(composed) == expected
    padim = Need(44 * GIB, 4 * GIB, disk=22 * GIB, way="by positions from a file")
    expected = "44 GiB of features, by positions from a file, 4.0 GiB at once, a file of 22 GiB meanwhile"
    assert overview.sentence(padim) == expected
