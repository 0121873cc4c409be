"""Keys are read from files that not everybody can read."""

import pytest

from inference_code.service.keys import read_keys
from training_code.foundation.errors import InputError

KEY = "a-key-of-the-line-0123456789"


@pytest.mark.parametrize(("mode", "allowed"), [(0o600, True), (0o640, True), (0o644, False), (0o602, False)])
def test_a_file_that_everybody_may_read_or_change_is_refused(tmp_path, mode, allowed):
    path = tmp_path / "keys"
    path.write_text(f"{KEY}\n")
    path.chmod(mode)
    if allowed:
        assert read_keys(path) == [KEY]
    else:
        with pytest.raises(InputError, match=f"{path} may be read or changed by everybody .* chmod 600"):
            read_keys(path)


def test_a_folder_is_no_file_of_keys(tmp_path):
    with pytest.raises(InputError, match="is no file; valid: a file with a key in each line"):
        read_keys(tmp_path)
