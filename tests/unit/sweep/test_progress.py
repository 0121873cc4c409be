"""The lines that a sweep tells."""

import pytest

from training_code.sweep.progress import Progress


@pytest.mark.parametrize(
    ("outcome", "details", "line"),
    [
        ("failed", "failed to allocate", "[1/3] run: failed, failed to allocate, 4 s"),
        ("timeout", "timeout of a camera", "[1/3] run: timeout, timeout of a camera, 4 s"),
        ("stale", "changed since: the code", "[1/3] run: stale, changed since: the code, 4 s"),
        ("ok", "", "[1/3] run: ok, 4 s"),
    ],
)
def test_the_outcome_is_told_whatever_the_details_begin_with(tmp_path, capsys, outcome, details, line):
    with Progress("sweep", 3, tmp_path) as progress:
        progress.end("run", outcome, details, 4.0, None)
        failed = dict(progress.failed)
    assert capsys.readouterr().out.splitlines() == [line]
    assert failed == ({"run": f"{outcome}, {details}"} if outcome in ("failed", "timeout") else {})
