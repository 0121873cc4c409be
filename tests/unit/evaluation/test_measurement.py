import time

import pytest
import torch

from training_code.evaluation.measurement import LATENCY_REPETITIONS, median_seconds, timed


@pytest.mark.parametrize("initialized", [True, False])
def test_times_contain_what_the_gpu_still_has_to_do(monkeypatch, initialized):
    waits: list[None] = []

    def synchronize():
        waits.append(None)
        time.sleep(0.01)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    seconds = {}
    with timed(seconds, "fit"):
        assert not waits, "only what the block gave the GPU is waited for"
    seconds["predict"] = median_seconds(lambda: None)
    assert len(waits) == (2 + LATENCY_REPETITIONS) * initialized
    assert all(taken >= 0.01 * initialized for taken in seconds.values())
