"""A dataset may lie in tar shards, of which nothing is unpacked."""

import gzip
import io
import os
import tarfile

import numpy as np
import pytest
import torch
from helpers.data import make_mvtec, texture
from helpers.shards import add, make_shards
from PIL import Image

from training_code.data import inspection, shards
from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import examine, read_dataset
from training_code.data.images import ImageError, read_image, shown_image
from training_code.data.marking import read_marked
from training_code.data.report import is_complete
from training_code.data.shards import exists, file_sha256, read_content, read_shard
from training_code.display.dataset import draw_samples
from training_code.foundation.cache import TensorCache
from training_code.foundation.errors import InputError
from training_code.foundation.files import sha256


def _png(seed=0):
    content = io.BytesIO()
    Image.fromarray(texture(np.random.default_rng(seed))).save(content, "PNG")
    return content.getvalue()


def _shard(root, *members, name="train-000000.tar"):
    """Write a shard of members (name, content) or of `tarfile.TarInfo`."""
    root.mkdir(exist_ok=True)
    with tarfile.open(root / name, "w") as shard:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                shard.addfile(member)
            else:
                add(shard, *member)
    return root / name


def test_shards_are_the_dataset_that_their_files_are_in_a_folder(tmp_path):
    expected = read_dataset(make_mvtec(tmp_path / "d"))
    root = make_shards(tmp_path / "d", tmp_path / "shards")
    dataset = read_dataset(root)
    assert dataset.fingerprint == expected.fingerprint and dataset.counts == expected.counts
    assert not dataset.findings and is_complete(dataset) and dataset.has_masks
    assert sorted(os.listdir(root)) == [f"part-{number:06d}.tar" for number in range(3)], "nothing is unpacked"


def test_images_and_masks_of_shards_are_those_of_a_folder_to_the_bit(tmp_path):
    folder = make_mvtec(tmp_path / "d")
    root, cache = make_shards(folder, tmp_path / "shards"), TensorCache(tmp_path / "cache")
    in_folder = SampleDataModule(read_dataset(folder), (32, 40), 0.25, 0)
    for kept in (None, cache, cache):
        in_shards = SampleDataModule(read_dataset(root), (32, 40), 0.25, 0, cache=kept)
        for part in ("train_data", "test_data"):
            items = [
                data.__getitems__(range(len(data))) for data in (getattr(in_folder, part), getattr(in_shards, part))
            ]
            assert len(items[0]) == {"train_data": 9, "test_data": 14}[part]
            for one, other in zip(*items, strict=True):
                assert torch.equal(one.image, other.image) and one.gt_label == other.gt_label
                assert one.gt_mask is None or torch.equal(one.gt_mask, other.gt_mask)


def test_pictures_of_a_dataset_in_shards_can_be_shown(tmp_path):
    dataset = read_dataset(make_shards(make_mvtec(tmp_path / "d"), tmp_path / "shards"))
    assert len(draw_samples(dataset).axes) == 16
    sample = dataset.select("test")[0]
    assert shown_image(sample.path).size == (48, 48) and read_image(sample.path).shape == (48, 48, 3)
    masked = next(sample for sample in dataset.samples if sample.defect_type == "square")
    assert read_marked(masked.mask).sum() == 144


def test_the_second_time_no_shard_and_no_image_is_read_and_a_changed_shard_is_noticed(tmp_path, monkeypatch):
    root = make_shards(make_mvtec(tmp_path / "d"), tmp_path / "shards")
    first, indexed, read = read_dataset(root), [], []
    index, inspect = shards._index, inspection.inspect_file
    monkeypatch.setattr(shards, "_open", {})
    monkeypatch.setattr(shards, "_index", lambda path: indexed.append(path.name) or index(path))
    monkeypatch.setattr(inspection, "inspect_file", lambda path, *more: read.append(path.name) or inspect(path, *more))
    assert read_dataset(root).fingerprint == first.fingerprint and not indexed and not read
    with tarfile.open(root / "part-000002.tar", "a") as shard:
        add(shard, "new.png", _png())
        add(shard, "new.json", b'{"split": "train"}')
    assert read_dataset(root).counts["train/good"] == 13
    assert indexed == ["part-000002.tar"] and len(read) == 7 and "new.png" in read


def test_labels_are_those_of_webdataset_and_names_of_shards_say_the_split(tmp_path):
    members = [(f"./a/{number}.JPG".replace("JPG", "png"), _png(number)) for number in range(4)]
    _shard(tmp_path, *members, ("__index__.json", b"{}"), ("a/._0.png", b"?"), name="line7-train-000000.tar")
    tested = [
        ("7.png", _png(7)), ("7.cls", b"0\n"),
        ("8.png", _png(8)), ("8.cls", b"3"), ("8.mask.png", _png(8)),
        ("9.png", _png(9)), ("9.json", b'{"defect": "crack", "group": "board 1"}'), ("9.mask.png", _png(9)),
        ("10.png", _png(10)), ("10.json", b'{"split": "validation", "defect": "crack"}'), ("10.mask.png", _png(9)),
    ]  # fmt: skip
    _shard(tmp_path, *tested, name="test.tar")
    dataset = examine(tmp_path)
    assert dataset.counts == {"train/good": 4, "validation/crack": 1, "test/3": 1, "test/crack": 1, "test/good": 1}
    assert dataset.groups[tmp_path / "test.tar" / "9.png"] == "board 1"
    assert dataset.sample(tmp_path / "test.tar/8.png").mask == tmp_path / "test.tar/8.mask.png"


def test_members_that_belong_to_nothing_are_told(tmp_path):
    _shard(
        tmp_path, ("a.png", _png()), ("b.mask.png", _png()), ("a.seg.png", _png()), ("a.txt", b"?"), ("README", b"?")
    )
    found = {finding.kind: finding.what for finding in examine(tmp_path).findings}
    assert found["mask without image"] == "is a mask without an image" and "a.seg.png" in found["unread images"]
    assert not is_complete(examine(tmp_path))


def _special(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../a.png", _png())], "'../a.png' is refused: its name leads out of the shard"),
        ([("a/../../b.png", _png())], "is refused: its name leads out of the shard"),
        ([("/etc/a.png", _png())], "'/etc/a.png' is refused: its name leads out of the shard"),
        ([_special("a.png", tarfile.SYMTYPE, "/etc/passwd")], "'a.png' is refused: it is a link, a device"),
        ([_special("a.png", tarfile.LNKTYPE, "/etc/passwd")], "'a.png' is refused: it is a link, a device"),
        ([_special("a.png", tarfile.CHRTYPE)], "'a.png' is refused: it is a link, a device"),
        ([_special("a.png", tarfile.FIFOTYPE)], "'a.png' is refused: it is a link, a device"),
        ([("a.png", _png()), ("a.png", _png())], "has a.png twice"),
        ([("a.png", _png()), ("./a.png", _png())], "has a.png twice"),
        ([("a.png", _png()), ("a.jpg", _png())], "a.jpg is a second image of a, beside a.png"),
        ([("a.png", _png()), ("a.json", b"{")], "a.json is not JSON"),
        ([("a.png", _png()), ("a.json", b"[1]")], "a.json is no label; valid: {"),
        ([("a.png", _png()), ("a.json", b'{"defect": 3}')], "a.json has the defect 3; valid: text"),
        ([("a.png", _png()), ("a.json", b'{"split": "val"}')], "has the split 'val'"),
        (
            [("a.png", _png()), ("a.json", b'{"defect": "../x"}')],
            "has the defect '../x'; valid: a name without slashes",
        ),
        ([("a.png", _png()), ("a.mask.png", _png())], "has a mask and no defect"),
        ([("a.txt", b"?")], "holds shards without images"),
        ([("a.cls", b"\xff")], "the label a.cls is not text in UTF-8"),
    ],
)
def test_a_shard_that_could_do_harm_or_is_wrong_is_refused_in_one_sentence(tmp_path, members, words):
    shard = _shard(tmp_path / "s", *members)
    with pytest.raises(InputError) as raised:
        examine(shard.parent)
    assert words in str(raised.value) and str(shard.parent) in str(raised.value) and "\n" not in str(raised.value)


def test_an_image_without_a_split_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"a.png has no split: neither a.json nor the name of the shard says it"):
        examine(_shard(tmp_path, ("a.png", _png()), name="000.tar").parent)


@pytest.mark.parametrize("harm", ["cut", "cut in a header", "damaged", "compressed", "text"])
def test_a_damaged_shard_is_refused_and_never_half_read(tmp_path, harm):
    shard = _shard(tmp_path, *((f"{number}.png", _png(number)) for number in range(3)))
    content = shard.read_bytes()
    header = 512 + -(-len(_png(0)) // 512) * 512  # of the second member
    damaged = {
        "cut": content[: header + 700],
        "cut in a header": content[: header + 100],
        "damaged": content[: header + 50] + b"?" * 100 + content[header + 150 :],
        "compressed": gzip.compress(content),
        "text": b"hello" * 500,
    }
    shard.write_bytes(damaged[harm])
    with pytest.raises(InputError, match="is not a tar archive that can be read|is cut short"):
        examine(tmp_path)


def test_a_damaged_image_in_a_shard_is_refused_like_one_in_a_folder(tmp_path):
    images = [(f"{number}.png", _png(number)) for number in range(4)]
    dataset = examine(_shard(tmp_path, *images, ("x.png", _png()[:300]), ("y.png", b"")).parent)
    problems = {each.path.name: each.what for each in dataset.refused}
    assert problems.keys() == {"x.png", "y.png"} and problems["y.png"] == "is empty: it has zero bytes"
    with pytest.raises(ImageError):
        read_image(tmp_path / "train-000000.tar/x.png")


def test_files_in_shards_have_their_content_and_others_are_left_to_the_system(tmp_path):
    shard, content = _shard(tmp_path, ("a/b.png", _png())), _png()
    (tmp_path / "b.png").write_bytes(content)
    assert read_content(shard / "a/b.png") == content and file_sha256(shard / "a/b.png") == sha256(tmp_path / "b.png")
    assert read_content(tmp_path / "b.png") is None and file_sha256(tmp_path / "b.png") == sha256(tmp_path / "b.png")
    folder = tmp_path / "d.tar"
    folder.mkdir()
    (folder / "b.png").write_bytes(content)
    assert read_content(folder / "b.png") is None and exists(folder / "b.png"), "a folder may be named so"
    assert exists(shard / "a/b.png") and not exists(shard / "b.png")
    with pytest.raises(FileNotFoundError):
        read_content(shard / "b.png")
    assert read_shard(shard).members["a/b.png"] == (512, len(content))
