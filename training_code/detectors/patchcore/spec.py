"""The specification of PatchCore."""

from training_code.detectors.spec import AT_LEAST_1, RATIO, Argument, BackboneUse, DetectorSpec, PlainForm, one_of

SPEC = DetectorSpec(
    name="Patchcore",
    path="training_code.detectors.patchcore.model:Patchcore",
    notebook="11_train_patchcore",
    arguments={
        "backbone": Argument(str, "wide_resnet50_2"),
        "layers": Argument(list[str], ["layer2", "layer3"]),
        "pre_trained": Argument(bool, True),
        "coreset_sampling_ratio": Argument(float, 0.1, RATIO),
        "num_neighbors": Argument(int, 9, AT_LEAST_1),
        "precision": Argument(str, "float32", one_of("float32", "float16")),
        "projection": Argument(bool | None, None),
    },
    leaves_out=True,
    backbone=BackboneUse(strides=(8, 16), depths=(1,)),
    told_by=("layers", "coreset_sampling_ratio", "num_neighbors"),
    plain=PlainForm(),
)
