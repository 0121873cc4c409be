"""Sources give the frames that are there, in their order, and say what is wrong with the others."""

import itertools
import os
import threading
import time

import cv2
import numpy as np
import pytest
from helpers.data import save
from PIL import Image

from inference_code.sources.files import Files, WatchedFolder
from inference_code.sources.opening import open_source
from inference_code.sources.streams import Video, without_password
from training_code.foundation.errors import InputError

GREY = np.full((8, 8), 100, np.uint8)


def _names(source, root):
    return [os.path.relpath(frame.name, root) for frame in source]


def test_a_folder_with_everything_below_it_but_not_what_was_written(tmp_path):
    for name in ("b.png", "a/c.JPG", "a/d.tif", "overlays/e.png", ".hidden.png"):
        save(tmp_path / name, GREY)
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(str(tmp_path), skipped=[tmp_path / "overlays"])
    assert _names(source, tmp_path) == ["a/c.JPG", "a/d.tif", "b.png"] and source.total == 3
    assert not source.endless and not source.live


def _png(path, image=GREY):
    """Write a PNG whatever the name is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, "PNG")


def test_images_that_are_not_read_are_named_and_those_without_an_ending_are_read(tmp_path):
    for name in ("a.png", "photograph", "copy.bak", "written/overlay.old"):
        _png(tmp_path / name)
    Image.fromarray(GREY).save(tmp_path / "b.gif")
    (tmp_path / "notes.bak").write_text("no image")
    source = open_source(str(tmp_path), skipped=[tmp_path / "written"])
    assert _names(source, tmp_path) == ["a.png", "photograph"]
    assert source.problem.startswith(f"{tmp_path / 'b.gif'} (GIF), {tmp_path / 'copy.bak'} (PNG) are 2 images that are")
    assert [frame.image for frame in open_source(str(tmp_path / "photograph"))] == [tmp_path / "photograph"]
    with pytest.raises(InputError, match="b.gif is an image of the kind GIF, which is not read; valid: images .bmp"):
        open_source(str(tmp_path / "b.gif"))
    for name in ("a.png", "photograph"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="holds no images .*; 2 files in it are images that are not read"):
        open_source(str(tmp_path), skipped=[tmp_path / "written"])
    assert Files([]).problem is None


def test_a_watched_folder_says_once_of_an_image_that_it_does_not_read(tmp_path, capsys):
    source = WatchedFolder(tmp_path, poll=0.01)
    (tmp_path / "notes.txt").write_text("no image")
    _png(tmp_path / "scan.bak")
    _png(tmp_path / "a.png")
    frames = iter(source)
    assert next(frames).name == str(tmp_path / "a.png")
    _png(tmp_path / "b.png")
    assert next(frames).name == str(tmp_path / "b.png")
    told = capsys.readouterr().err
    assert told.count("scan.bak (PNG) is an image that is not read") == 1 and "notes" not in told
    assert source.problem == told.removeprefix("error: ").strip()


def test_a_pattern_finds_files_at_any_depth(tmp_path):
    for name in ("a/1.png", "a/b/2.png", "a/b/3.bmp"):
        save(tmp_path / name, GREY)
    (tmp_path / "a" / "x.png").mkdir()
    assert _names(open_source(f"{tmp_path}/**/*.png"), tmp_path) == ["a/1.png", "a/b/2.png"]
    assert _names(open_source(f"{tmp_path}/a/?.png"), tmp_path) == ["a/1.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    path = save(tmp_path / "part[1].png", GREY)
    assert [frame.image for frame in open_source(str(path))] == [path]


def test_frames_of_a_video_have_their_numbers_times_and_colours_in_the_right_order(tmp_path):
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for red in (0, 100, 200):
        writer.write(np.dstack([np.full((48, 64), value, np.uint8) for value in (20, 20, red)]))  # blue first
    writer.release()
    source = open_source(str(path))
    assert isinstance(source, Video) and source.total == 3
    frames = list(source)
    assert [frame.number for frame in frames] == [0, 1, 2]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.2], atol=1e-6)
    for frame, red in zip(frames, (0, 100, 200), strict=True):
        np.testing.assert_allclose(frame.image.mean((0, 1)), [red, 20, 20], atol=12)
    assert source.problem is None


def test_a_video_of_which_most_is_damaged_is_told(tmp_path):
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(30):
        writer.write(np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8))
    writer.release()
    content = bytearray(path.read_bytes())
    # Three quarters of the frames are lost, the header and the index at the end still know of all.
    begin, end = len(content) // 4, content.rindex(b"idx1")
    content[begin:end] = bytes(end - begin)
    path.write_bytes(bytes(content))
    source = open_source(str(path))
    frames = list(source)
    assert 0 < len(frames) < 27
    assert f"ends after {len(frames)} of 30 frames" in source.problem


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("v.avi", b"", "v.avi is not a video that can be read"),
        ("v.mp4", b"<html>", "v.mp4 is not a video that can be read"),
        ("moving.gif", b"GIF89a", "is an image of the kind GIF, which is not read; valid: images .bmp"),
        ("notes.txt", b"x", "is no image or video by its name"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        open_source(str(tmp_path / name))


def test_what_is_not_there_is_named_with_what_would_be_right(tmp_path):
    with pytest.raises(InputError, match="there is no .*/nowhere; valid: an image, a folder, a pattern"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"holds no images \(.bmp, "):
        open_source(str(tmp_path))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="holds no images"):
        open_source(str(tmp_path))
    with pytest.raises(InputError, match=r"no image has a name like .*\*.png"):
        open_source(f"{tmp_path}/*.png")
    with pytest.raises(InputError, match="begins with 'ftp'; valid: rtsp, rtsps, http, https"):
        open_source("ftp://a/b.png")
    with pytest.raises(InputError, match="cannot be followed: it is no folder"):
        open_source(str(tmp_path / "notes.txt"), watch=True)
    with pytest.raises(InputError, match="camera:99 cannot be opened"):
        open_source("camera:99")
    with pytest.raises(InputError, match="http://127.0.0.1:9/x cannot be opened"):
        open_source("http://anna:secret@127.0.0.1:9/x")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match="is a link that leads nowhere"):
        open_source(str(tmp_path / "link.png"))


def test_a_password_is_not_shown():
    assert without_password("rtsp://anna:se:cret@host:554/x?a=b@c") == "rtsp://host:554/x?a=b@c"
    assert without_password("http://host/x") == "http://host/x"


def test_files_of_a_watched_folder_come_once_each_when_they_are_complete(tmp_path):
    save(tmp_path / "a.png", GREY)
    (tmp_path / "empty.png").touch()
    frames = iter(WatchedFolder(tmp_path, poll=0.1))
    assert next(frames).image.name == "a.png"
    slow = tmp_path / "slow.png"
    growing, complete = True, 0.0

    def grow():
        nonlocal complete
        with open(slow, "wb") as file:
            while growing:
                file.write(b"x")
                file.flush()
                time.sleep(0.01)
        save(slow, GREY)
        complete = time.monotonic()

    thread = threading.Thread(target=grow)
    thread.start()
    time.sleep(0.3)
    save(tmp_path / "b.png", GREY)
    assert next(frames).image.name == "b.png", "a.png does not come again, slow.png still grows"
    growing = False
    assert next(frames).image == slow
    thread.join()
    assert time.monotonic() - complete >= 0.1
    save(tmp_path / "a.png", GREY[:4])
    assert next(frames).image.name == "a.png", "a file that is written anew comes again"


def test_a_watched_folder_that_vanishes_is_waited_for(tmp_path):
    folder = tmp_path / "in"
    save(folder / "a.png", GREY)
    frames = iter(WatchedFolder(folder, poll=0.02))
    next(frames)
    (folder / "a.png").unlink()
    folder.rmdir()
    later = threading.Timer(0.3, lambda: save(folder / "b.png", GREY))
    later.start()
    assert next(frames).image.name == "b.png"


def test_files_stay_in_the_order_in_which_they_are_given(tmp_path):
    names = [save(tmp_path / f"{name}.png", GREY) for name in "cab"]
    assert [frame.image for frame in itertools.islice(Files(names), 3)] == names


def test_an_image_may_be_given_alone(tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "A.PNG")
    assert open_source(str(tmp_path / "A.PNG")).total == 1


def test_links_that_lead_to_themselves_are_left_to_who_reads_them(tmp_path):
    save(tmp_path / "a.png", GREY)
    (tmp_path / "self.png").symlink_to("self.png")
    skipped = tmp_path / "overlays"
    skipped.symlink_to("overlays")
    for source in (str(tmp_path), f"{tmp_path}/*.png"):
        assert _names(open_source(source, skipped=[skipped]), tmp_path) == ["a.png", "self.png"]
    frames = iter(WatchedFolder(tmp_path, [skipped], poll=0.01))
    assert os.path.basename(next(frames).name) == "a.png"
    with pytest.raises(InputError, match="self.png is a link that leads nowhere"):
        open_source(str(tmp_path / "self.png"))


@pytest.mark.parametrize("watch", [False, True])
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "no source is named"),
        (" ", "no source is named"),
        ("~nobody-of-this-name/x.png", "a user that this machine"),
    ],
)
def test_a_source_that_names_nothing_is_not_the_working_folder(source, words, watch):
    with pytest.raises(InputError, match=words):
        open_source(source, watch)
