"""Several datasets as one: each is read by its own rules, and what a new image cannot tell is the same for all."""

import shutil

import numpy as np
import pytest
from helpers.data import SIZE, add_validation, make_mvtec, save
from helpers.regions import look_at_the_left
from helpers.shards import make_shards

from training_code.data.datamodule import SampleDataModule
from training_code.data.dataset import read_dataset
from training_code.data.division import divide
from training_code.data.joined import products_of, read_datasets
from training_code.data.labelled import labelled_sha256, take_labelled
from training_code.data.places import image_file, names_of
from training_code.display.dataset import draw_samples
from training_code.foundation.errors import InputError
from training_code.preparation import read_conditions


@pytest.fixture
def folders(tmp_path):
    """Two products: a has 12 images to train on, b has 8 and other test images."""
    return [
        make_mvtec(tmp_path / "a"),
        make_mvtec(tmp_path / "elsewhere" / "b", train=8, good=3, defective=2, seed=5),
    ]


def _joined(*folders):
    return read_datasets("+".join(map(str, folders)))


def test_a_list_and_a_plus_name_several_datasets_and_a_folder_with_a_plus_is_one(tmp_path, folders):
    assert names_of("a + b") == names_of(["a", "b"]) == ["a", "b"]
    assert names_of("textures+pcb") == ["textures", "pcb"], "embedded datasets, before they are made"
    own = make_mvtec(tmp_path / "a+b")
    assert names_of(own) == [own] and read_dataset(own).name == "a+b"
    for wrong in ("a+", "+", [], ["a", ""]):
        with pytest.raises(InputError, match=r"names no dataset: .* as boards_a\+boards_b"):
            names_of(wrong)
    with pytest.raises(InputError, match="there is no dataset folder 'nowhere'"):
        read_datasets([folders[0], "nowhere"])


def test_joined_datasets_hold_the_images_of_each_with_its_product(folders):
    joined, (a, b) = _joined(*folders), map(read_dataset, folders)
    assert joined.name == "a+b" and [product.name for product in joined.products] == ["a", "b"]
    assert joined.counts == {
        **{"train/good": 20, "test/bar": 6, "test/good": 9, "test/square": 6},
    }
    assert {joined.groups[each.path] for each in joined.samples} == {
        *(f"a/{name}" for name in a.groups.values()),
        *(f"b/{name}" for name in b.groups.values()),
    }
    train = [joined.facts[each.path].sha256 for each in joined.select("train")]
    assert train == sorted(train), "in an order that depends on content alone"
    for sample in joined.samples:
        name = joined.name_of(sample.path)
        assert name.partition("/")[0] == joined.product_of(sample.path).name == products_of(joined, [sample.path])[0]
        assert image_file(joined.folder, name) == sample.path
    assert products_of(a, [each.path for each in a.samples]) == ()
    assert draw_samples(joined) is not None


def test_an_image_is_found_in_a_single_folder_whatever_it_is_called(tmp_path):
    folder = make_mvtec(tmp_path / "x+a")
    assert image_file(str(folder), "test/good/000.png") == folder / "test" / "good" / "000.png"
    shutil.rmtree(folder)
    assert image_file(str(folder), "test/good/000.png") == folder / "test" / "good" / "000.png"


def test_an_image_outside_of_the_folder_of_its_list_has_its_whole_path(tmp_path):
    image, folder = save(tmp_path / "shelf" / "1.png", np.zeros((SIZE, SIZE), np.uint8)), tmp_path / "list"
    folder.mkdir()
    other = save(tmp_path / "shelf" / "2.png", np.full((SIZE, SIZE), 90, np.uint8))
    (folder / "files.csv").write_text(f"path,split,defect,mask\n{image},train,,\n{other},test,,\n")
    dataset = read_dataset(folder)
    assert image_file(dataset.folder, dataset.name_of(image)) == image


def test_the_fingerprint_follows_from_those_of_the_products_and_not_from_names_or_order(folders, tmp_path):
    first = _joined(*folders)
    assert _joined(*folders[::-1]).fingerprint == first.fingerprint and _joined(*folders[::-1]).name == "a+b"
    renamed = folders[0].rename(tmp_path / "z")
    other = _joined(renamed, folders[1])
    assert other.fingerprint == first.fingerprint and other.name == "b+z"
    assert [other.facts[each.path].sha256 for each in other.select("train")] == [
        first.facts[each.path].sha256 for each in first.select("train")
    ]
    save(renamed / "train" / "good" / "new.png", np.full((SIZE, SIZE), 9, np.uint8))
    assert _joined(renamed, folders[1]).fingerprint != first.fingerprint


@pytest.mark.parametrize("seed", [0, 7])
def test_a_product_holds_out_and_labels_what_it_does_alone(folders, seed):
    joined, alone = _joined(*folders), [read_dataset(folder) for folder in folders]
    divided = divide(joined, 0.25, seed, holds_out=True, learns_from_labels=False)
    expected = [divide(each, 0.25, seed, holds_out=True, learns_from_labels=False) for each in alone]
    assert {each.path for each in divided.held_out} == {s.path for own in expected for s in own.held_out}
    assert {each.path for each in divided.train} == {s.path for own in expected for s in own.train}
    taken = take_labelled(joined, 0.5, 1, seed)
    own = [take_labelled(each, 0.5, 1, seed) for each in alone]
    for split in ("test", "labelled", "unused"):
        assert {each.path for each in taken.select(split)} == {s.path for each in own for s in each.select(split)}
    assert taken.fingerprint == joined.fingerprint and labelled_sha256(taken) != labelled_sha256(joined)
    conditions = read_conditions(joined, labelled=0.5, labels=1, seed=seed)
    assert conditions.dataset.samples == taken.samples


def test_a_product_without_defects_gives_no_labelled_ones_and_the_others_do(folders):
    for kind in ("bar", "square"):
        shutil.rmtree(folders[1] / "test" / kind)
        shutil.rmtree(folders[1] / "ground_truth" / kind)
    joined = take_labelled(_joined(*folders), 0.5, None, seed=0)
    assert {joined.product_of(each.path).name for each in joined.labelled} == {"a"}


def test_labelled_images_of_a_product_are_those_of_all(folders):
    add_validation(folders[1])
    joined = _joined(*folders)
    assert {joined.name_of(each.path).partition("/")[0] for each in joined.labelled} == {"b"}
    assert len(joined.labelled) == 4


def test_each_product_has_its_own_rule_for_masks(folders):
    """In a nothing below 200 counts as defect, in b everything above 0 does: one pixel in four of the same mask."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:24], mask[24:, :24] = 250, 100
    for folder in folders:
        for path in sorted((folder / "ground_truth").glob("*/*.png")):
            save(path, np.where(mask == 250, 250, 0).astype(np.uint8) if folder.name == "b" else mask)
    (folders[0] / "dataset.yaml").write_text("mask_threshold: 200\n")
    for path in sorted((folders[1] / "ground_truth").glob("*/*.png")):
        save(path, np.where(mask > 0, 100, 0).astype(np.uint8))
    data = SampleDataModule(_joined(*folders), (SIZE, SIZE), 0, seed=0)
    shares = {"a": set(), "b": set()}
    for index, path in enumerate(data.test_data.paths):
        if data.test_data.abnormal[index]:
            shares["b" if "elsewhere" in path else "a"].add(float(data.test_data.mask(index).mean()))
    assert shares == {"a": {0.5}, "b": {0.75}}


def test_shards_can_be_joined_with_folders(tmp_path, folders):
    joined = _joined(folders[0], make_shards(folders[1], tmp_path / "packed"))
    assert joined.fingerprint == _joined(*folders).fingerprint
    packed = next(each.path for each in joined.samples if joined.product_of(each.path).name == "packed")
    assert image_file(joined.folder, joined.name_of(packed)) == packed
    data = SampleDataModule(joined, (32, 32), 0, seed=0)
    assert len(data.train_data) == 20 and data.train_data[19].image.shape == (3, 32, 32)


def test_an_image_of_one_product_that_another_one_tests_is_told_as_a_leak(folders):
    shutil.copy(folders[0] / "train" / "good" / "003.png", folders[1] / "test" / "good" / "copied.png")
    joined = _joined(*folders)
    (leak,) = [note for note in joined.notes if note.kind == "leak"]
    assert leak.message == ("b/test/good/copied.png has the content of a training image: a leak (a/train/good/003.png)")


def test_notes_say_which_product_they_are_about(folders):
    shutil.rmtree(folders[1] / "test" / "good")
    messages = [note.message for note in _joined(*folders).notes if note.kind == "held out"]
    assert messages == ["b: 2 of 8 defect-free images are held out for testing, since none are given for that"]


def _regions(a, b):
    look_at_the_left(a)


def _references(a, b):
    save(a / "reference" / "golden.png", np.full((SIZE, SIZE), 100, np.uint8))


def _no_masks(a, b):
    shutil.rmtree(b / "ground_truth")


def _depths(a, b):
    save(a / "train" / "good" / "deep.png", np.full((SIZE, SIZE), 1000, np.uint16))
    save(b / "train" / "good" / "deep.png", np.full((SIZE, SIZE), 60000, np.uint16))


def _plus(a, b):
    shutil.move(b, b.with_name("b+c"))
    return [a, b.with_name("b+c")]


def _inside(a, b):
    shutil.move(b, a / "inner")
    return [a, a / "inner"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_regions, "a and b do not have the same region, .*: join datasets with the same region, or without any"),
        (_references, "a has golden samples and b has none: join datasets of which all have them, or none"),
        (_no_masks, "b has defects without masks and a has masks, .*: join datasets of which all have masks, or none"),
        (_depths, r"white in 16-bit images is not the same \(a 10 bits, b 16 bits\)"),
        (_plus, r"b\+c cannot be joined with others: its name has a \+"),
        (_inside, "each needs a folder of its own"),
        (lambda a, b: [a, a], "are of one name, .*: join folders of different names, each once"),
    ],
    ids=["regions", "references", "masks", "depths", "plus", "inside", "twice"],
)
def test_what_a_new_image_could_not_tell_is_refused_in_one_sentence(folders, change, message):
    named = change(*folders) or folders
    with pytest.raises(InputError, match=message) as error:
        read_datasets(named)
    assert "\n" not in str(error.value)


def test_the_same_region_or_references_in_all_of_them_are_those_of_all(folders):
    for folder in folders:
        look_at_the_left(folder)
        _references(folder, None)
    joined = _joined(*folders)
    assert joined.region is not None and joined.has_references
    assert {each.reference.parent.parent for each in joined.samples} == {*folders}, "each has that of its own product"
