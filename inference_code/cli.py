"""``anomaly COMMAND …``: one program for every command; ``python -m`` and the module's name do the same."""

import importlib
import sys

from training_code.foundation.errors import run_command, unknown
from training_code.foundation.program import DISTRIBUTION, started_as

#: Each command with its module, which is imported when it is called, and what it does.
COMMANDS = {
    "start": ("training_code.start", "without the repository: a folder with notebooks and sweep files"),
    "prepare-data": ("training_code.prepare_data", "bring a dataset into the layout that is read"),
    "check-data": ("training_code.check_data", "what is in a dataset folder, and what is wrong with it"),
    "weights": ("training_code.weights", "the weight files of the backbones: list, add, check, fetch"),
    "sweep": ("training_code.sweep.__main__", "run every configuration that a sweep file selects"),
    "search": ("training_code.search", "look for the best configuration of a detector"),
    "rethreshold": ("training_code.rethreshold", "put another rule for thresholds in force for stored runs"),
    "compare": ("training_code.compare", "gather all runs into models_comparing.xlsx"),
    "predict": ("inference_code.predict", "scores, masks and pictures of new images"),
    "export": ("inference_code.export.__main__", "the detector of a run as a file"),
    "station": ("inference_code.station.__main__", "parts judged at a line as their photographs come in"),
    "status": ("inference_code.station.status", "what a station has judged, and whether it drifts"),
    "review": ("inference_code.review", "what people said of the parts that a station had judged"),
    "teach": ("inference_code.teach", "good photographs that a run refused, taken into its detector"),
    "serve": ("inference_code.serve", "detectors over HTTP, and a page to try them"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the first argument names; return its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = next((argument for argument in arguments if argument != "--debug"), "")
    if name not in COMMANDS:
        return run_command(_answer, arguments)
    arguments.remove(name)
    module = importlib.import_module(COMMANDS[name][0])
    with started_as(f"anomaly {name}"):
        return run_command(module.main, arguments, getattr(module, "EXTRA", None))


def _answer(arguments: list[str]) -> int:
    """Answer what begins with no command."""
    name = arguments[0] if arguments else ""
    if name == "--version":
        # Only now: it takes 20 ms, half of what --help takes.
        from importlib.metadata import version

        print(f"anomaly {version(DISTRIBUTION)}")
        return 0
    if name not in ("", "-h", "--help"):
        raise unknown("command", name, COMMANDS)
    print("usage: anomaly COMMAND …\n")
    for command, (_, does) in COMMANDS.items():
        print(f"  {command:13} {does}")
    print("\nanomaly COMMAND --help lists its arguments, anomaly --version tells the version.")
    return 0 if name else 2


if __name__ == "__main__":
    sys.exit(main())
