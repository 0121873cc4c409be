"""Exported files of strangers: what is odd about their graphs and descriptions is one sentence."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from helpers.records import make_dataset, make_record

from inference_code.graph_predictor import GraphPredictor
from inference_code.loading import load_predictor
from inference_code.runtimes import LoadOptions
from training_code.foundation.errors import InputError
from training_code.foundation.files import sha256

pytestmark = pytest.mark.slow  # ONNX Runtime takes its time to be imported
IMAGES = ["n", 3, "h", "w"]
FLOAT, INT, STRING = 1, 7, 8  # of TensorProto


def _nodes(score_axes=(1, 2, 3), map_axes=(1,), keep_maps=1, scale=1.0, cast=None, names=("score", "anomaly_map")):
    """Return the nodes of a graph that takes the mean of the pixels for the score, of the channels for the map."""
    nodes = [
        onnx.helper.make_node("Constant", [], ["scale"], value=onnx.numpy_helper.from_array(np.float32(scale))),
        onnx.helper.make_node("Mul", ["images", "scale"], ["scaled"]),
        onnx.helper.make_node("ReduceMean", ["scaled"], ["mean"], axes=score_axes, keepdims=0),
        onnx.helper.make_node("ReduceMean", ["scaled"], ["means"], axes=map_axes, keepdims=keep_maps),
    ]
    for given, name in zip(("mean", "means"), names, strict=False):
        cast_to = {"to": cast} if cast else {}
        nodes.append(onnx.helper.make_node("Cast" if cast else "Identity", [given], [name], **cast_to))
    return nodes


def _write(folder, nodes, outputs=("score", "anomaly_map"), kind=FLOAT, given="images", bits=8, **changes):
    """Write a graph and its description as an export does; return the file."""
    nodes = list(nodes)
    if given != "images":
        nodes.insert(0, onnx.helper.make_node("Identity", [given], ["images"]))
    ends = [onnx.helper.make_tensor_value_info(name, kind, None) for name in outputs]
    start = [onnx.helper.make_tensor_value_info(given, FLOAT, IMAGES)]
    graph = onnx.helper.make_graph(nodes, "g", start, ends)
    path = folder / "model.onnx"
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    description = {
        "schema_version": 1,
        "format": "onnx",
        "image_size": [32, 40],
        "thresholds": {"image": 0.5, "pixel": None},
        "files": {path.name: sha256(path)},
        "record": dataclasses.asdict(make_record(dataset=make_dataset(bits=bits))),
    }
    (folder / "model.onnx.json").write_text(json.dumps(description | changes))
    return path


def test_a_graph_as_an_export_writes_it_is_loaded(tmp_path):
    predictor = GraphPredictor.load(_write(tmp_path, _nodes()), "onnx")
    (found,) = predictor.predict([np.full((32, 40, 3), 51, np.uint8)])
    assert (
        found.score == pytest.approx(0.2, rel=1e-5) and found.abnormal is False and found.anomaly_map.shape == (32, 40)
    )


@pytest.mark.parametrize(
    ("nodes", "more", "words"),
    [
        (dict(names=("score", "map")), {"outputs": ["score", "map"]}, "gives score, map; missing: anomaly_map"),
        (dict(names=("score",)), {"outputs": ["score"]}, "gives score; missing: anomaly_map"),
        (dict(score_axes=(2, 3)), {}, "scores of shape (1, 3) for 1 images"),
        (dict(score_axes=(0, 1, 2, 3)), {}, "scores of shape () for 1 images"),
        (dict(map_axes=(2, 3)), {}, "anomaly maps of shape (1, 3, 1, 1) for 1 images"),
        (dict(map_axes=(1, 2), keep_maps=0), {}, "anomaly maps of shape (1, 40) for 1 images"),
        (dict(scale=np.nan), {}, "scores that are not finite"),
        (dict(scale=np.inf), {}, "scores that are not finite"),
        (dict(cast=INT), {"kind": INT}, "scores of the type int64; valid: floating point"),
        (dict(cast=STRING), {"kind": STRING}, "scores of the type object"),
        (dict(), {"given": "pictures"}, "cannot compute images"),
        (dict(), {"image_size": [32]}, "is not as an export wrote it"),
        (dict(), {"image_size": [32, "40"]}, "is not as an export wrote it"),
        (dict(), {"image_size": [0, 40]}, "wants images resized to 40 × 0 pixels"),
        (dict(), {"image_size": [10**6, 10**6]}, "wants images resized to 1000000 × 1000000 pixels"),
        (dict(), {"thresholds": {"image": "high", "pixel": None}}, "is not as an export wrote it"),
        (dict(), {"files": ["model.onnx"]}, "is not as an export wrote it"),
        (dict(), {"files": {"model.onnx": 5}}, "is not as an export wrote it"),
        (dict(), {"format": None}, "is not as an export wrote it"),
        (dict(), {"precision": "int4"}, "is not as an export wrote it"),
        (dict(), {"bits": 64}, "has images of 64 bits"),
    ],
)
def test_what_is_odd_about_a_file_of_strangers_is_one_sentence(tmp_path, nodes, more, words):
    with pytest.raises(InputError) as error:
        GraphPredictor.load(_write(tmp_path, _nodes(**nodes), **more), "onnx")
    said = str(error.value)
    assert words in said and "model.onnx" in said and "\n" not in said


def test_a_description_that_is_nested_deeply_is_told_as_damaged(tmp_path):
    path = _write(tmp_path, _nodes())
    path.with_name("model.onnx.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"model\.onnx\.json is damaged"):
        GraphPredictor.load(path, "onnx")


@pytest.mark.parametrize(("own", "asked"), [({}, "int8"), ({"precision": "int8"}, "float32")])
def test_a_file_is_not_silently_run_in_another_precision_than_asked(tmp_path, own, asked):
    path = _write(tmp_path, _nodes(), **own)
    computes = own.get("precision", "float32")
    with pytest.raises(InputError, match=rf"model\.onnx computes in {computes}, not in {asked} \(--precision\)"):
        GraphPredictor.load(path, "onnx", precision=asked)


def test_the_precision_that_is_asked_for_is_that_of_the_file_that_is_given(tmp_path):
    path = _write(tmp_path, _nodes())
    with pytest.raises(InputError, match="computes in float32, not in int8"):
        load_predictor(path, options=LoadOptions("onnx", precision="int8"))


def test_scores_that_are_not_finite_for_one_image_alone_are_told_too(tmp_path):
    nodes = [
        *_nodes(names=("mean_score", "anomaly_map")),
        onnx.helper.make_node("Reciprocal", ["mean_score"], ["score"]),
    ]
    nodes[1] = onnx.helper.make_node("Sub", ["images", "scale"], ["scaled"])
    predictor = GraphPredictor.load(_write(tmp_path, nodes), "onnx")
    with pytest.raises(InputError, match="the detector gives scores that are not finite"):
        list(predictor.predict([np.full((32, 40, 3), 255, np.uint8)]))
