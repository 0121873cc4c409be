"""GeneralAD: a discriminator of patches that attends to each other, trained on distorted features."""
