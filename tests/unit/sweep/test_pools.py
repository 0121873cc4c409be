"""What Ray changes in the process that starts it."""

import subprocess
import sys

import pytest

from training_code.foundation import paths

# Sets the handlers of SIGTERM that Ray sets: one while it starts, another one afterwards. In a process of its own,
# since the tests would end with it.
SCRIPT = """
import signal, sys
from types import SimpleNamespace

killed = sys.argv[1]

def init(**_):
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    if killed == "while it starts":
        signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

remote = lambda **_: lambda function: function
nodes = lambda: [{"Alive": True, "Resources": {"CPU": 2}}]
sys.modules["ray"] = SimpleNamespace(init=init, remote=remote, nodes=nodes)

from training_code.foundation.program import cleaning_up_at_sigterm
from training_code.sweep import pools
from training_code.sweep.file import Resources

with cleaning_up_at_sigterm():
    pools.OnRay(2, Resources())
    signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.parametrize("when", ["while it starts", "when it has started"])
def test_ray_has_no_influence_on_what_sigterm_does(when):
    result = subprocess.run([sys.executable, "-c", SCRIPT, when], cwd=paths.ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (143, "terminated\n")
