"""What would make training fail is refused before any computation."""

import pytest
from helpers.data import make_mvtec

from training_code.data.groups import write_groups
from training_code.foundation.errors import InputError
from training_code.preparation import prepare, read_conditions

ARGUMENTS = {"crop_size": 32, "max_epochs": 1}


@pytest.mark.parametrize("images", [1, 5])
def test_early_stopping_is_refused_where_images_of_a_single_part_leave_none_to_hold_out(tmp_path, images):
    folder = make_mvtec(tmp_path / "parts", train=images, good=1, defective=1)
    write_groups(folder, {path: "one part" for path in sorted((folder / "train" / "good").iterdir())})
    conditions = read_conditions(folder, image_size=64)
    with pytest.raises(InputError, match=rf"of {images} that show a single part none can be held out; valid: None"):
        prepare(conditions, "Autoencoder", ARGUMENTS | {"patience": 3})
    assert prepare(conditions, "Autoencoder", ARGUMENTS | {"patience": None}).batch_size
