"""``python -m inference_code.predict RUN SOURCE --output DIR``: scores and pictures of new images."""

import argparse
import csv
import sys
from pathlib import Path

from training_code.errors import InputError, run_command

FIELDS = ("path", "score", "abnormal", "picture")


def main(arguments: list[str]) -> int:
    """Run the command; return the exit status, 1 if an image could not be read."""
    parser = argparse.ArgumentParser(prog="python -m inference_code.predict", description=__doc__)
    parser.add_argument("run", help="the id or folder of a run, or best")
    parser.add_argument("source", type=Path, help="an image or a folder of images")
    parser.add_argument("--output", type=Path, required=True, help="folder for predictions.csv and the pictures")
    parser.add_argument("--results", default="results", help="folder with the runs (default: results)")
    options = parser.parse_args(arguments)

    # Only now, so that --help and wrong arguments are answered at once: these bring anomalib and torch.
    from tqdm import tqdm

    from inference_code.predictor import Failure, Predictor
    from inference_code.visualization import overlay
    from training_code.data.walk import find_images

    images = find_images(options.source) if options.source.is_dir() else [options.source]
    images = [path for path in images if not path.resolve().is_relative_to(options.output.resolve())]
    if not images or not images[0].exists():
        raise InputError(f"there is no image {options.source}")
    predictor = Predictor.load(options.run, options.results)
    options.output.mkdir(parents=True, exist_ok=True)
    unreadable = 0
    with open(options.output / "predictions.csv", "w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, FIELDS)
        writer.writeheader()
        for number, path in enumerate(tqdm(images, unit="image", disable=None), 1):
            (prediction,) = predictor.predict([path])
            if isinstance(prediction, Failure):
                unreadable += 1
                print(f"error: {prediction.reason}", file=sys.stderr)
                continue
            picture = f"{number:05d}_{path.stem}.png"
            overlay(path, prediction.anomaly_map, predictor.record.thresholds["pixel"]).save(options.output / picture)
            abnormal = "" if prediction.abnormal is None else int(prediction.abnormal)
            writer.writerow({"path": path, "score": repr(prediction.score), "abnormal": abnormal, "picture": picture})
            table.flush()  # what was predicted is there, whatever happens next
    print(f"{len(images) - unreadable} images predicted with {predictor.record.run_id}, {unreadable} unreadable")
    print(f"written: {options.output / 'predictions.csv'} and a picture for each image")
    return 1 if unreadable else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
