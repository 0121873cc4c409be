"""Training, evaluation and comparison of anomaly detectors over many backbones."""

import warnings

# anomalib imports parts of timm and of itself under old names; nothing that its users could change.
warnings.filterwarnings("ignore", "Importing from timm.models", FutureWarning)
warnings.filterwarnings("ignore", "The anomalib.models.components.dinov2", FutureWarning)
# tqdm would ask for a bar of another kind at the top of every notebook.
warnings.filterwarnings("ignore", "IProgress not found")
