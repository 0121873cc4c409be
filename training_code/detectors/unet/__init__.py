"""U-Net: a segmentation network that is trained on labelled defects."""
