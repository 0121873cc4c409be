"""``python -m training_code.compare``: run ``30_results.ipynb`` over all runs and write ``models_comparing.xlsx``."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from training_code.foundation import paths
from training_code.foundation.errors import InputError, run_command
from training_code.foundation.program import command_parser

if TYPE_CHECKING:
    from training_code.records.record import Record
    from training_code.reporting.sheets import Sheet

#: The extra of ``pyproject.toml`` that this command needs.
EXTRA = "report"
NOTEBOOK = "30_results.ipynb"
# Columns and lines where the output is no terminal.
_TERMINAL = (180, 24)


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    parser = command_parser("training_code.compare", __doc__)
    parser.add_argument(
        "--results",
        default="results",
        help="folder with the runs, relative to the repository or what ANOMALY_HOME names (default: results)",
    )
    parser.add_argument(
        "--output", help="the workbook, or the file for --format (default: models_comparing.xlsx, or standard output)"
    )
    parser.add_argument("--criterion", default="image_AUROC", help="metric that decides (default: image_AUROC)")
    parser.add_argument("--dataset", action="append", default=[], help="take this dataset only; may be repeated")
    parser.add_argument("--seed", action="append", type=int, default=[], help="take this seed only; may be repeated")
    parser.add_argument(
        "--format", help="write one sheet as csv, parquet, markdown or latex, in place of notebook and workbook"
    )
    parser.add_argument("--sheet", default="Best models", help="the sheet for --format (default: Best models)")
    parser.add_argument(
        "--mlflow",
        nargs="?",
        const="",
        metavar="URI",
        help="log the runs to MLflow, in place of notebook and workbook (default: a database in results/mlflow)",
    )
    parser.add_argument("--report", action="store_true", help="also write results/report.html, and report.pdf")
    options = parser.parse_args(arguments)

    # Only now, so that --help and wrong arguments are answered at once: pandas and the rest take 1 s.
    from training_code.comparison.not_run import few
    from training_code.comparison.table import runs_table
    from training_code.records.reading import read_records
    from training_code.reporting.decision_text import answers
    from training_code.reporting.sheets import all_sheets, choose_runs, compare, explained, printed, summary
    from training_code.reporting.workbook_file import check_output

    output = paths.from_home(options.output or paths.WORKBOOK)
    if options.format is None and options.mlflow is None:
        check_output(output)
    results = paths.from_home(options.results)
    runs, problems = read_records(results)
    for problem in problems:
        print(f"not read: {problem}", file=sys.stderr)
    if not runs:
        raise InputError(
            f"{results} holds no finished runs; run a notebook, or anomaly sweep sweeps/boards.yaml, first"
        )
    if options.mlflow is not None:
        return _log_to_mlflow(runs, options.mlflow, results)
    table = choose_runs(runs_table(runs), options.dataset, options.seed)
    comparison = compare(table, problems, options.criterion)
    for problem in few(comparison.problems[len(problems) :]):
        print(f"not read: {problem}", file=sys.stderr)
    if options.format is not None:
        return _export(all_sheets(comparison, results), options)

    executed = _execute(results, output, options)
    print(f"best of each detector by {comparison.criterion}, out of {len(comparison.runs)} runs; what their mistakes")
    print("cost, by which the sheet Decision chooses, stands at the end:")
    shown = summary(comparison)
    for line in printed(shown, shutil.get_terminal_size(_TERMINAL).columns):
        print(line)
    for line in ("", *explained(shown)) if len(shown) else ():
        print(line)
    print(f"\nwritten: {paths.relative_to_home(output)} (all runs, every number)")
    for line in _workbook_messages(executed):
        print(line)
    if options.report:
        _report(executed)
    print(f"look next: {paths.relative_to_home(executed)} (pictures)")
    print(f"           {paths.relative_to_home(results / 'runs')}/<run_id>/ (executed notebook, scores, examples)")
    for number, line in enumerate(answers(comparison.candidates, output)):
        print(f"\n{line}" if number == 0 else line)
    return 0


def _execute(results: Path, output: Path, options: argparse.Namespace) -> Path:
    # Here, since papermill takes 1.4 s, which --format and --mlflow go without.
    from training_code.notebooks.kernel import KernelOptions, NotebookError, execute_notebook

    executed = results / NOTEBOOK
    parameters = {"results": str(results), "workbook": str(output), "criterion": options.criterion}
    parameters |= {"datasets": options.dataset, "seeds": options.seed}
    log = executed.with_suffix(".log")
    try:
        execute_notebook(paths.NOTEBOOKS / NOTEBOOK, executed, parameters, kernel=KernelOptions("fresh", log=log))
    except NotebookError as error:
        raise InputError(f"{NOTEBOOK} stopped: {error} (see {executed} and {log.name})") from error
    log.unlink(missing_ok=True)
    return executed


def _workbook_messages(executed: Path) -> list[str]:
    """Return what the notebook said when it wrote the workbook: which edits could not be kept, and where they are."""
    import nbformat  # only now, as above

    cells = nbformat.read(executed, as_version=4).cells
    outputs = [output for cell in cells if "write_workbook(" in cell.source for output in cell.get("outputs", [])]
    lines = "".join(output.get("text", "") for output in outputs).splitlines()
    return [line for line in lines if line and not line.startswith("written: ")]


def _export(sheets: list["Sheet"], options: argparse.Namespace) -> int:
    # Here, as this comes with what `main` imports late.
    from training_code.reporting.export import export, write_export

    content = export(sheets, options.sheet, options.format)
    if options.output:
        write_export(content, Path(options.output))
        print(f"written: {options.output}")
    elif options.format == "parquet":
        raise InputError("parquet is not text: --output FILE says where it is written")
    else:
        print(content.decode(), end="")
    return 0


def _log_to_mlflow(runs: list[tuple[Path, "Record"]], uri: str, results: Path) -> int:
    # Here, since MLflow takes 1.3 s, which only --mlflow needs.
    from training_code.reporting.tracking import log_runs

    folder = results / "mlflow"
    if not uri:
        folder.mkdir(parents=True, exist_ok=True)
    uri = uri or f"sqlite:///{folder / 'mlflow.db'}"
    logged, known = log_runs(runs, uri, folder / "artifacts")
    print(f"{logged} runs logged to {uri}, {known} had been logged before")
    return 0


def _report(executed: Path) -> None:
    # Here, since nbconvert takes 1.5 s, which only --report needs.
    from training_code.reporting.html import write_html, write_pdf

    page = executed.with_name("report.html")
    write_html(executed, page)
    print(f"written: {paths.relative_to_home(page)} (one file, for people without this repository)")
    if write_pdf(page, page.with_suffix(".pdf")):
        print(f"written: {paths.relative_to_home(page.with_suffix('.pdf'))}")
    else:
        print("no PDF: neither Chromium nor Chrome was found")


if __name__ == "__main__":
    sys.exit(run_command(main, extra=EXTRA))
