"""Records of older schemas, converted to the current form when they are read.

Only here does the wording of a sentence decide anything: older records have nothing else.
"""

import re
from typing import Any

from training_code.protocol import ComputeOptions
from training_code.records.identity import SCHEMA_VERSION
from training_code.records.metrics import METRICS

#: The schemas that can still be read.
OLDER = (4, 5)
#: The rule by which thresholds of these records were found; they know no other one.
RULE = "synthetic"
#: The kind of a finding that was kept as a sentence alone and is no leak.
UNKNOWN = "unknown"
# The whole sentence, as it was written about the first of the files of which it was true, and the number of the others.
_LEAK = re.compile(r".+ has the content of a training image: a leak \(.+\)(?: \(and [0-9]+ others\))?")


def upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """Return a record of schema 4 or 5 in the current form.

    The identity of schema 4 held what has no influence on the numbers: options of a backbone that is not there, batch
    sizes of what is computed image by image. It did not say which runtime ``auto`` stood for; another field of the
    record does. Up to schema 5 thresholds came from synthetic anomalies alone, on images that were held out.

    Raises
    ------
    ValueError
        If the record is not as it was written; the message says what is missing.
    """
    try:
        if content["schema_version"] == 4:
            content = content | _upgraded(content["identity"], content)
        return content | _with_a_rule(content) | {"schema_version": SCHEMA_VERSION}
    except KeyError as error:
        raise ValueError(f"{error.args[0]} missing") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not as it was written: {error}") from error


def _upgraded(identity: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    arguments, normalization = dict(identity["arguments"]), identity["normalization"]
    if "batch_size" in arguments:
        arguments["batch_size"] = identity["train_batch_size"]
    mode = normalization["mode"]
    compute = {name: identity[name] for name in (*_OF_A_BACKBONE, "train_batch_size", "eval_batch_size")}
    asked = ComputeOptions(**{name: compute[name] for name in _OF_A_BACKBONE})
    gpu = content.get("environment", {}).get("gpu") is not None
    dataset = dict(content["dataset"])
    dataset["notes"] = [_finding(note) for note in dataset.get("notes", [])]
    return {
        "identity": {
            "detector": identity["detector"],
            "arguments": arguments,
            "seed": identity["seed"],
            "protocol": {
                "image_size": identity["image_size"],
                "normalization": "backbone" if mode == "none" else mode,
                "validation_split": identity["validation_split"],
            },
            "compute": asked.deciding_about(bool(content["weights"]), gpu),
            "mean": normalization.get("mean"),
            "std": normalization.get("std"),
            "dataset_fingerprint": identity["dataset_fingerprint"],
            "weights_sha256": identity["weights_sha256"],
            "files_sha256": identity["files_sha256"],
        },
        "compute": compute,
        "dataset": dataset,
        "weights": None if content["weights"] == {} else content["weights"],
        "checkpoint": content.get("checkpoint") or None,
    }


def _with_a_rule(content: dict[str, Any]) -> dict[str, Any]:
    """Return identity and thresholds with the rule by which they were found, which promised nothing."""
    identity = content["identity"]
    at: dict[str, Any] = {
        kind: {"threshold": value} for kind, value in content.get("thresholds", {}).items() if value is not None
    }
    if at:
        decided = {"metrics": "metrics", "intervals": "intervals"}
        at |= {
            name: {key: value for key, value in content.get(of, {}).items() if "threshold" in _needs(key)}
            for name, of in decided.items()
        }
        at["missed"] = {
            name: row["image_MissRate"]
            for name, row in content.get("by_defect_type", {}).items()
            if "image_MissRate" in row
        }
    return {
        "identity": identity | {"protocol": identity["protocol"] | {"threshold": RULE}},
        "at": at,
        "rules": {RULE: at} if at else {},
    }


def _needs(metric: str) -> frozenset[str]:
    return METRICS[metric].needs if metric in METRICS else frozenset()


_OF_A_BACKBONE = ("backbone_precision", "channels_last", "backbone_runtime")


def _finding(note: Any) -> Any:
    """Return a note about a dataset as the plain data of a finding; anything but a sentence stays as it is."""
    if not isinstance(note, str):
        return note
    return {"kind": "leak" if _LEAK.fullmatch(note) else UNKNOWN, "message": note}
