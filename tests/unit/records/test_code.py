"""Which changes of the code make runs stale: those that decide about the numbers of their detector, and no others."""

import shutil

import pytest

from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
from training_code.records.code import STAGES, WITHOUT_INFLUENCE, code_hash, deciding_code, hash_of

ALL = set(DETECTORS)
TRAINED = {name for name, spec in DETECTORS.items() if spec.combines is None}


def _importing(module):
    """Return the detectors of which a file imports a module of `training_code.detectors`."""
    line = f"from training_code.detectors.{module} import"
    folders = {
        name: paths.ROOT.joinpath(*spec.path.split(":")[0].split(".")).parent for name, spec in DETECTORS.items()
    }
    return {
        name
        for name, folder in folders.items()
        if any(line in file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    }


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with a copy of the package."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(paths.ROOT / "training_code", folder / "training_code", ignore=shutil.ignore_patterns("*.pyc"))
    # For all of them, so that no test reads the package for the first time and takes seconds for it.
    assert all(hash_of(name, folder) == code_hash(name) for name in DETECTORS), "wherever the package lies"
    return folder


@pytest.fixture
def changed_by(copy):
    """Return a function that edits the copy and returns the detectors whose hash changes; edits last for a test."""
    before = {}

    def edit(module, old, new):
        path = copy / "training_code" / module
        source = path.read_text(encoding="utf-8")
        before.setdefault(path, source)
        assert old in source
        path.write_text(source.replace(old, new, 1), encoding="utf-8")
        return {name for name in DETECTORS if hash_of(name, copy) != code_hash(name)}

    edit.folder = copy / "training_code"
    yield edit
    for path, source in before.items():
        path.write_text(source, encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("display/curves.py", "figsize=(", "figsize=(1 + "),
        ("display/dataset.py", "def dataset_html(", "SIZE = 3\n\n\ndef dataset_html("),
        ("foundation/checking.py", "is out of range; valid: 0 to 0.5", "must be between 0 and 0.5"),
        ("preparation.py", "needs a GPU; valid without one", "wants a GPU; valid without one"),
        ("display/setup.py", "to train on and for thresholds", "for training and thresholds"),
        ("pipeline.py", '"evaluating"', '"looking at it"'),
        ("training/engine.py", "resuming after epoch", "going on after epoch"),
        ("training/engine.py", 'print(f"resuming', 'print("one more message")\n            print(f"resuming'),
        (
            "training/engine.py",
            "    state = self._unfinished",
            '    "Another docstring."\n        state = self._unfinished',
        ),
        ("detectors/cflow/model.py", '"""', '"""Now it says more. '),
        ("data/sample_data.py", "has changed since the dataset was read", "is another file than it was"),
        ("data/pairing.py", "is a second mask of", "is one mask too many of"),
        ("training/callbacks.py", "# Images whose reconstruction is logged.", "# So many are logged."),
        ("foundation/files.py", "os.fsync(file.fileno())", "os.fdatasync(file.fileno())"),
        ("detectors/padim/spec.py", 'told_by=("n_features",)', 'told_by=("layers", "n_features")'),
        ("detectors/arguments.py", '"at least 0"', '"0 or more"'),
        ("foundation/errors.py", "did you mean", "is it"),
        ("data/checks.py", "MOST_MARKED = 0.8", "MOST_MARKED = 0.9"),
        ("data/unread.py", "_SHOWN = 6", "_SHOWN = 7"),
        ("data/dataset.py", "if count == 1 else", "if count < 2 else"),
        ("comparison/costs.py", "best, front = -np.inf", "best, front = np.inf"),
    ],
    ids=lambda value: value if value.endswith(".py") else "",
)
def test_a_change_of_a_picture_a_message_or_a_table_makes_no_run_stale(changed_by, module, old, new):
    assert changed_by(module, old, new) == set()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("foundation/files.py", "return int(digest(list(parts))[:8], 16)", "return int(digest(list(parts))[:7], 16)"),
        (
            "training/callbacks.py",
            'derived_seed(self.seed, "order", self.epoch)',
            "derived_seed(self.seed, self.epoch)",
        ),
        ("data/synthetic.py", "probability=1.0", "probability=0.5"),
        ("data/varied.py", "STRENGTH = 0.5", "STRENGTH = 0.6"),
        ("data/drawn.py", "size <= wanted - total", "size <= wanted"),
        ("data/augmented.py", "LIGHT = (0.85, 1.15)", "LIGHT = (0.8, 1.15)"),
        ("data/split.py", "HOLD_OUT = 0.2", "HOLD_OUT = 0.3"),
        ("data/marking.py", "_BETWEEN = 0.6", "_BETWEEN = 0.7"),
        ("data/pairing.py", "masks?|labels?", "masks?|label"),
        ("evaluation/decisions.py", "return 2 * self.hits", "return self.hits"),
        ("training/engine.py", '"mode": "min"', '"mode": "max"'),
    ],
    ids=lambda value: value if value.endswith(".py") else "",
)
def test_a_change_of_code_that_all_detectors_use_makes_all_runs_stale(changed_by, module, old, new):
    assert changed_by(module, old, new) == ALL


@pytest.mark.parametrize(
    ("module", "old", "new", "detectors"),
    [
        ("detectors/cflow/model.py", "class Cflow(", "@staticmethod\nclass Cflow(", {"Cflow"}),
        ("detectors/patchcore/coreset.py", "def shared_k_center_greedy(", "@cache\ndef shared_k_center_greedy(", None),
        (
            "detectors/smoothing.py",
            "class BandedGaussianBlur2d(",
            "@x\nclass BandedGaussianBlur2d(",
            _importing("smoothing"),
        ),
        (
            "detectors/plain_images.py",
            "def scaled(",
            "@cache\ndef scaled(",
            {"Autoencoder", "Draem", "Dsr", "EfficientAd", "Supersimplenet"},
        ),
        ("codebooks.py", "BATCH_SIZE = 8", "BATCH_SIZE = 4", {"Dsr"}),
        ("evaluation/combining.py", "CLEAREST = 10.0", "CLEAREST = 9.0", {"Combined"}),
        ("restoring.py", "weights_only=True", "weights_only=False", {"Combined"}),
        # A combination is not trained: its members are.
        ("pipeline.py", "seed_everything(conditions.seed, workers=True, verbose=False)  # as", "pass  # as", TRAINED),
        ("backbones/reading.py", "def load_backbone(", "@torch.no_grad()\ndef load_backbone(", TRAINED),
    ],
    ids=lambda value: value if str(value).endswith(".py") else "",
)
def test_a_change_of_code_that_one_detector_uses_makes_only_its_runs_stale(changed_by, module, old, new, detectors):
    assert changed_by(module, old, new) == (detectors or {"Patchcore"})


@pytest.mark.slow
def test_a_new_module_counts_for_the_detector_that_imports_it(changed_by):
    toy = changed_by.folder / "toy.py"
    toy.write_text("def used():\n    return 1\n\n\ndef unused():\n    return 1\n")
    model = "detectors/padim/model.py"
    assert (
        changed_by(model, "\nclass PadimModel(", "\nfrom training_code.toy import used\n\nclass PadimModel(") == set()
    )
    assert changed_by(model, "\nclass PadimModel(", "\nFACTOR = used()\n\nclass PadimModel(") == set(), "nobody asks"
    assert changed_by(model, "\nclass PadimModel(", "\n@used\nclass PadimModel(") == {"Padim"}
    with_toy = hash_of("Padim", changed_by.folder.parent)
    toy.write_text("def used():\n    return 1\n\n\ndef unused():\n    return 2\n")
    assert hash_of("Padim", changed_by.folder.parent) == with_toy
    toy.write_text("def used():\n    return 2\n\n\ndef unused():\n    return 1\n")
    assert hash_of("Padim", changed_by.folder.parent) != with_toy


def test_the_hash_is_that_of_the_package_as_it_is():
    assert {name: code_hash(name) for name in ALL} == {name: hash_of(name, paths.ROOT) for name in ALL}
    assert len({code_hash(name) for name in ALL}) == len(ALL)


@pytest.mark.parametrize("place", [*STAGES, *WITHOUT_INFLUENCE])
def test_places_that_are_named_by_hand_exist(place):
    module, _, name = place.partition(":")
    path = paths.ROOT.joinpath(*module.split("."))
    source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    assert name.rpartition(".")[2] in source.read_text(encoding="utf-8")


def test_no_detector_counts_for_another_one():
    for name, spec in DETECTORS.items():
        own = spec.path.split(".model:")[0]
        folders = {".".join(place.split(":")[0].split(".")[:3]) for place in deciding_code(name, paths.ROOT)}
        assert {f for f in folders if (paths.ROOT / f.replace(".", "/")).is_dir() and ".detectors." in f} == {own}
