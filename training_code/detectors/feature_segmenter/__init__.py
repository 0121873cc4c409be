"""A segmenter on the features of a backbone, trained on labelled defects."""
