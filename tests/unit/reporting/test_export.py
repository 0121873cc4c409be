import io
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from helpers.results import make_results, make_run
from mlflow import MlflowClient

from training_code.comparison.table import runs_table
from training_code.foundation.errors import InputError
from training_code.records.reading import read_records
from training_code.reporting import tracking
from training_code.reporting.export import export
from training_code.reporting.sheets import Sheet, all_sheets, compare
from training_code.reporting.tracking import RUN_TAG, log_runs


@pytest.fixture
def sheets():
    columns = {"image_AUROC": [0.123456789, np.nan], "seeds": [3, 1], "layers": ["a, b", None]}
    return [Sheet("Best models", pd.DataFrame({"Model": ["Padim", "a|b & c_d"], **columns}))]


def test_csv_holds_every_digit(sheets):
    read = pd.read_csv(io.BytesIO(export(sheets, "Best models", "csv")))
    assert read["image_AUROC"][0] == 0.123456789 and np.isnan(read["image_AUROC"][1])
    assert read["seeds"].tolist() == [3, 1]


def test_text_that_begins_as_a_formula_is_text_in_csv_and_numbers_stay_numbers():
    names = ["=cmd()", "+1+1", "-x", "@a", "\t=1", "-1.5", "a=b"]
    table = pd.DataFrame({"Model": names, "=A1, 64 × 64": [-1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0], "n": range(-3, 4)})
    lines = export([Sheet("By dataset", table)], "By dataset", "csv").decode().splitlines()
    assert lines[0] == """Model,"'=A1, 64 × 64",n"""
    first, others = zip(*(line.split(",", 1) for line in lines[1:]), strict=True)
    assert first == ("'=cmd()", "'+1+1", "'-x", "'@a", "'\t=1", "-1.5", "a=b")
    assert others[:2] == ("-1.0,-3", "-2.0,-2")


def test_parquet_holds_types(sheets):
    read = pd.read_parquet(io.BytesIO(export(sheets, "Best models", "parquet")))
    pd.testing.assert_frame_equal(read, sheets[0].table, check_dtype=False)


def test_markdown_and_latex_are_rounded_and_escaped(sheets):
    lines = export(sheets, "Best models", "markdown").decode().splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["Model", "image_AUROC", "seeds", "layers"]
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["Padim", "0.123", "3", "a, b"]
    assert "a\\|b & c_d" in lines[3]
    assert r"a|b \& c\_d &  & 1 &  \\" in export(sheets, "Best models", "latex").decode()


@pytest.mark.parametrize("format", ["csv", "parquet", "markdown", "latex"])
def test_every_sheet_can_be_exported(sheets, tmp_path, format):
    make_results(tmp_path, seeds=(0, 1))
    make_run(tmp_path, "bad", seed=1, status="failed", metrics={}, times={}, error="x")
    runs, problems = read_records(tmp_path)
    sheets = all_sheets(compare(runs_table(runs), problems), tmp_path)
    for sheet in sheets:
        content = export(sheets, sheet.name, format)
        if format == "csv":
            assert len(pd.read_csv(io.BytesIO(content))) == len(sheet.table)
        if format == "parquet":
            assert len(pd.read_parquet(io.BytesIO(content))) == len(sheet.table)


def test_unknown_sheets_and_formats_are_refused_with_the_valid_ones(sheets):
    with pytest.raises(InputError, match="unknown sheet 'Best'.*valid: Best models"):
        export(sheets, "Best", "csv")
    with pytest.raises(InputError, match="unknown format 'xml'.*valid: csv, parquet, markdown, latex"):
        export(sheets, "Best models", "xml")


@pytest.mark.slow
def test_mlflow_has_each_run_once_with_its_numbers(tmp_path, monkeypatch):
    make_run(tmp_path, "good", metrics={"image_AUROC": 0.75})
    make_run(tmp_path, "bad", seed=1, status="failed", metrics={}, error="x")
    runs, uri = read_records(tmp_path)[0], f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    assert log_runs(runs, uri, tmp_path / "artifacts") == (2, 0)
    assert log_runs(runs, uri, tmp_path / "artifacts") == (0, 2)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("d")
    found = {run.data.tags[RUN_TAG]: run for run in client.search_runs([experiment.experiment_id])}
    assert found["good"].data.metrics["image_AUROC"] == 0.75 and found["good"].info.status == "FINISHED"
    assert found["good"].data.params["n_features"] == "100" and found["bad"].info.status == "FAILED"
    names = {file.path for file in client.list_artifacts(found["good"].info.run_id)}
    assert names == {"run.json", "scores.csv"}
    assert not any(Path().iterdir()), "nothing is written to the working folder"


def test_an_mlflow_that_is_not_there_is_one_sentence(tmp_path):
    make_run(tmp_path, "good")
    (tmp_path / "file").touch()
    uri = f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}"
    with pytest.raises(InputError, match=f"^MLflow at {uri}: "):
        log_runs(read_records(tmp_path)[0], uri, tmp_path / "artifacts")


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("sqlite:///a.db", True),
        ("postgresql+psycopg2://host/db", True),
        ("mysql://host/db", True),
        ("https://host", False),
        ("databricks", False),
    ],
)
def test_files_for_mlflow_go_where_told_unless_a_server_has_a_place_for_them(tmp_path, monkeypatch, uri, database):
    client = MagicMock()
    client.get_experiment_by_name.return_value = None
    client.search_runs.return_value.token = None
    monkeypatch.setattr(tracking, "MlflowClient", lambda tracking_uri: client)
    make_run(tmp_path, "good")
    log_runs(read_records(tmp_path)[0], uri, tmp_path / "artifacts")
    expected = (tmp_path / "artifacts" / "d").as_uri() if database else None
    client.create_experiment.assert_called_once_with("d", artifact_location=expected)
