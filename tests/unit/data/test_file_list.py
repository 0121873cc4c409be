"""A dataset may be a list of files, wherever they lie."""

import shutil

import pytest
from helpers.data import make_mvtec

from training_code.data.dataset import examine, read_dataset
from training_code.data.file_list import LIST
from training_code.data.report import is_complete, is_usable
from training_code.foundation.errors import InputError

COLUMNS = "path,split,defect,mask"


def _rows(root, folder="."):
    """Return a row for each image of a folder of `make_mvtec`."""
    for path in sorted(root.glob("t*/*/*.png")):
        split, defect = path.parts[-3:-1]
        mask = f"{folder}/ground_truth/{defect}/{path.stem}_mask.png" if defect != "good" else ""
        yield f"{folder}/{split}/{defect}/{path.name},{split},{defect},{mask}"


def _write(root, *rows, columns=COLUMNS):
    root.mkdir(exist_ok=True)
    (root / LIST).write_text("\n".join([columns, *rows]) + "\n")
    return root


def test_a_list_is_the_dataset_that_its_files_are_in_a_folder(tmp_path):
    folder = make_mvtec(tmp_path / "d")
    expected = read_dataset(folder)
    relative = read_dataset(_write(tmp_path / "list", *_rows(folder, "../d")))
    absolute = read_dataset(_write(tmp_path / "other", *reversed([*_rows(folder, folder)])))
    for dataset in (relative, absolute):
        assert dataset.fingerprint == expected.fingerprint and dataset.counts == expected.counts
        assert is_usable(dataset) and is_complete(dataset) and not dataset.notes
        names = [(sample.path.name, sample.mask and sample.mask.name) for sample in expected.samples]
        assert [(sample.path.name, sample.mask and sample.mask.name) for sample in dataset.samples] == names


def test_the_list_itself_may_be_given_and_what_it_does_not_name_is_not_read(tmp_path):
    root = make_mvtec(tmp_path / "d")
    rows = [row for row in _rows(root) if "/bar/" not in row]
    dataset = read_dataset(_write(root, *rows) / LIST)
    assert dataset.counts == {"train/good": 12, "test/good": 6, "test/square": 4} and dataset.root == root
    assert not dataset.findings


def test_groups_of_a_list_are_groups_and_a_second_table_of_them_is_an_error(tmp_path):
    root = make_mvtec(tmp_path / "d")
    rows = [f"{row},{index // 2 if index < 4 else ''}" for index, row in enumerate(sorted(_rows(root), reverse=True))]
    groups = examine(_write(root, *rows, columns=f"{COLUMNS},group")).groups
    named = [path for path, group in groups.items() if group in ("0", "1")]
    assert sorted(path.name for path in named) == ["008.png", "009.png", "010.png", "011.png"]
    assert len(set(groups.values())) == 24
    (root / "groups.csv").write_text("path,group\ntrain/good/000.png,a\n")
    with pytest.raises(InputError, match="gives groups, and so do"):
        examine(root)


def test_a_list_written_on_windows_is_read(tmp_path):
    root = make_mvtec(tmp_path / "d")
    rows = [row.replace("/", "\\") for row in _rows(root)]
    (root / LIST).write_bytes("\ufeff".encode() + "\r\n".join([COLUMNS, *rows]).encode())
    assert read_dataset(root).counts["test/bar"] == 4


def test_labelled_images_and_masks_of_good_images_are_what_they_are_in_folders(tmp_path):
    root = make_mvtec(tmp_path / "d")
    rows = [row.replace("test,bar", "validation,bar") for row in _rows(root)]
    good, mask = "test/good/000.png", "ground_truth/good.png"
    shutil.copy(root / "ground_truth/bar/000_mask.png", root / mask)
    rows = [row.replace(f"{good},test,good,", f"{good},test,OK,{mask}") for row in rows]
    dataset = examine(_write(root, *rows))
    assert dataset.counts == {"train/good": 12, "validation/bar": 4, "test/good": 6, "test/square": 4}
    (finding,) = dataset.findings
    assert (finding.kind, finding.path.name) == ("mask of a good image", "good.png")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("train/good/x.png,train,good,", "line 28: there is no file 'train/good/x.png' (path)"),
        ("train/good,train,good,", "line 28: there is no file 'train/good' (path)"),
        ("train/good/000.png,train,good,", "line 28: 'train/good/000.png' (path) is in line "),
        ("./train/good/../good/000.png,train,good,", "(path) is in line "),
        (
            "new.png,tests,good,",
            "line 28: 'new.png' has the split 'tests' (did you mean 'test'?); valid: train, ",
        ),
        ("new.png,,good,", "line 28: 'new.png' has the split ''; valid: train, validation, test"),
        ("new.png,train,crack,", "has the defect 'crack' and the split train, where all images are good"),
        ("new.png,test,a/b,", "has the defect 'a/b'; valid: a name without slashes, or good"),
        ("new.png,test,crack,m.png", "line 28: there is no file 'm.png' (mask)"),
        (
            "new.png,test,crack,ground_truth/bar/000_mask.png",
            "'ground_truth/bar/000_mask.png' (mask) is in line 2",
        ),
        ("new.png,test,crack,new.png", "line 28: 'new.png' (mask) is in line 28 already"),
        ("new.png,test,,ground_truth/good.png", "has a mask and no defect; valid: its name, or good"),
        (",test,crack,", "line 28 has no path"),
        ("new.png,test,crack", "line 28 has 3 cells; valid: 4"),
    ],
)
def test_a_fault_in_a_list_is_one_sentence_with_the_line(tmp_path, row, words):
    root = make_mvtec(tmp_path / "d")
    shutil.copy(root / "test/bar/000.png", root / "new.png")
    shutil.copy(root / "ground_truth/bar/000_mask.png", root / "ground_truth/good.png")
    with pytest.raises(InputError) as raised:
        examine(_write(root, *_rows(root), row))
    assert words in str(raised.value) and LIST in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("path,split,defect,masks", "unknown column of {}/files.csv 'masks' (did you mean 'mask'?)"),
        ("path,split,defect", "lacks the column 'mask'"),
        ("path,split,defect,mask,mask", "has the column 'mask' twice"),
        ("path,part,defect,mask", "unknown column of {}/files.csv 'part'"),
    ],
)
def test_a_list_with_other_columns_is_an_error(tmp_path, columns, words):
    with pytest.raises(InputError) as raised:
        examine(_write(tmp_path, columns=columns))
    assert words.format(tmp_path) in str(raised.value)


def test_a_table_of_another_program_beside_folders_is_told_and_not_read(tmp_path):
    root = make_mvtec(tmp_path / "d")
    before = read_dataset(root).fingerprint
    dataset = read_dataset(_write(root, "a.png,17", columns="path,size"))
    assert dataset.fingerprint == before
    assert [finding.kind for finding in dataset.findings] == ["foreign description"] and is_complete(dataset)
