"""Drift at a line: what is an alarm and what is none, what is said, and that each photograph counts once."""

import json
import random
import re
import sqlite3
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from pathlib import PurePosixPath

import numpy as np
import pytest
from fastapi.testclient import TestClient
from helpers.station import make_station, put, work_off
from scipy import stats

from inference_code.ranges import FIRST
from inference_code.service.frame import Access
from inference_code.service.limits import Limits
from inference_code.station import drift as drift_module
from inference_code.station import status
from inference_code.station.alarms import alarms, name_of, picture_of, stored
from inference_code.station.drift import Drift, draw, reset
from inference_code.station.inbox import Photograph
from inference_code.station.ledger import Ledger
from inference_code.station.metrics import station_metrics
from inference_code.station.page.app import make_station_app, station_page
from inference_code.station.schema import FOUND, LEDGER, WAITING
from inference_code.station.watches import QUANTITIES, SCORE, Reference, may_reach
from training_code.evaluation.calibration import just_above
from training_code.foundation.errors import InputError, run_command
from training_code.records.appearance import LOOKS
from training_code.records.record import APPEARANCE, CALIBRATION

RUN, NOON = "padim-1", 1_790_000_000.0
TRAINED = {"brightness": 0.5, "sharpness": 0.2, "map_mean": 3.0, SCORE: 10.0}


def _values(generator, count, **factors):
    """Return values of photographs that vary by 5 %, each multiplied by a factor."""
    return [
        {name: usual * factors.get(name, 1.0) * generator.gauss(1, 0.05) for name, usual in TRAINED.items()}
        for _ in range(count)
    ]


def _reference(generator, count=200, without=()):
    values = _values(generator, count)
    return Reference({name: [each[name] for each in values] for name in TRAINED if name not in without}, "one")


class Line:
    """A ledger that photographs are noted in, in batches, one a second."""

    def __init__(self, folder, references, **options):
        folder.mkdir(exist_ok=True)
        self.ledger, self.references, self.options = Ledger(folder / LEDGER), references, options
        self.drift, self.number = Drift(self.ledger, references, **options), 0

    def take(self, values, batch=16, bad=lambda number: False, run=RUN):
        said = []
        for begin in range(0, len(values), batch):
            with self.ledger.changing():
                found = []
                for each in values[begin : begin + batch]:
                    self.number += 1
                    name = f"p{self.number}"
                    abnormal = bad(self.number)
                    part = self.ledger.open_part(name, name, NOON + self.number)
                    photograph = Photograph(PurePosixPath(f"{name}_1.png"), 1, self.number)
                    number = self.ledger.enter(photograph, part, "1", WAITING, name, NOON + self.number)
                    noted = {"run": run, "score": 99.0 if abnormal else each[SCORE], "abnormal": abnormal}
                    noted["appearance"] = json.dumps({look: each[look] for look in LOOKS})
                    self.ledger.note(number, FOUND, noted)
                    found.append(self.ledger.of_part(part))
                said += self.drift.take(found, NOON + self.number)
        return said


@pytest.fixture
def generator():
    return random.Random(0)


@pytest.fixture
def line(tmp_path, generator):
    found = Line(tmp_path / "station", {RUN: _reference(generator)})
    yield found
    found.ledger.close()


def test_good_photographs_raise_no_alarm_and_brighter_ones_soon_do_in_words_and_a_picture(line, generator, tmp_path):
    assert line.take(_values(generator, 400)) == []
    assert all(watch.evidence < 20 for watch in stored(line.ledger).values())
    (said,) = line.take(_values(generator, 16, brightness=1.28))
    assert said.startswith("drift: photographs are 2") and "% brighter than in training since " in said
    assert "part p40" in said, "about where it began"
    (alarm,) = alarms(line.ledger)
    assert f"drift: {alarm['text']}" == said and alarm["since"] == NOON + 416
    draw(line.ledger, tmp_path / "station")
    picture = ElementTree.parse(tmp_path / "station" / alarm["picture"])
    assert len(picture.findall(".//{*}circle")) == 4 * 50, "the last 50 of four quantities"
    assert alarm["text"] in [text.text for text in picture.findall(".//{*}text")]


def test_the_page_and_its_metrics_show_an_alarm_with_its_picture_and_no_other_file(line, generator, tmp_path):
    line.take(_values(generator, 100, brightness=1.28))
    folder = tmp_path / "station"
    draw(line.ledger, folder)
    (folder / "drift" / "other.svg").write_text("of nobody's business")
    app = make_station_app(station_page(folder), Limits(), Access())
    with TestClient(app, "http://127.0.0.1:8000") as client:
        (alarm,) = client.get("/station/state").json()["drift"]
        assert "% brighter than in training" in alarm["text"]
        picture = client.get(f"/{alarm['picture']}")
        assert picture.headers["content-type"] == "image/svg+xml" and picture.text.startswith("<svg")
        for name in ("other.svg", "none.svg", "..%2Fstation.sqlite"):
            assert client.get(f"/station/drift/{name}").status_code == 404
        counted = client.get("/metrics").text
        assert f'anomaly_station_drift_alarm{{run="{RUN}",quantity="brightness"}} 1' in counted
        assert 'anomaly_station_parts_total{verdict="good"}' in counted and "anomaly_requests_total" in counted
        (folder / LEDGER).unlink()
        assert "anomaly_station" not in client.get("/metrics").text


def test_an_alarm_stays_when_photographs_are_as_before_and_is_told_once(line, generator):
    said = line.take(_values(generator, 30, sharpness=0.5))
    assert len(said) == 1 and "% less sharp than in training" in said[0]
    assert line.take(_values(generator, 100)) == [] and len(alarms(line.ledger)) == 1


def test_a_line_with_two_percent_of_bad_parts_raises_no_alarm_and_one_with_a_third_does(line, generator):
    assert line.take(_values(generator, 1500), bad=lambda number: generator.random() < 0.02) == []
    (said,) = line.take(_values(generator, 200), bad=lambda number: generator.random() < 0.33)
    assert re.search(r"drift: \d+ of the last \d+ photographs are abnormal, more than the expected 10%, since", said)


def test_as_many_bad_parts_as_are_expected_raise_no_alarm(tmp_path, generator):
    line = Line(tmp_path / "station", {RUN: _reference(generator)}, expected_bad=0.4)
    assert line.take(_values(generator, 600), bad=lambda number: generator.random() < 0.35) == []


def test_the_text_names_what_else_is_different(line, generator):
    said = line.take(_values(generator, 30, map_mean=1.3, brightness=1.3), batch=30)
    assert any("brighter" in text and "anomaly maps are on average" in text for text in said)


def test_a_station_that_starts_again_after_every_batch_finds_the_same(tmp_path, generator):
    reference, values = _reference(generator), _values(generator, 60)
    whole = Line(tmp_path / "whole", {RUN: reference})
    whole.take(values, batch=60)
    parts = Line(tmp_path / "parts", {RUN: reference})
    for begin in range(0, 60, 20):
        parts.drift = Drift(parts.ledger, parts.references)
        parts.take(values[begin : begin + 20], batch=7)
    found, expected = ({name: asdict(watch) for name, watch in stored(each.ledger).items()} for each in (parts, whole))
    assert found == expected and {watch["steps"] for watch in found.values()} == {60}


def test_a_part_counts_once_whatever_views_it_has_and_although_the_station_is_killed(tmp_path, monkeypatch):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(5):
        put(inbox, f"a{number}_1.png", 0.2), put(inbox, f"a{number}_2.png", 0.2)
    scores = Reference({SCORE: [number / 100 for number in range(40)]}, "one")
    real = Ledger.keep_watch

    def killed(self, name, *values):
        real(self, name, *values)
        if name.endswith(QUANTITIES[-1]):
            raise KeyboardInterrupt

    first = make_station(inbox, tmp_path / "output")
    first.drift = Drift(first.ledger, {"reading": scores})
    monkeypatch.setattr(Ledger, "keep_watch", killed)
    with pytest.raises(KeyboardInterrupt):
        first.step()
    assert stored(first.ledger) == {} and len(first.ledger.open_parts()) == 5, "no verdict without its count"
    first.ledger.close()
    monkeypatch.undo()
    second = make_station(inbox, tmp_path / "output")
    second.drift = Drift(second.ledger, {"reading": scores})
    work_off(second)
    watches = stored(second.ledger)
    assert watches["reading", SCORE].steps == 5 and sum(watches["reading", SCORE].counts) == 41 + 5


def test_a_reset_ends_an_alarm_is_kept_and_has_what_comes_next_be_the_new_normal(line, generator):
    line.take(_values(generator, 30, brightness=1.28))
    assert alarms(line.ledger)
    assert reset(line.ledger, "Ada", NOON + 31, "station") == 1
    assert alarms(line.ledger) == []
    line.take(_values(generator, FIRST + 300, brightness=1.28))
    assert alarms(line.ledger) == [], "it is compared with what came after the reset"
    watch = stored(line.ledger)[RUN, "brightness"]
    assert watch.steps == 300 and watch.against == "station"
    assert [(each["by"], each["at"]) for each in watch.resets] == [("Ada", NOON + 31)]
    assert "brighter" in watch.resets[0]["why"]
    (said,) = line.take(_values(generator, 30))
    assert "% darker than of the station's first photographs" in said


def test_a_reset_to_training_raises_the_same_alarm_while_nothing_was_done(line, generator):
    line.take(_values(generator, 30, brightness=1.28))
    reset(line.ledger, "Ada", NOON + 31)
    assert "brighter" in line.take(_values(generator, 30, brightness=1.28))[0]


def test_watches_begin_anew_when_the_run_is_another_one(line, generator):
    line.take(_values(generator, 30, brightness=1.28))
    line.drift = Drift(line.ledger, {RUN: Reference(line.references[RUN].values, "taught")})
    line.take(_values(generator, 20))
    assert alarms(line.ledger) == []
    watch = stored(line.ledger)[RUN, SCORE]
    assert watch.steps == 20 and watch.resets[0]["by"] == "the station"


def test_what_an_older_run_has_not_kept_is_compared_with_the_first_photographs_of_the_station(tmp_path, generator):
    line = Line(tmp_path / "station", {RUN: _reference(generator, without=LOOKS)})
    line.take(_values(generator, FIRST))
    watches = stored(line.ledger)
    assert watches[RUN, SCORE].steps == FIRST and watches[RUN, "brightness"].steps == 0
    assert "darker" in line.take(_values(generator, 40, brightness=0.8))[0]


def test_all_watches_of_all_runs_share_one_probability(tmp_path, generator):
    line = Line(tmp_path / "station", {RUN: _reference(generator), "padim-2": _reference(generator)})
    line.take(_values(generator, 1))
    assert {watch.level for watch in stored(line.ledger).values()} == {1000}
    assert sum(1 / watch.level for watch in stored(line.ledger).values()) * 2 == pytest.approx(0.01)


def test_a_run_that_is_added_later_gets_its_part_of_the_one_probability(line, generator):
    line.take(_values(generator, 1))
    references = {RUN: line.references[RUN], "padim-2": _reference(generator)}
    line.drift = Drift(line.ledger, references)
    line.take(_values(generator, 1)), line.take(_values(generator, 1), run="padim-2")
    watches = stored(line.ledger)
    assert len(watches) == 2 * len(QUANTITIES) and watches[RUN, SCORE].steps == 2
    assert sum(1 / watch.level for watch in watches.values()) == pytest.approx(0.01)
    line.drift = Drift(line.ledger, line.references)
    line.take(_values(generator, 1))
    assert sum(1 / watch.level for watch in stored(line.ledger).values()) == pytest.approx(0.01), (
        "the other had its part"
    )


def test_a_picture_that_could_not_be_drawn_is_drawn_by_a_later_step(tmp_path, monkeypatch):
    inbox, scores = tmp_path / "inbox", Reference({SCORE: [number / 100 for number in range(40)]}, "one")
    inbox.mkdir()
    for number in range(60):
        put(inbox, f"a{number:02d}_1.png", 0.45), put(inbox, f"a{number:02d}_2.png", 0.45)

    def station():
        one = make_station(inbox, tmp_path / "output")
        one.drift = Drift(one.ledger, {"reading": scores})
        return one

    def full(*_):
        raise OSError(28, "No space left on device")

    first = station()
    monkeypatch.setattr(drift_module, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        work_off(first)
    (alarm,) = alarms(first.ledger)
    picture = tmp_path / "output" / alarm["picture"]
    assert not picture.exists()
    monkeypatch.undo()
    first.step()
    assert picture.exists()
    first.ledger.close()
    picture.unlink()
    second = station()
    second.step()
    assert picture.exists(), "the station that saw the alarm may have been killed"
    second.ledger.close()


def test_alarms_of_two_watches_and_two_alarms_of_one_watch_have_pictures_of_their_own():
    run = "x" * 100
    names = [
        picture_of(name_of(run + end, quantity), at) for end in "ab" for quantity in QUANTITIES for at in (1.2, 1.4)
    ]
    assert len(set(names)) == 2 * len(QUANTITIES) * 2


def test_good_photographs_that_may_be_abnormal_more_often_than_is_expected_are_told_when_a_station_begins(tmp_path):
    _write_run(tmp_path / "run", [float(number) for number in range(100)], range(100))
    reference = Reference.read(tmp_path / "run", just_above(95.0))
    assert reference.may_reach == pytest.approx(stats.beta.ppf(0.99, 5, 96)), "the fifth highest of 100"
    (said,) = Drift(None, {RUN: reference}, expected_bad=0.1).doubts()
    assert f"{RUN} may judge up to 11.2% abnormal" in said and "--expected-bad is 10.0%" in said
    assert Drift(None, {RUN: reference}, expected_bad=0.12).doubts() == []
    assert Drift(None, {RUN: Reference()}, expected_bad=0.001).doubts() == [], "nothing is known"


@pytest.mark.parametrize(("above", "count"), [(1, 1), (1, 20), (30, 60), (50, 50), (500, 10_000)])
def test_what_may_reach_a_threshold_is_the_quantile_of_its_beta_distribution(above, count):
    assert may_reach(above, count) == pytest.approx(stats.beta.ppf(0.99, above, count + 1 - above))
    assert may_reach(0, count) == may_reach(1, count)


def _write_run(folder, scores, groups, looks=True):
    folder.mkdir()
    rows = [f"{place}.png,{group},{score},0,0" for place, (score, group) in enumerate(zip(scores, groups, strict=True))]
    (folder / CALIBRATION).write_text("\n".join(["path,group,score,area_score,highest", *rows]) + "\n")
    if looks:
        rows = [f"{place}.png,{place / 10},{place / 20},{place}" for place in range(len(scores))]
        (folder / APPEARANCE).write_text("\n".join(["path,brightness,sharpness,map_mean", *rows]) + "\n")


def test_the_reference_are_images_below_the_threshold_without_the_one_it_was_put_on(tmp_path):
    _write_run(tmp_path / "run", [1.0, 2.0, 3.0, 4.0], range(4))
    found = Reference.read(tmp_path / "run", just_above(3.0))
    assert found.values[SCORE] == [1.0, 2.0] and found.values["brightness"] == [0.0, 0.1]
    assert Reference.read(tmp_path / "run", just_above(4.0)).of != found.of
    assert Reference.read(tmp_path / "run", None).values[SCORE] == [1.0, 2.0, 3.0, 4.0]


def test_what_was_said_of_left_out_images_is_no_reference_where_only_their_looks_are_asked_for(tmp_path):
    _write_run(tmp_path / "run", [1.0, 2.0, 3.0], range(3))
    found = Reference.read(tmp_path / "run", None, only_looks=True)
    assert set(found.values) == {"brightness", "sharpness"}
    assert found.of != Reference.read(tmp_path / "run", None).of


def test_of_photographs_of_one_part_one_is_drawn_whatever_its_score(tmp_path):
    scores = [float(number) for number in range(300)]
    _write_run(tmp_path / "run", scores, [number // 3 for number in range(300)])
    found = Reference.read(tmp_path / "run", None).values[SCORE]
    assert len(found) == 100 and {int(score) // 3 for score in found} == set(range(100))
    places = np.array(found) % 3
    assert all(20 < (places == place).sum() < 47 for place in range(3))


def test_a_run_without_looks_or_without_calibration_has_less_of_a_reference(tmp_path):
    _write_run(tmp_path / "older", [1.0, 2.0], range(2), looks=False)
    found = Reference.read(tmp_path / "older", None).values
    assert found[SCORE] == [1.0, 2.0] and not any(found[look] for look in LOOKS)
    assert Reference.read(tmp_path, None).values == {}
    assert Reference.read(tmp_path, 1.0).of != Reference.read(tmp_path, 2.0).of, "or watching would not begin anew"
    (tmp_path / "older" / APPEARANCE).write_text("path,brightness\n0.png,x\n")
    with pytest.raises(InputError, match=f"{APPEARANCE} is damaged"):
        Reference.read(tmp_path / "older", None)


def test_status_tells_parts_views_and_watches_and_its_exit_status_tells_an_alarm(line, generator, tmp_path, capsys):
    folder = tmp_path / "station"
    line.take(_values(generator, 100), bad=lambda number: number == 50)
    assert status.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "open parts: 100\n" in said and "view 1: 1.0% of 100 photographs abnormal\n" in said
    assert f"watch {RUN}/brightness: 99 photographs compared with good images of training, strongest evidence" in said
    line.take(_values(generator, 30, brightness=1.28))
    assert status.main([str(folder)]) == status.ALARM == 3
    said = capsys.readouterr().out
    assert f"watch {RUN}/brightness: alarm\n" in said and "brighter than in training since" in said
    assert len(list((folder / "drift").glob("*.svg"))) == 1
    assert status.main([str(folder), "--reset", "--by", "Ada"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("watching begins anew; 1 alarms ended\n") and "by Ada\n" in said


def test_status_of_a_folder_without_a_station_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=f"has no {LEDGER}; valid: "):
        status.main([str(tmp_path)])


def test_metrics_are_in_prometheus_format_and_have_the_counts_of_the_ledger(line, generator):
    parser = pytest.importorskip("prometheus_client.parser")
    line.take(_values(generator, 30, brightness=1.28))
    families = {family.name: family for family in parser.text_string_to_metric_families(station_metrics(line.ledger))}
    values = {name: {tuple(each.labels.values()): each.value for each in one.samples} for name, one in families.items()}
    assert values["anomaly_station_photographs"] == {("found",): 30}
    assert values["anomaly_station_open_parts"] == {(): 30}
    assert values["anomaly_station_parts"]["good",] == 0
    assert values["anomaly_station_drift_alarm"][RUN, "brightness"] == 1
    assert values["anomaly_station_drift_alarm"][RUN, SCORE] == 0
    assert values["anomaly_station_drift_evidence"][RUN, "brightness"] >= 100


def test_alarms_and_metrics_are_read_by_whoever_only_reads_the_file(line, generator, tmp_path):
    line.take(_values(generator, 30, brightness=1.28))
    connection = sqlite3.connect(f"{(tmp_path / 'station' / LEDGER).as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row

    class Reader:
        def rows(self, query, *values):
            return connection.execute(query, values).fetchall()

    assert alarms(Reader()) == alarms(line.ledger) and station_metrics(Reader()) == station_metrics(line.ledger)
    connection.close()


def test_values_that_only_spread_otherwise_are_not_called_zero_percent_brighter(line):
    watch = drift_module.Watch("", 500, quantiles=[1.0, 1.0, 1.0])
    said = drift_module._differs("brightness", watch, [1.0], always=True)
    assert said == "brightness is distributed in another way than in training"


def test_a_reset_before_anything_is_watched_and_a_damaged_ledger_are_told(tmp_path, capsys):
    folder = tmp_path / "line"
    folder.mkdir()
    Ledger(folder / LEDGER).close()
    assert run_command(status.main, [str(folder), "--reset"]) == 2
    assert "nothing is watched yet" in capsys.readouterr().err
    assert run_command(status.main, [str(folder), "--by", "Ada"]) == 2
    assert "--by says who ends alarms; valid: with --reset" in capsys.readouterr().err
    with sqlite3.connect(folder / LEDGER) as other:
        other.execute("DROP TABLE photographs")
    assert run_command(status.main, [str(folder)]) == 2
    assert "station.sqlite cannot be read or changed: no such table" in capsys.readouterr().err
