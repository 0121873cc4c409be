"""How a detector is loaded: what does not fit together is told before anything is loaded."""

import pytest

from inference_code.runtimes import LoadOptions
from training_code.foundation.errors import InputError


@pytest.mark.parametrize("asked", [{"device": "cuda"}, {"precision": "bfloat16"}])
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_an_exported_file_is_not_silently_run_elsewhere_or_in_another_precision_than_asked(runtime, asked):
    with pytest.raises(InputError, match=f"for the runtime torch; {runtime} runs on the processor in float32"):
        LoadOptions(runtime, **asked)


@pytest.mark.parametrize(("runtime", "file"), [("onnx", "model.int8.onnx"), ("openvino", "model.int8.xml")])
def test_a_file_of_8_bit_integers_is_asked_for_by_its_precision(runtime, file):
    assert LoadOptions(runtime, precision="int8").file == file
    assert LoadOptions(runtime).file != file


def test_a_run_itself_is_not_asked_for_in_8_bit_integers():
    with pytest.raises(InputError, match="precision 'int8' is for exported files; valid runtimes with it: onnx, openv"):
        LoadOptions(precision="int8")


def test_an_unknown_runtime_is_told_with_the_valid_ones():
    with pytest.raises(InputError, match="unknown runtime 'tensorrt'; valid: torch, onnx, openvino"):
        LoadOptions("tensorrt")


def test_an_exported_file_may_be_asked_for_on_the_processor():
    assert LoadOptions("onnx", "cpu").device == "cpu"
