"""What Ray changes in the process that starts it."""

import signal
import sys
from types import SimpleNamespace

import pytest

from training_code.foundation.program import cleaning_up_at_sigterm
from training_code.sweep import pools
from training_code.sweep.file import Resources


class _Ray(SimpleNamespace):
    """Sets the handlers of SIGTERM that Ray sets: one while it starts, another one afterwards."""

    def __init__(self, killed):
        super().__init__(killed=killed, remote=lambda **_: lambda function: function)

    def init(self, **_):
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        if self.killed == "while it starts":
            signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2}}]


@pytest.mark.parametrize("when", ["while it starts", "when it has started"])
def test_ray_has_no_influence_on_what_sigterm_does(when, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", _Ray(when))
    with pytest.raises(SystemExit) as ended, cleaning_up_at_sigterm():
        pools.OnRay(2, Resources())
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143 and capsys.readouterr().err == "terminated\n"
