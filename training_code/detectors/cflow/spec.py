"""The specification of CFlow."""

from training_code.detectors.arguments import AT_LEAST_1, POSITIVE, RATIO, Argument, one_of
from training_code.detectors.plain_form import PlainForm
from training_code.detectors.spec import BackboneUse, DetectorSpec, Epochs

SPEC = DetectorSpec(
    name="Cflow",
    path="training_code.detectors.cflow.model:Cflow",
    notebook="12_train_cflow",
    arguments={
        "backbone": Argument(str, "wide_resnet50_2"),
        "layers": Argument(list[str], ["layer2", "layer3", "layer4"]),
        "pre_trained": Argument(bool, True),
        "fiber_batch_size": Argument(int, 64, AT_LEAST_1),
        "decoder": Argument(str, "freia-cflow", one_of("freia-cflow")),
        "condition_vector": Argument(
            int, 128, (lambda value: value > 0 and value % 4 == 0, "a positive multiple of 4")
        ),
        "coupling_blocks": Argument(int, 8, AT_LEAST_1),
        "clamp_alpha": Argument(float, 1.9, POSITIVE),
        "permute_soft": Argument(bool, False),
        "lr": Argument(float, 0.0001, POSITIVE),
        "fiber_sampling_ratio": Argument(float, 1.0, RATIO),
    },
    epochs=Epochs(max_epochs=30),
    backbone=BackboneUse(strides=(8, 16, 32), depths=(1 / 3, 2 / 3, 1)),
    told_by=("max_epochs",),
    paper={"max_epochs": 30, "fiber_sampling_ratio": 1.0},
    plain=PlainForm(),
)
