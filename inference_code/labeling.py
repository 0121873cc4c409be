"""What `predict` writes for people who label: annotations to correct, and which images are worth labeling next."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from inference_code.annotations import check_replaceable, image_root, write_annotations
from inference_code.arguments import choice, load_options, tell
from inference_code.loading import load_predictor
from inference_code.most_useful import Verdict, choose, rank, read_picked, write_most_useful
from inference_code.predictor import Prediction, Predictor
from inference_code.references import GoldenSamples
from inference_code.sources.frames import Frame
from inference_code.written import read_predictions
from training_code.foundation import paths
from training_code.foundation.errors import InputError


class Labeling:
    """Writes what the options of a prediction ask for, after its lines.

    Parameters
    ----------
    options
        ``annotations``, ``most_useful``, ``compare``, ``not_again``, ``source``, and what says where runs are.
    predictor
        With the thresholds that are in force.
    folder
        Where the lines are.
    samples
        What images are compared with, where the detector needs that.

    Raises
    ------
    InputError
        If something is missing or in the way, before any image is predicted.
    """

    def __init__(
        self, options: argparse.Namespace, predictor: Predictor, folder: Path, samples: GoldenSamples | None
    ) -> None:
        self.options = options
        self.folder = folder
        self.samples = samples
        self.kinds: list[str] = list(dict.fromkeys(options.annotations or ()))
        self.other: Predictor | None = None
        self.earlier = read_picked(paths.expanded(name) for name in options.not_again)
        for kind in self.kinds:
            check_replaceable(folder, kind)
        if self.kinds and predictor.thresholds.pixel is None:
            raise InputError("--annotations has no regions: the run found no threshold (--pixel-threshold gives one)")
        if options.most_useful is None:
            return
        if predictor.thresholds.image is None:
            raise InputError("--most-useful goes by the threshold, and the run found none (--threshold gives one)")
        if options.compare is not None:
            chosen = choice(options, options.compare, options.run)
            self.other = load_predictor(options.compare, options.results, *chosen, load_options(options), tell)
            if self.other.needs_references:
                self.other.check_references(samples is not None)
            if self.other.thresholds.image is None:
                raise InputError(f"--compare {options.compare}: the run found no threshold, so that it has no verdict")

    def write(self) -> None:
        """Write what is asked for, and print where."""
        for kind in self.kinds:
            path = write_annotations(self.folder, kind, image_root(paths.expanded(self.options.source)))
            print(f"annotations to correct: {path}")
        if self.options.most_useful is not None:
            self._write_most_useful(self.options.most_useful)

    def _write_most_useful(self, count: int) -> None:
        rows = read_predictions(self.folder)
        verdicts = {row["path"]: Verdict(row["score"], row["threshold"]) for row in rows}
        others = dict(self._judge_again(list(verdicts)))
        picked = choose(rank(verdicts, others), count, self.earlier)
        path = write_most_useful(self.folder, picked)
        reasons = Counter(each.reason for each in picked)
        said = ", ".join(f"{number} since {reason}" for reason, number in reasons.items())
        fewer = "" if len(picked) == count else f" of {count} that were asked for; the others look like these"
        print(f"worth labeling next: {len(picked)} images{fewer}{f' ({said})' if said else ''}: {path}")

    def _judge_again(self, names: list[str]) -> Iterator[tuple[str, Verdict]]:
        """Yield what the other run says of images."""
        if self.other is None:
            return
        references = None
        if self.samples is not None and self.other.needs_references:
            references = [self.samples.of(Frame(name, Path(name))) for name in names]
        threshold = self.other.thresholds.image
        assert threshold is not None
        predictions = self.other.predict(names, self.options.batch_size, references)
        for name, found in zip(names, predictions, strict=True):
            if isinstance(found, Prediction):
                yield name, Verdict(found.score, threshold)
