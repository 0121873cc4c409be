import shutil

import pytest
import yaml

from training_code.foundation import paths
from training_code.sweep.file import read_sweep
from training_code.sweep.known import KnownJob, KnownPlan

GOOD = str(paths.ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb")


@pytest.fixture
def known(tmp_path, tiny_dataset):
    """Keep a plan of one stored run; return a function that asks for it, and the folders of dataset and run."""
    dataset, results = tmp_path / "dataset", tmp_path / "results"
    shutil.copytree(tiny_dataset, dataset)
    run = results / "runs" / "a"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    file = tmp_path / "sweep.yaml"

    def ask(**more):
        entry = {"notebook": GOOD, "select": {"n_features": 20}, **more}
        file.write_text(yaml.safe_dump({"parameters": {"dataset": str(dataset)}, "notebooks": [entry]}))
        return KnownPlan(read_sweep(file), str(results))

    ask().keep([KnownJob("a", str(results), "stored", ""), KnownJob("b", str(results), "missing weights", "no file")])
    return ask, dataset, run


def test_a_plan_is_known_as_long_as_nothing_changes(known):
    ask, _, _ = known
    assert [job.state for job in ask().read()] == ["stored", "missing weights"]
    assert ask(vary={"n_features": [3]}).read() is None


def test_another_image_or_mask_is_another_plan(known):
    ask, dataset, _ = known
    image = next((dataset / "train" / "good").iterdir())
    image.write_bytes(image.read_bytes() + b" ")
    assert ask().read() is None


def test_a_record_that_is_gone_or_new_is_looked_at_again(known):
    ask, _, run = known
    (run / "run.json").unlink()
    assert ask().read() is None
    (run / "run.json").write_text('{"status": "ok"}')
    assert ask().read() is None


def test_images_elsewhere_are_always_looked_at(known):
    ask, dataset, run = known
    (dataset / "dataset.yaml").write_text("normal_dir: somewhere")
    plan = ask()
    plan.keep([KnownJob("a", str(run.parents[1]), "stored", "")])
    assert plan.read() is None
