"""Which way is better is known for every metric, and F1 is told beside what it is worth."""

import numpy as np
import pytest
from helpers.records import make_dataset, make_identity, make_record
from sklearn.metrics import f1_score

from training_code.foundation.errors import InputError
from training_code.records.metrics import METRICS, criterion_metric, f1_all_bad


def test_errors_are_better_when_they_are_fewer_and_all_else_when_it_is_more():
    smaller = {name for name, metric in METRICS.items() if not metric.larger_is_better}
    assert smaller == {"image_FalseAlarmRate", "image_MissRate", "pixel_MarkedGoodShare", "pixel_FalseRegions"}
    assert METRICS["image_MissRate"].gain(0.2) < METRICS["image_MissRate"].gain(0.1)
    assert METRICS["image_AUROC"].gain(0.2) > METRICS["image_AUROC"].gain(0.1)


def test_what_takes_its_threshold_from_the_test_set_is_marked_as_an_oracle():
    oracles = {name for name, metric in METRICS.items() if metric.oracle}
    assert oracles == {"image_F1Max", "pixel_F1Max", "image_PB1", "image_PB5", "image_PB10"}
    assert not any("threshold" in METRICS[name].needs for name in oracles)


def test_an_unknown_criterion_is_refused_with_the_valid_ones():
    with pytest.raises(InputError, match=r"unknown criterion 'MissRate'.*image_MissRate"):
        criterion_metric("MissRate")


@pytest.mark.parametrize(("good", "defective"), [(1, 1), (7, 30), (50, 3)])
def test_the_f1_of_calling_everything_defective_is_scikit_learns(good, defective):
    labels = np.arange(good + defective) < defective
    assert f1_all_bad(good, defective) == pytest.approx(f1_score(labels, np.ones_like(labels)))


def test_a_record_tells_it_from_its_counts_and_says_nothing_where_images_are_of_one_kind():
    counts = {"train/good": 50, "train/hole": 9, "test/good": 10, "test/hole": 20, "test/scratch": 10}
    record = make_record("a", make_identity(), dataset=make_dataset("d", counts=counts))
    assert record.f1_all_bad == pytest.approx(60 / 70)
    for kind in ("test/good", "test/hole"):
        record = make_record("a", make_identity(), dataset=make_dataset("d", counts={"train/good": 5, kind: 3}))
        assert record.f1_all_bad is None
