"""``python tests/tools/measure_networks.py``: measure the registered networks and write their table.

It is needed after a change of the registry, or of the version of timm; a test holds the table equal to the networks.
"""

import json

from training_code.backbones.layers import TABLE
from training_code.backbones.networks import measure_table
from training_code.backbones.registry import BACKBONES
from training_code.foundation.files import write_text


def main() -> None:
    """Write the table, a line for each layer."""
    networks = []
    for name, found in measure_table({backbone.architecture for backbone in BACKBONES.values()}).items():
        layers = ",\n".join(f"      {json.dumps(layer)}" for layer in found["layers"])
        rounding = json.dumps(found["rounding"])
        networks.append(
            f'  {json.dumps(name)}: {{\n    "rounding": {rounding},\n    "layers": [\n{layers}\n    ]\n  }}'
        )
    write_text(TABLE, "{\n" + ",\n".join(networks) + "\n}\n")


if __name__ == "__main__":
    main()
