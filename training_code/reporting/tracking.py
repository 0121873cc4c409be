"""Runs in MLflow, for teams who look there."""

import dataclasses
import datetime
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES

from training_code.foundation.errors import InputError
from training_code.records.record import RECORD, SCORES, Record

#: The tag that holds the name of a run, by which it is found again.
RUN_TAG = "anomaly.run_id"
# MLflow's limits: characters of a value, entries of a call.
_LONGEST, _MOST = 6000, 100
_STATUS = {"ok": "FINISHED"}


def log_runs(runs: Iterable[tuple[Path, Record]], uri: str, artifacts: Path) -> tuple[int, int]:
    """Log runs to MLflow, each once: an experiment for each dataset, a run for each run.

    Parameters
    ----------
    runs
        Folders with their records.
    uri
        A tracking server, or a database: ``sqlite:///mlflow.db``.
    artifacts
        Folder for copies of the records and scores where ``uri`` is a database; a server has a place of its own.

    Returns
    -------
    tuple
        How many runs were logged now, and how many were there.

    Raises
    ------
    InputError
        If the server cannot be reached or refuses.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 take minutes
    logged = known = 0
    try:
        client = MlflowClient(tracking_uri=uri)
        experiments: dict[str, str] = {}
        there: dict[str, dict[str, str | None]] = {}
        for folder, record in runs:
            name = record.dataset.name
            if name not in experiments:
                experiments[name] = _experiment(client, name, artifacts if _is_database(uri) else None)
                there[name] = _known(client, experiments[name])
            # A run that was made again is another one.
            if there[name].get(record.run_id) == record.finished:
                known += 1
                continue
            _log(client, experiments[name], folder, record)
            logged += 1
    except (MlflowException, OSError) as error:
        raise InputError(f"MLflow at {uri}: {str(error).splitlines()[0]}") from error
    return logged, known


def _is_database(uri: str) -> bool:
    """Return whether MLflow, left alone, would write files into ``mlruns/`` of the working folder."""
    return uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    location = None if artifacts is None else (artifacts / name).resolve().as_uri()
    return client.create_experiment(name, artifact_location=location)


def _known(client: MlflowClient, experiment: str) -> dict[str, str | None]:
    """Return when each run that is there had finished."""
    found, token = {}, None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            if RUN_TAG in run.data.tags and run.info.status in ("FINISHED", "FAILED"):
                found[run.data.tags[RUN_TAG]] = run.data.tags.get("finished")
        token = page.token
        if not token:
            return found


def _log(client: MlflowClient, experiment: str, folder: Path, record: Record) -> None:
    identity = record.identity
    params = {**record.arguments, "seed": identity.seed, **record.compute, **identity.compute}
    params |= {
        name: "x".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(identity.protocol).items()
    }
    params |= {"labels_for_training": record.labels, "labels_for_thresholds": record.labels_for_thresholds}
    metrics = {**record.metrics, **{f"{name}_s": value for name, value in record.times.items()}}
    metrics |= {f"peak_memory_{name}_bytes": float(value) for name, value in record.memory.items()}
    tags = {
        RUN_TAG: record.run_id,
        "finished": record.finished,
        "detector": record.detector,
        "dataset_fingerprint": record.dataset.fingerprint,
        "status": record.status,
        "git_commit": record.git_commit,
        "error": record.error,
    }
    began, ended = (
        int(1000 * datetime.datetime.fromisoformat(text).timestamp()) for text in (record.started, record.finished)
    )
    run = client.create_run(experiment, start_time=began, run_name=record.run_id)
    logged_params = [Param(name, str(value)[:_LONGEST]) for name, value in params.items() if value is not None]
    logged_metrics = [Metric(name, float(value), ended, 0) for name, value in metrics.items()]
    logged_tags = [RunTag(name, str(value)[:_LONGEST]) for name, value in tags.items() if value is not None]
    for start in range(0, max(len(logged_params), len(logged_metrics), 1), _MOST):
        part = slice(start, start + _MOST)
        client.log_batch(run.info.run_id, logged_metrics[part], logged_params[part], logged_tags if not start else [])
    for name in (RECORD, SCORES):
        if (folder / name).is_file():
            client.log_artifact(run.info.run_id, str(folder / name))
    client.set_terminated(run.info.run_id, _STATUS.get(record.status, "FAILED"), ended)
