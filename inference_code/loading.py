"""`load_predictor`: from a run, or what was exported of it, to a `Predictor`."""

from collections.abc import Callable
from pathlib import Path

from inference_code.graph_predictor import GraphPredictor
from inference_code.predictor import Predictor
from inference_code.runs import find_run, in_use, refuse_taught
from inference_code.runtimes import INT8, LoadOptions
from inference_code.torch_predictor import TorchPredictor
from training_code.foundation import paths
from training_code.foundation.errors import InputError
from training_code.records.exports import EXPORTS


def load_predictor(
    run: str | Path,
    results: str | Path = "results",
    dataset: str | None = None,
    criterion: str | None = None,
    options: LoadOptions | None = None,
    say: Callable[[str], None] | None = None,
) -> Predictor:
    """Load a run by its id, its folder, or ``"best"``; what it was taught since is in force.

    Parameters
    ----------
    run, results, dataset, criterion, say
        As in `find_run`. For a runtime other than torch ``run`` may also be an exported file or a folder that holds
        one; a run of that name is looked for only where there is no such folder.
    options
        How it is loaded and what computes; torch by default, on a GPU where there is one.

    Raises
    ------
    InputError
        If there is no such run or export, it did not end well, was changed or is damaged, or cannot be computed as
        asked.

    Examples
    --------
    A detector of gray plates finds the one with a white square.

    >>> import tempfile
    >>> import numpy as np
    >>> from PIL import Image
    >>> from training_code.experiment import Experiment
    >>> folder = Path(tempfile.mkdtemp()) / "plates"
    >>> for number in range(6):
    ...     path = folder / "normal" / f"{number}.png"
    ...     path.parent.mkdir(parents=True, exist_ok=True)
    ...     Image.new("L", (32, 32), 120 + number).save(path)
    >>> experiment = Experiment(folder, image_size=32, results=folder.parent, backbone_runtime="torch")
    >>> run = experiment.run("Padim", backbone="resnet18", pre_trained=False, layers=["layer1"], n_features=4)
    >>> good, bad = np.full((2, 32, 32), 122, np.uint8)
    >>> bad[10:20, 10:20] = 255
    >>> [prediction.abnormal for prediction in load_predictor(run.folder).predict([good, bad])]
    [False, True]
    """
    options, place = options or LoadOptions(), paths.from_home(results)
    if options.runtime == "torch":
        folder = in_use(find_run(run, place, dataset, criterion, say))
        return TorchPredictor.load(folder, options.device, options.precision, options.trust_changed)
    path = _find_export(run, options, place, dataset, criterion, say)
    return GraphPredictor.load(path, options.runtime, options.trust_changed, options.precision)


def _find_export(
    run: str | Path,
    options: LoadOptions,
    results: Path,
    dataset: str | None,
    criterion: str | None,
    say: Callable[[str], None] | None,
) -> Path:
    name, given = options.file, paths.from_home(run)
    if given.is_file():
        return given
    places = [given / name, in_use(given) / EXPORTS / name]
    found = next((place for place in places if place.is_file()), None)
    if found is not None and dataset is None and criterion is None:
        return found
    folder = find_run(run, results, dataset, criterion, say)
    path = in_use(folder) / EXPORTS / name
    if not path.is_file():
        if options.precision == INT8:
            refuse_taught(folder)
        precision = f" --precision {options.precision}" if options.precision else ""
        taught = " since it was taught" if in_use(folder) != folder else ""
        raise InputError(
            f"the run {folder.name} is not exported to {options.runtime}{precision and ' in int8'}{taught}; "
            f"python -m inference_code.export {folder.name} --format {options.runtime}{precision} does that"
        )
    return path
