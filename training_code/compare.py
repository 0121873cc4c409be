"""``python -m training_code.compare``: run ``30_results.ipynb`` over all runs and write ``models_comparing.xlsx``."""

import argparse
import sys

from training_code import paths
from training_code.errors import InputError, run_command

NOTEBOOK = "30_results.ipynb"


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training_code.compare", description=__doc__)
    parser.add_argument(
        "--results", default="results", help="folder with the runs, relative to the repository (default: results)"
    )
    parser.add_argument("--output", default=str(paths.WORKBOOK), help="the workbook (default: models_comparing.xlsx)")
    parser.add_argument("--criterion", default="image_AUROC", help="metric that decides (default: image_AUROC)")
    options = parser.parse_args(arguments)

    # Only now, so that --help and wrong arguments are answered at once.
    from training_code.comparison.table import MAIN_METRICS, best_models, runs_table
    from training_code.execute import NotebookError, execute_notebook
    from training_code.records.record import read_records

    results, output = paths.from_root(options.results), paths.from_root(options.output)
    runs, problems = read_records(results)
    for problem in problems:
        print(f"not read: {problem}", file=sys.stderr)
    if not runs:
        raise InputError(f"{results} holds no finished runs; run a notebook or python -m training_code.sweep first")
    table = runs_table(runs)
    best = best_models(table, options.criterion)
    executed = results / NOTEBOOK
    parameters = {"results": str(results), "workbook": str(output), "criterion": options.criterion}
    try:
        execute_notebook(paths.NOTEBOOKS / NOTEBOOK, executed, parameters)
    except NotebookError as error:
        raise InputError(f"{NOTEBOOK} stopped: {error} (see {executed})") from error
    print(f"best of each detector by {options.criterion}, out of {len(runs)} runs:")
    shown = best[["dataset", "Model", "backbone", *MAIN_METRICS, "latency_s"]].rename(columns={"latency_s": "latency"})
    numbers = {name: "{:.3f}".format for name in (*MAIN_METRICS, "latency")}
    print(shown.to_string(index=False, formatters=numbers, na_rep=""))
    print(f"\nwritten: {paths.relative_to_root(output)} (all runs, every number)")
    print(f"look next: {paths.relative_to_root(executed)} (pictures)")
    print(f"           {paths.relative_to_root(results / 'runs')}/<run_id>/ (executed notebook, scores, examples)")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
