import os
import re

import pytest
from helpers.data import make_mvtec

from training_code.data.good_data_extractor import main
from training_code.foundation.errors import run_command


def test_what_matches_is_copied_with_its_hierarchy_times_and_a_suffix(tmp_path, capsys):
    source = make_mvtec(tmp_path / "d", train=3)
    (source / "train" / "good" / "photo.JPG").write_bytes(b"x")
    (source / "train" / "good" / "notes.txt").write_bytes(b"x")
    os.utime(source / "train" / "good" / "000.png", (1e9, 1e9))
    arguments = [str(source), str(tmp_path / "good"), "--pattern", "*/GOOD/*", "--suffix", "_solo_16"]
    for _ in range(2):
        assert run_command(main, arguments) == 0
    names = {path.relative_to(tmp_path / "good").as_posix() for path in (tmp_path / "good").rglob("*.*")}
    assert names == {
        f"train/good/{name}" for name in ("000_solo_16.png", "001_solo_16.png", "002_solo_16.png", "photo_solo_16.JPG")
    } | {f"test/good/{index:03d}_solo_16.png" for index in range(6)}
    assert (tmp_path / "good" / "train" / "good" / "000_solo_16.png").stat().st_mtime == 1e9
    assert "10 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pattern", "*bad*"], "none of 28 images in"),
        (["--extension", "gif"], "none of 0 files in .* that end in .gif"),
        (["--suffix", "a/b"], "must be a part of a name"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, words, capsys):
    source = make_mvtec(tmp_path / "d", train=6)
    assert run_command(main, [str(source), str(tmp_path / "good"), *arguments]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert run_command(main, [str(source), str(source / "inside")]) == 2
    assert "each needs a folder of its own" in capsys.readouterr().err
