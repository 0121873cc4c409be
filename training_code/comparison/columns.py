"""What the columns of the comparison mean, as the comments of their header cells say."""

import inspect
import re

from training_code.detectors.registry import DETECTORS

# Beginnings of names, with what they mean; the first one that fits is taken.
_HELP = {
    r"Model|detector": "The detector, by anomalib's name of its class.",
    r"Comparison .*": "Configurations of one dataset side by side, a block for each detector.",
    r"dataset": "Name of the folder of the dataset.",
    r"dataset_fingerprint": "Hash of all images and masks: equal for equal data.",
    r"data": "The dataset and its protocol.",
    r"protocol": "Image size and how thresholds were found. Runs of different protocols are never ranked together.",
    r"backbone": "The frozen network that gives features; blank for detectors without one.",
    r"configuration": "What tells this configuration from others of its detector; All runs has every argument.",
    r"status": "ok, failed, timeout, out_of_memory; not read for a record that cannot be read.",
    r"seeds": "Number of runs that differ in their seed alone; the metrics are their means.",
    r"seed": "Covers everything that is drawn at random.",
    r"(image|pixel)_(\w+)_sd": "Sample standard deviation over seeds; blank with one seed.",
    r"(image|pixel)_(\w+)_low": "Lower end of the 95% bootstrap interval over test images, of the run in run_id.",
    r"(image|pixel)_(\w+)_high": "Upper end of the 95% bootstrap interval over test images, of the run in run_id.",
    r"(image|pixel)_threshold": "Raw score from which on it is called abnormal, found without the test set.",
    r"image_AUROC.*": "Area under the ROC curve of image scores: good against bad images, whatever the threshold.",
    r"pixel_AUROC.*": "Area under the ROC curve of pixel scores.",
    r"(image|pixel)_AUPR": "Area under the precision-recall curve, also called average precision.",
    r"pixel_AUPRO": "Mean overlap with defective regions, up to a false positive rate of 0.3 (Bergmann et al. 2021).",
    r"(image|pixel)_F1Score": "F1 at a threshold found on held-out images with synthetic anomalies, not the test set.",
    r"(image|pixel)_F1Max": "Oracle: F1 at the best threshold for the test set, which no user has; papers report it.",
    r"p_against_best": "p-value of DeLong's test against the best of the protocol, adjusted by Holm.",
    r"level_with_best": "TRUE where DeLong's test cannot tell the model from the best one (p at least 0.05).",
    r"latency_s": "Seconds for one image, nothing shared; compare on the same hardware only.",
    r"fit_s|test_s": "Seconds that it took, with what was shared from other configurations.",
    r"\w+_s": "Seconds.",
    r"test_images_per_s": "Test images divided by the seconds of testing, with what was shared.",
    r"peak_memory_host_bytes": "Largest resident memory of the process, bytes.",
    r"peak_memory_gpu_bytes": "Largest memory that torch had on the GPU, bytes.",
    r"checkpoint_bytes": "Size of the checkpoint, bytes.",
    r"reduced": "Settings below the paper's: the model is not what its detector can do.",
    r"leak": "A test image that is also a training image: the metrics are too good.",
    r"pretrained": "FALSE: the backbone's weights are random or were never trained; such runs are not ranked.",
    r"weights.*": "The backbone's weight file: name, where it came from, hash.",
    r"normalization.*": "Mean and deviation of the images: the backbone's own, or ImageNet's for all.",
    r"run_id": "Name of the run and of its folder in results/runs. Notes find their rows again by it.",
    r"configuration_key": "Equal for runs that differ in their seed, data or image size alone.",
    r"notebook|checkpoint|examples": "Link to the file of the run, relative to this workbook.",
    r"predictions": "Most certain hits, misses and false alarms, each beside its anomaly map.",
    r"git_commit": "Commit of the code; +changes if files differed from it.",
    r"hardware|processor|gpu": "What the run ran on.",
    r"error": "Why the run did not end well.",
    r"images.*": "Number of test images.",
    r"defect type": "Folder of the defect.",
    r"metric": "The metric of this row, of defective images of that type against all good ones.",
    r"argument": "The argument that alone differs between the runs of a pair.",
    r"value": "Its value.",
    r"reference": "The value that it is compared with: the smallest.",
    r"pairs": "Pairs of runs that share everything else, the seed too.",
    r"difference": "Mean difference of the criterion to the reference over those pairs.",
    r"difference_sd": "Sample standard deviation of that difference over pairs.",
    r"fastest|least memory|smallest": "TRUE where no model of the same protocol is better at no higher cost.",
    r"image_(height|width)": "Pixels that images are resized to.",
    r"validation_split": "Part of the training images that is held out for thresholds.",
    r"(train|eval)_batch_size": "Images in a batch.",
    r"train_images": "Images that were trained on, held-out ones included.",
    r"epochs": "Epochs that were trained.",
    r"started|finished": "Date and time with time zone.",
    r"sheet|row|column|text": "What was written beside a row that is no longer there; it returns with its row.",
    r"what": "About this workbook.",
}


def help_for(column: str) -> str:
    """Return what a column means."""
    for pattern, text in _HELP.items():
        if re.fullmatch(pattern, column):
            return text
    of = [name for name, entry in DETECTORS.items() if column in inspect.signature(entry.cls).parameters]
    if of or column in ("max_epochs", "batch_size", "patience"):
        return f"Argument of {', '.join(of)}." if of else "Argument of training."
    return "Value of the criterion." if column else ""
