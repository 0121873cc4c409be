"""Kill a process that makes a run again at COUNT random moments between its writes, and see what is left of the run.

``python tests/tools/kill_between_writes.py COUNT [SEED]``; the suite does it before every write once.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers.kills import killed_before, make_version, version_of  # noqa: E402

from training_code.records import leases  # noqa: E402
from training_code.records.store import RunStore  # noqa: E402


def main(count: int, seed: int) -> int:
    """Kill so often; print what was seen and return how often it was not right."""
    leases.LEASE, leases._POLL = 0.3, 0.02
    generator, wrong, kills, version, longest = random.Random(seed), 0, 0, 1, 0.0
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder) / "results")
        make_version(store, version)
        while kills < count:
            new = version + 1
            kills += killed_before(generator.randrange(40), lambda new=new: make_version(store, new))
            try:
                found = version_of(store)
                assert found in (version, new), "lost"
                began = time.monotonic()
                with RunStore(store.results).locked("padim-resnet18-0123456789"):
                    longest = max(longest, time.monotonic() - began)
                version = found
            except (AssertionError, ValueError) as error:
                wrong += 1
                print(f"after {kills} kills: {error!r}")
    print(f"{kills} kills, seed {seed}: {wrong} wrong; the lock was free again after at most {longest:.2f} s")
    return wrong


if __name__ == "__main__":
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    sys.exit(bool(main(int(sys.argv[1]), seed)))
