"""Records whose notes are sentences alone are read as those of today."""

import dataclasses
import json

import pandas as pd
import pytest
from helpers.records import make_record

from training_code.comparison.table import runs_table
from training_code.records.record import RECORD, read_record

LEAK = "has the content of a training image: a leak"


def _read(folder, notes):
    """Write a record as it was written before and return it as it is read now."""
    content = dataclasses.asdict(make_record())
    content["dataset"]["notes"] = notes
    (folder / RECORD).write_text(json.dumps(content))
    return read_record(folder)


@pytest.mark.parametrize(
    "note",
    [
        f"test/good/copy.png {LEAK} (train/good/003.png)",
        f"test/good/copy.png {LEAK} (train/good/003.png) (and 11 others)",
        f"test/media leak/a (1).png {LEAK} (train/good/b (2).png)",
    ],
)
def test_the_leak_in_an_older_record_is_still_marked(tmp_path, note):
    record = _read(tmp_path, ["train/good/a.png has transparency: dropped", note])
    assert runs_table([(tmp_path, record)])["leak"].tolist() == [note]


@pytest.mark.parametrize(
    "note",
    [
        "ground_truth/media leak/000_mask.png is an empty mask: its image counts as abnormal, its pixels as good",
        "test/a leak/000.png has the content of another image (test/a leak/001.png)",
        "test/a leak/000.png has the content of another image (test/a leak/001.png) (and 2 others)",
        f"test/{LEAK}/000.png has transparency: dropped",
    ],
)
def test_other_notes_in_an_older_record_mark_no_leak_and_are_kept(tmp_path, note):
    record = _read(tmp_path, [note])
    assert pd.isna(runs_table([(tmp_path, record)])["leak"][0])
    assert [kept["message"] for kept in record.dataset["notes"]] == [note]


def test_in_a_record_of_today_the_kind_decides_and_not_the_words(tmp_path):
    record = _read(tmp_path, [{"kind": "name", "message": f"x {LEAK} (y)"}, {"kind": "leak", "message": "told anew"}])
    assert runs_table([(tmp_path, record)])["leak"].tolist() == ["told anew"]
