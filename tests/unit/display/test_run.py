"""A run as a notebook shows it: its thresholds say what they promise."""

import dataclasses

from helpers.calibrated import make_calibrated
from helpers.records import make_record

from training_code.display.run import Run
from training_code.evaluation.operating_point import OperatingPoint
from training_code.records.metrics import METRICS
from training_code.records.record import AtRule


def _shown(record, folder):
    return Run(folder, record)._repr_html_()


def test_the_promise_stands_beside_the_thresholds_with_what_it_rests_on(tmp_path):
    shown = _shown(make_calibrated(tmp_path, good=199), tmp_path)
    assert "conformal thresholds: at most 5 % of new good images are refused, as 199 good images show" in shown
    assert "at most 5 % of new good images have more than 5 % of their pixels marked" in shown
    header, values = shown[shown.index("<th>rule") :].split("</tr>")[:2]
    names, cells = (text.replace("<tr>", "").split(end) for text, end in ((header, "</th>"), (values, "</td>")))
    found = {name.removeprefix("<th>"): cell.removeprefix("<td>") for name, cell in zip(names, cells, strict=True)}
    assert found["rule"] == "conformal" and found["image promise"] == found["alpha"] == "5 %"
    assert found["least alpha"] == "0.5 %" and found["good images"] == "199" and "parts" not in found


def test_a_smaller_alpha_than_the_images_allow_is_refused_in_words(tmp_path):
    shown = _shown(make_calibrated(tmp_path, good=18, alpha=0.01), tmp_path)
    assert "18 good images allow no promise below 5.3 %" in shown and "in place of 1 %" in shown


def test_runs_of_earlier_versions_and_other_rules_promise_nothing_and_say_so(tmp_path):
    shown = _shown(make_calibrated(tmp_path, threshold="mean_sd"), tmp_path)
    assert "mean_sd thresholds: nothing is promised" in shown
    old = make_record(at=AtRule(OperatingPoint(0.5), OperatingPoint(0.4)), thresholds={"image": 0.5, "pixel": 0.4})
    protocol = dataclasses.replace(old.identity.protocol, threshold="synthetic")
    old = dataclasses.replace(old, identity=dataclasses.replace(old.identity, protocol=protocol))
    assert "synthetic thresholds: nothing is promised" in _shown(old, tmp_path)
    assert "no thresholds: nothing is promised" in _shown(make_record(), tmp_path)


def test_pictures_of_other_thresholds_than_those_in_force_are_named_so(tmp_path):
    record = make_calibrated(tmp_path)
    assert "Another rule was put in force" not in _shown(record, tmp_path)
    later = dataclasses.replace(record, rethresholded="2026-11-26T06:00:00+00:00")
    assert "Another rule was put in force at 2026-11-26 06:00: the pictures show the thresholds before" in _shown(
        later, tmp_path
    )


def test_a_run_of_more_features_than_images_says_that_its_gaussians_are_not_determined(tmp_path):
    record = make_record()  # 4 images, 10 features
    assert "<p><b>4 training images for 10 features: the Gaussians are not determined" in _shown(record, tmp_path)


def test_a_notebook_shows_all_metrics_without_scrolling_sideways(tmp_path):
    names = [name for name in METRICS if name.startswith("image_")][:12]
    shown = _shown(make_record(metrics=dict.fromkeys(names, 0.5)), tmp_path)
    tables = [table.count("<th>") for table in shown.split("<table>")[1:]]
    assert tables[0] == 7 and max(tables) <= 10 and sum(tables) >= 12
    assert all(f"<th>{name}</th>" in shown for name in names)


def test_a_run_says_how_many_labelled_defects_it_has_seen_and_for_what(tmp_path):
    record = make_calibrated(tmp_path, good=199, labelled_scores=(150.0, 250.0, 300.0), threshold="labelled")
    shown = _shown(dataclasses.replace(record, labels=60), tmp_path)
    assert "trained on 60 labelled defects" in shown
    assert "<th>labelled defects</th>" in shown and "<td>3</td>" in shown
    assert "labelled thresholds: at most 5 % of new good images are refused" in shown
    assert "as near as that allows to the largest F1 on 3 labelled defects" in shown
    without = _shown(make_calibrated(tmp_path / "without", good=199), tmp_path)
    assert "labelled" not in without


def test_false_alarms_of_a_product_beyond_the_promise_for_all_stand_out(tmp_path):
    """20 of 40 are more than 5 % beyond chance (Clopper-Pearson: from 33.8 % on), 3 of 40 are not (from 1.6 % on)."""
    rows = {
        name: {"images": 60, "good_images": 40, "image_AUROC": auroc, "image_FalseAlarmRate": count / 40}
        for name, auroc, count in (("boards_a", 0.9, 3), ("boards_b", 0.7, 20))
    }
    shown = _shown(dataclasses.replace(make_calibrated(tmp_path, good=199), by_product=rows), tmp_path)
    assert "<td>0.075 <small>[0.016, 0.204], 3 of 40</small></td>" in shown
    assert "<td><b>0.500 <small>[0.338, 0.662], 20 of 40</small></b></td>" in shown
    assert "<td>mean of products</td><td></td><td>0.800</td><td>0.287</td>" in shown
    assert "at most 5 % of new good images are refused is promised of all products together" in shown
    assert "of all products" not in _shown(make_calibrated(tmp_path / "single", good=199), tmp_path)
