"""A search over the arguments of a configuration, in real kernels."""

import contextlib
import io

import yaml

from training_code.foundation import paths
from training_code.foundation.errors import run_command
from training_code.records.reading import read_records
from training_code.search import main

GOOD = paths.ROOT / "tests" / "notebooks" / "tiny" / "good.ipynb"


def test_a_search_finds_the_best_by_held_out_images_and_resumes_where_it_was(tmp_path, tiny_dataset):
    file = tmp_path / "search.yaml"
    content = {
        "parameters": {"dataset": str(tiny_dataset)},
        "notebooks": [{"notebook": str(GOOD), "select": {"n_features": 20}}],
        # 4,000 features are more than there are: such trials fail.
        "search": {"space": {"n_features": [3, 6, 4000]}, "sampler": "grid", "trials": 3, "objective": "pixel_AUROC"},
    }
    file.write_text(yaml.safe_dump(content))

    def search(*options):
        """Search in this process, which has imported anomalib already."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = run_command(main, [str(file), "--results", str(tmp_path / "results"), *options])
        assert status == 0, output.getvalue()
        return output.getvalue()

    assert "0 of 1 trials are stored" in search("--trials", "1")
    output = search()
    assert "1 of 3 trials are stored" in output
    assert output.count("n_features=4000: failed, n_features=4000 is out of range") <= 1
    runs = [record for _, record in read_records(tmp_path / "results")[0]]
    assert {record.arguments["n_features"] for record in runs} == {3, 6}
    best = max(runs, key=lambda record: record.validation["pixel_AUROC"])
    assert f"on held-out images, {best.run_id}" in output
    output = search()
    assert "3 of 3 trials are stored" in output and best.run_id in output
    assert "no test set" in output and "docs/experiments.md" in output, "how far that can be trusted is said"


def test_a_search_tries_conditions_of_the_experiment_and_arguments_of_the_configuration(tmp_path, tiny_dataset):
    file = tmp_path / "search.yaml"
    content = {
        "parameters": {"dataset": str(tiny_dataset), "num_workers": 0, "image_size": 64},
        "notebooks": [
            {
                "notebook": "10_train_padim",
                "select": {"backbone": "efficientnet_lite0", "n_features": 100},
                "vary": {"layers": [["blocks.2", "blocks.4"]]},
            }
        ],
        "search": {"space": {"normalization": ["backbone", "imagenet"], "n_features": [3]}, "sampler": "grid"},
    }
    file.write_text(yaml.safe_dump(content))
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert run_command(main, [str(file), "--results", str(tmp_path / "results")]) == 0
    runs = [record for _, record in read_records(tmp_path / "results")[0]]
    found = sorted((record.identity.protocol.normalization, record.arguments["n_features"]) for record in runs)
    assert found == [("backbone", 3), ("imagenet", 3)], output.getvalue()
    assert all(record.arguments["layers"] == ["blocks.2", "blocks.4"] for record in runs)
    best = max(runs, key=lambda record: record.validation["varied_image_AUROC"])
    assert f"varied_image_AUROC {best.validation['varied_image_AUROC']:.4f} on held-out" in output.getvalue()
    content["search"]["space"] = {"normalisation": ["imagenet"]}
    file.write_text(yaml.safe_dump(content))
    with contextlib.redirect_stderr(io.StringIO()) as error:
        assert run_command(main, [str(file), "--results", str(tmp_path / "results")]) == 2
    assert "'normalisation' (did you mean 'normalization'?)" in error.getvalue()
