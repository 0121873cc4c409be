"""Every kind of bad file is found, named and treated as documented; what the check passes can be trained on."""

import os
import pickle

import numpy as np
import pytest
from helpers.bad_files import IMAGES
from helpers.data import make_mvtec, save, texture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import examine, read_dataset
from training_code.data.images import ImageError, decode_image
from training_code.data.report import all_findings, is_usable, report
from training_code.foundation.errors import InputError
from training_code.protocol import ComputeOptions


def _load_everything(dataset):
    """Do with every file what training and testing do with it."""
    module = SampleDataModule(dataset, (32, 32), 0.1, 0, ComputeOptions(train_batch_size=4, eval_batch_size=4))
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for batch in loader:
            assert batch.image.shape[1:] == (3, 32, 32) and 0 <= batch.image.min() and batch.image.max() <= 1


@pytest.mark.parametrize(("name", "make", "words", "treatment"), IMAGES, ids=[name for name, *_ in IMAGES])
def test_a_bad_image_is_found_and_treated_as_documented(tmp_path, name, make, words, treatment):
    root = make_mvtec(tmp_path / "d")
    make(root / "train" / "good" / name)
    findings = [finding for finding in examine(root).findings if finding.path.name == name]
    assert [finding.treatment for finding in findings] == [treatment]
    assert findings[0].what.startswith(words), findings[0].what
    if treatment == "refused":
        with pytest.raises(InputError, match=rf"1 files that cannot be used: train/good/{name} ") as error:
            read_dataset(root)
        assert "\n" not in str(error.value)
    else:
        dataset = read_dataset(root)
        assert any(words in note.message for note in dataset.notes)
        _load_everything(dataset)


def test_the_reason_why_an_image_cannot_be_read_passes_between_processes(tmp_path):
    (tmp_path / "x.png").touch()
    with pytest.raises(ImageError) as caught:
        decode_image(tmp_path / "x.png")
    error = caught.value
    sentence = f"{tmp_path / 'x.png'} is empty: it has zero bytes"
    for copy in (pickle.loads(pickle.dumps(error)), type(error)(str(error))):  # Ray does the one, torch the other
        assert str(copy) == sentence
    assert error.problem == pickle.loads(pickle.dumps(error)).problem == "is empty: it has zero bytes"


def test_all_of_them_at_once_are_one_report(tmp_path):
    root = make_mvtec(tmp_path / "d")
    for name, make, _, _ in IMAGES:
        make(root / "train" / "good" / name)
    dataset = examine(root)
    text = report(dataset)
    assert all(name in text for name, *_ in IMAGES)
    assert len(dataset.refused) == sum(treatment == "refused" for *_, treatment in IMAGES)
    assert "IT CANNOT BE USED" in text


@pytest.mark.parametrize(
    "name", ["with space.png", "Ünïcode 中.png", "a..b.png", "..png.png", "no[glob]*.png", "-x.png"]
)
def test_unusual_names_are_read_and_paired(tmp_path, name):
    root = make_mvtec(tmp_path / "d", defective=0)
    save(root / "test" / "bar" / name, texture(np.random.default_rng(1)))
    save(root / "ground_truth" / "bar" / f"{name.removesuffix('.png')}_mask.png", np.eye(48, dtype=np.uint8) * 255)
    if name.startswith("."):
        assert "test/bar" not in read_dataset(root).counts  # hidden
        return
    dataset = read_dataset(root)
    (sample,) = [sample for sample in dataset.samples if sample.abnormal]
    assert sample.mask is not None and dataset.notes == ()
    _load_everything(dataset)


def test_names_that_differ_only_in_case_are_noted(tmp_path):
    root = make_mvtec(tmp_path / "d")
    save(root / "train" / "good" / "A.png", texture(np.random.default_rng(1)))
    save(root / "train" / "good" / "a.png", texture(np.random.default_rng(2)))
    (note,) = read_dataset(root).notes
    assert "train/good/a.png differs from A.png only in case" in note.message and note.kind == "name"


def test_a_link_that_leads_back_to_a_folder_above_is_walked_once(tmp_path):
    root = make_mvtec(tmp_path / "d")
    (root / "train" / "good" / "again").symlink_to(root / "train")
    assert read_dataset(root).counts["train/good"] == 12


def test_a_linked_folder_is_followed(tmp_path, tiny_dataset):
    root = tmp_path / "linked"
    root.mkdir()
    for name in ("train", "test", "ground_truth"):
        (root / name).symlink_to(tiny_dataset / name)
    assert read_dataset(root).fingerprint == read_dataset(tiny_dataset).fingerprint


def test_sixteen_bits_keep_their_dynamic_range(tmp_path):
    root = make_mvtec(tmp_path / "d", defective=0)
    values = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48) + 1700  # up to 4003, of 12 bits
    Image.fromarray(values).save(root / "test" / "good" / "deep.png")
    dataset = read_dataset(root)
    assert dataset.bits == 12
    module = SampleDataModule(dataset, (48, 48), 0, 0)
    (item,) = [item for item in module.test_data if item.image_path.endswith("deep.png")]
    assert np.allclose(item.image[0].numpy(), values / 4095, atol=1e-6)


def test_an_image_turned_by_exif_is_seen_upright_with_its_mask(tmp_path):
    root = make_mvtec(tmp_path / "d", defective=0)
    pixels, exif = np.zeros((20, 40), np.uint8), Image.Exif()
    pixels[:, :10] = 255
    exif[0x0112] = 6  # to be turned by 90° clockwise: what is left comes to the top
    (root / "test" / "bar").mkdir(parents=True)
    Image.fromarray(pixels).save(root / "test" / "bar" / "x.png", exif=exif)
    save(root / "ground_truth" / "bar" / "x.png", np.eye(40, 20, dtype=np.uint8) * 255)
    dataset = read_dataset(root)
    (item,) = [item for item in SampleDataModule(dataset, (40, 20), 0, 0).test_data if "bar" in item.image_path]
    assert item.image[0, :10].min() == 1 and item.image[0, 10:].max() == 0
    assert item.gt_mask.sum() == 20


def _save_mask(root, array, name="000_mask.png", mode=None):
    image = Image.fromarray(array, mode) if mode else Image.fromarray(array)
    image.save(root / "ground_truth" / "bar" / name)


SHAPE = np.eye(48, dtype=np.uint8)
BAD_MASKS = {
    "no 0": (
        lambda root: _save_mask(root, 100 + 155 * SHAPE),
        "marks every pixel: its lowest value is not 0",
        "refused",
    ),
    "soft": (
        lambda root: _save_mask(root, 60 * SHAPE + 100 * SHAPE[::-1]),
        "has more than two gray values",
        "refused",
    ),
    "soft, 16 bits": (
        lambda root: _save_mask(root, SHAPE.astype(np.uint16) * 60 + SHAPE[::-1] * np.uint16(100)),
        "has more than two gray values",
        "refused",
    ),
    "transparent": (
        lambda root: _save_mask(root, np.dstack([SHAPE * 0 + 255] * 3 + [SHAPE * 255])),
        "has transparent pixels",
        "refused",
    ),
    "two for one": (lambda root: _save_mask(root, SHAPE * 255, "000.png"), "is a second mask of 000.png", "refused"),
    "all": (lambda root: _save_mask(root, SHAPE * 0 + 255), "marks every pixel of its image", "kept"),
}


@pytest.mark.parametrize("kind", BAD_MASKS)
def test_a_mask_that_would_mark_something_else_is_found(tmp_path, kind):
    root = make_mvtec(tmp_path / "d")
    make, words, treatment = BAD_MASKS[kind]
    make(root)
    (finding,) = examine(root).findings
    assert finding.what.startswith(words) and finding.treatment == treatment


def test_a_16_bit_mask_marks_for_the_check_what_it_marks_for_training(tmp_path):
    root = make_mvtec(tmp_path / "d")
    _save_mask(root, SHAPE.astype(np.uint16) * 255)
    dataset = read_dataset(root)
    assert dataset.findings == () and dataset.facts[root / "ground_truth" / "bar" / "000_mask.png"].marked == 48
    (item,) = [
        item for item in SampleDataModule(dataset, (48, 48), 0, 0).test_data if item.image_path.endswith("bar/000.png")
    ]
    assert item.gt_mask.sum() == 48


def test_files_outside_of_the_folders_that_are_read_are_named(tmp_path):
    root = make_mvtec(tmp_path / "d")
    for name in ("train/bad/a.png", "train/b.png", "ground_truth/c.png", "ground_truth/bar/e.gif"):
        save(root / name, SHAPE)
    found = {finding.path.relative_to(root).as_posix(): finding.treatment for finding in read_dataset(root).findings}
    assert found == dict.fromkeys(
        ("train/bad/a.png", "train/b.png", "ground_truth/c.png", "ground_truth/bar/e.gif"), "skipped"
    )


def test_a_refused_file_is_read_again_and_a_copy_with_old_times_is_noticed(tmp_path):
    root = make_mvtec(tmp_path / "d")
    path = root / "train" / "good" / "000.png"
    content, times = path.read_bytes(), path.stat()
    path.write_bytes(b"?" * len(content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert examine(root).refused
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not examine(root).refused


def test_a_folder_that_may_not_be_read_is_refused(tmp_path):
    root = make_mvtec(tmp_path / "d")
    (root / "test" / "bar").chmod(0)
    try:
        if os.access(root / "test" / "bar", os.R_OK):
            pytest.skip("this user may read everything")
        assert any(finding.what == "is a folder that cannot be read" for finding in examine(root).refused)
    finally:
        (root / "test" / "bar").chmod(0o755)


def test_many_photographs_of_one_scene_are_a_few_lines(tmp_path):
    generator = np.random.default_rng(0)
    scene = texture(generator)
    for index in range(60):
        save(
            tmp_path / "d" / "normal" / f"{index:03d}.png",
            np.clip(scene + generator.normal(0, 1, scene.shape), 0, 255).astype(np.uint8),
        )
    dataset = examine(tmp_path / "d")
    assert len(all_findings(dataset)) <= 60 and len(report(dataset).splitlines()) < 50


def test_a_test_image_that_is_also_trained_on_is_a_leak(tmp_path):
    root = make_mvtec(tmp_path / "d")
    content = (root / "train" / "good" / "003.png").read_bytes()
    (root / "test" / "good" / "copy.png").write_bytes(content)
    (note,) = read_dataset(root).notes
    assert note.kind == "leak"
    assert note.message == "test/good/copy.png has the content of a training image: a leak (train/good/003.png)"


KINDS = st.sampled_from(
    [make for _, make, _, _ in IMAGES if make.__name__ not in ("bomb", "huge_by_its_header", "linked", "pipe")]
)
FOLDERS = st.sampled_from(
    [
        "train/good",
        "test/good",
        "test/bar",
        "test/new",
        "test",
        "ground_truth/bar",
        "ground_truth",
        "train",
        ".",
        "test/bar/deep",
    ]
)
NAMES = st.sampled_from(
    [
        "000.png",
        "000_mask.png",
        "_mask.png",
        "001.PNG",
        "a b.jpg",
        "x.tif",
        "é.png",
        "Thumbs.db",
        ".hidden.png",
        "y.txt",
    ]
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.tuples(FOLDERS, NAMES, KINDS), max_size=4),
    removed=st.lists(
        st.sampled_from(["train/good/000.png", "test/bar/001.png", "ground_truth/bar/002_mask.png"]), max_size=2
    ),
    masks=st.booleans(),
    few=st.booleans(),
)
def test_the_check_never_crashes_and_never_passes_what_training_fails_on(tmp_path_factory, files, removed, masks, few):
    root = make_mvtec(tmp_path_factory.mktemp("tree") / "d", train=3 if few else 6, good=1, defective=3, masks=masks)
    for name in removed:
        (root / name).unlink(missing_ok=True)
    for folder, name, make in files:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            make(path)
        except (ValueError, OSError):  # Pillow writes this kind of pixels to no file of this name
            path.write_bytes(b"?")
    try:
        dataset = examine(root)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert report(dataset)
    if is_usable(dataset):
        _load_everything(read_dataset(root))
    else:
        with pytest.raises(InputError):
            read_dataset(root)
