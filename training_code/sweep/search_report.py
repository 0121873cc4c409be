"""What a search says at its end: the best trials, how stable they are, and how far that can be trusted."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from training_code.foundation import paths
from training_code.foundation.columns import columns
from training_code.protocol import ExperimentProtocol
from training_code.records.metrics import CAUTION, LATENCY
from training_code.sweep.search_file import Search
from training_code.sweep.stability import BEST, OfImages, OfSeeds, Trial, of_images, of_seeds, seeds_of
from training_code.sweep.trial import Trials

Say = Callable[[str], None]


def report(ended: list[Trial], trials: Trials, search: Search, tried: int, say: Say) -> None:
    """Run the best trials with other seeds, and say what was found.

    Parameters
    ----------
    ended
        Configurations that were tried and ended well, each once, the best first; with several objectives those that
        no other one surpasses in all of them.
    tried
        Number of trials.
    say
        Receives the lines.
    """
    names = search.objectives
    several = len(names) > 1
    if several:
        say(f"{len(ended)} configurations of {tried} trials that none surpasses in {' and '.join(names)} at once:")
        for line in columns([_header(names, ended), *(_row(trial) for trial in ended)]):
            say(line)
    else:
        first = ended[0].outcome
        where = trials.basis.words(names[0])
        say(f"best of {tried}: {names[0]} {first.values[0]:.4f} on {where}, {first.record.run_id}")
        for argument, value in ended[0].values.items():
            say(f"  {argument}: {value}")
    best = ended[:BEST]
    seeds = seeds_of(trials, search.seeds)
    ways = zip(names, search.directions, strict=True)
    images = [of_images(ended, name, direction == "maximize") for name, direction in ways]
    found = [of_seeds(trials, trial, seeds) for trial in best]
    which = f"the first {len(best)} of these" if several else f"the best {len(best)} configurations of {tried} trials"
    again = f", each run again with seed {' and '.join(map(str, seeds))}" if seeds else ""
    say(f"{which} by {names[0]}{again}:")
    for line in _stability(best, found, images, search):
        say(line)
    for line in _remarks(best, found, images, trials, search, tried):
        say(line)


def _stability(
    best: Sequence[Trial], found: Sequence[OfSeeds], images: Sequence[OfImages | None], search: Search
) -> list[str]:
    """Return the table of the best trials."""
    names = search.objectives
    header = ["rank"]
    rows = [[str(place)] for place in range(1, len(best) + 1)]
    for number, (name, direction, of_name) in enumerate(zip(names, search.directions, images, strict=True)):
        header += [
            name,
            *(["standard error"] if of_name else []),
            *(["best in"] if of_name and len(names) == 1 else []),
        ]
        header += ["mean over seeds", "sd", "rank by mean"]
        every = [
            [trial.outcome.values[number], *(values[number] for values in each.values)]
            for trial, each in zip(best, found, strict=True)
        ]
        means = [statistics.mean(values) for values in every]
        sign = 1 if direction == "maximize" else -1
        places = [1 + sum(sign * other > sign * mean for other in means) for mean in means]
        for place, (row, values) in enumerate(zip(rows, every, strict=True)):
            row.append(_number(name, values[0]))
            if of_name:
                row.append(f"{of_name.errors[place]:.4f}")
                row += [f"{of_name.chosen[place]:.0%}"] if len(names) == 1 else []
            told = len(values) > 1
            row += [_number(name, means[place]), _number(name, statistics.stdev(values))] if told else ["", ""]
            row.append(str(places[place]) if told else "")
    arguments = list(best[0].values)
    header += [*arguments, "runs"]
    for row, trial, each in zip(rows, best, found, strict=True):
        row += [_plain(trial.values[name]) for name in arguments]
        row.append(" ".join([trial.outcome.record.run_id, *each.run_ids]))
    return [*columns([header, *rows])]


def _remarks(
    best: Sequence[Trial],
    found: Sequence[OfSeeds],
    images: Sequence[OfImages | None],
    trials: Trials,
    search: Search,
    tried: int,
) -> list[str]:
    """Return what else is to be known about the table."""
    names, basis = search.objectives, trials.basis
    said = [
        f"{trial.outcome.record.run_id}: {error}"
        for trial, each in zip(best, found, strict=True)
        for error in each.errors
    ]
    if any(images):
        said.append(
            "Standard error, and best in: what other good images and labelled defects of the same kind would show."
            if len(names) == 1
            else "Standard error: what other good images and labelled defects of the same kind would show."
        )
    if any(map(basis.by_labels, names)):
        said.append(
            f"These are the best of {tried} trials by {basis.labels} labelled defects, and so look better than they are"
            + (f": the first by about {images[0].optimism:.4f}." if len(names) == 1 and images[0] else ".")
        )
    if basis.taken and any(map(basis.by_labels, names)):
        said.append(
            "Other seeds take other labelled defects; all runs are judged by those of the search, since the others are "
            "tested on."
            if seeds_of(trials, search.seeds)
            else "No other seeds were run: they take other labelled defects, some of which are tested on. Metrics of "
            "pixels are compared over seeds where labelled defects are in validation/ of the dataset."
        )
    said += _in_force(best[0], trials)
    said.append(basis.sentence(names))
    if any(name != LATENCY and not basis.by_labels(name) for name in names):
        said.append(CAUTION)
    return said


def _in_force(first: Trial, trials: Trials) -> list[str]:
    """Return how the thresholds of the best trial are put in force, where its run is stored with other ones."""
    record = first.outcome.record
    stored = trials.template.store.record(record.run_id)
    if stored is None or stored.thresholds == record.thresholds:
        return []
    asked: ExperimentProtocol = record.identity.protocol
    results = paths.relative_to_home(trials.template.store.results)
    return [
        f"its thresholds are put in force by: anomaly rethreshold {record.run_id} --rule {asked.threshold} --alpha "
        f"{asked.alpha:g} --results {results}"
    ]


def _header(names: Sequence[str], ended: Sequence[Trial]) -> list[str]:
    return [*names, *ended[0].values, "run"]


def _row(trial: Trial) -> list[str]:
    record = trial.outcome.record
    return [*(f"{value:.4f}" for value in trial.outcome.values), *map(_plain, trial.values.values()), record.run_id]


def _number(name: str, value: float) -> str:
    return f"{1000 * value:.1f} ms" if name == LATENCY else f"{value:.4f}"


def _plain(value: Any) -> str:
    """Return a value without blanks, so that a column is one word."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(str, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
