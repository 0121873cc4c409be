"""``python tests/tools/serve_brightness.py``: the service with a detector that takes no time, to be measured."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.serving import BrightnessPredictor  # noqa: E402

from inference_code.service.app import create_app  # noqa: E402
from inference_code.service.limits import Limits  # noqa: E402
from inference_code.service.listening import open_socket  # noqa: E402
from inference_code.service.server import run_server  # noqa: E402


def main() -> int:
    """Serve on a port that is free until a signal comes; arguments such as ``head=2`` change the limits."""
    changes = {name: float(value) for name, value in (argument.split("=") for argument in sys.argv[1:])}
    limits = Limits(**changes)
    with open_socket("127.0.0.1", 0) as listener:
        app = create_app([BrightnessPredictor()], limits)
        return run_server(app, listener, limits, f"http://127.0.0.1:{listener.getsockname()[1]} serves brightness")


if __name__ == "__main__":
    sys.exit(main())
