"""What a fit needs, in words, before it begins."""

from training_code.detectors import extent
from training_code.detectors.extent import SELECTION_PART, Need
from training_code.foundation.memory import GIB


def test_it_is_said_what_becomes_of_many_features_and_how_long_it_takes(monkeypatch):
    monkeypatch.setattr(extent, "multiplication_rate", lambda: 1e11 / SELECTION_PART)
    composed = Need(68 * GIB, 6 * GIB, operations=1.5e14, way="composed coreset")
    assert str(composed) == "68 GiB of features, composed coreset, 6.0 GiB at once, about 50 min beside the backbone"
    padim = Need(44 * GIB, 4 * GIB, disk=22 * GIB, way="by positions from a file")
    expected = "44 GiB of features, by positions from a file, 4.0 GiB at once, a file of 22 GiB meanwhile"
    assert str(padim) == expected
    assert padim.large and not Need(GIB - 1, GIB).large
