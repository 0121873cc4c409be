import time

import pytest
import torch

from training_code.evaluation.measurement import median_seconds, timed


@pytest.mark.parametrize(("initialized", "shortest", "longest"), [(True, 0.01, 1.0), (False, 0.0, 0.005)])
def test_times_contain_what_the_gpu_still_has_to_do(monkeypatch, initialized, shortest, longest):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialized)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: time.sleep(0.01))
    seconds = {}
    with timed(seconds, "fit"):
        pass
    for taken in (seconds["fit"], median_seconds(lambda: None)):
        assert shortest <= taken < longest
