import ctypes

import pytest
import torch

from training_code.foundation import hardware
from training_code.records.environment import describe_hardware

GPUS = [("NVIDIA H200", "GPU-5c1b0d52"), ("NVIDIA A100-SXM4-80GB", "GPU-77aa91c3")]


class Driver:
    """NVIDIA's management library, with the two GPUs or with those it is given."""

    def __init__(self, gpus=GPUS, status=0):
        self.gpus, self.status = gpus, status

    def __call__(self, name):
        assert name == "libnvidia-ml.so.1"
        return self

    def nvmlInit_v2(self):  # noqa: N802  the names are the library's
        return self.status

    def nvmlShutdown(self):  # noqa: N802
        return 0

    def nvmlDeviceGetCount_v2(self, count):  # noqa: N802
        count._obj.value = len(self.gpus)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):  # noqa: N802
        handle._obj.value = index + 1
        return 0

    def nvmlDeviceGetName(self, handle, buffer, size):  # noqa: N802
        buffer.value = self.gpus[handle.value - 1][0].encode()
        return 0

    def nvmlDeviceGetUUID(self, handle, buffer, size):  # noqa: N802
        buffer.value = self.gpus[handle.value - 1][1].encode()
        return 0


@pytest.fixture
def machine(monkeypatch):
    """Make a machine with a driver and a torch built for CUDA, and forget what was found before and after."""

    def make(driver, visible=None, cuda=True):
        monkeypatch.setattr(ctypes, "CDLL", driver)
        monkeypatch.setattr(hardware, "_torch_has_cuda", lambda: cuda)
        monkeypatch.delenv(hardware.VISIBLE, raising=False)
        if visible is not None:
            monkeypatch.setenv(hardware.VISIBLE, visible)
        hardware.gpu_name.cache_clear()
        describe_hardware.cache_clear()

    yield make
    monkeypatch.undo()
    hardware.gpu_name.cache_clear()
    describe_hardware.cache_clear()


@pytest.mark.parametrize(
    ("visible", "name"),
    [
        (None, "NVIDIA H200"),
        ("0", "NVIDIA H200"),
        ("1,0", "NVIDIA A100-SXM4-80GB"),
        (" 1 ", "NVIDIA A100-SXM4-80GB"),
        ("GPU-77", "NVIDIA A100-SXM4-80GB"),
        ("MIG-0a1b", "NVIDIA H200"),
        ("GPU-", None),  # two begin so
        ("2", None),
        ("", None),
        ("-1", None),
        ("NoDevFiles", None),
    ],
)
def test_a_plan_takes_the_gpu_that_torch_will_take(machine, visible, name):
    machine(Driver(), visible)
    assert hardware.gpu_name() == name
    assert hardware.has_gpu() is (name is not None)
    assert describe_hardware()["gpu"] == name, "by which the times of earlier runs are found"


def _no_library(name):
    raise OSError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [(_no_library, True), (Driver(status=9), True), (Driver([]), True), (Driver(), False)],
    ids=["no driver", "a driver that does not start", "a driver without GPUs", "torch for processors"],
)
def test_without_driver_gpu_or_torch_for_it_a_plan_is_for_a_processor(machine, driver, cuda):
    machine(driver, cuda=cuda)
    assert hardware.gpu_name() is None and not hardware.has_gpu()


@pytest.mark.parametrize("asked", ["nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetName"])
def test_a_gpu_that_does_not_answer_is_none(machine, monkeypatch, asked):
    machine(Driver())
    monkeypatch.setattr(Driver, asked, lambda *arguments: 15)  # GPU is lost
    assert not hardware.has_gpu()


@pytest.mark.slow
@pytest.mark.gpu
def test_the_name_is_the_one_that_torch_has_for_the_gpu():
    assert hardware.gpu_name() == torch.cuda.get_device_name()


def test_the_rate_of_products_is_one_that_processors_have():
    assert 1e8 < hardware.multiplication_rate() < 1e14
