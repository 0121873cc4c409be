"""`open_source`: what a person names becomes a source of frames."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from inference_code.sources.files import Files, WatchedFolder, without_folders
from inference_code.sources.frames import FrameSource
from inference_code.sources.streams import RECONNECT, SCHEMES, Stream, Video, without_password
from training_code.data.images import SUFFIXES, image_format
from training_code.data.walk import find_images, find_unread_images, find_unreadable, is_image
from training_code.foundation import paths
from training_code.foundation.errors import InputError, choices

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm", ".wmv"})
_CAMERA = re.compile(r"camera:(\d+)")
_KINDS = "an image, a folder, a pattern such as 'images/*.png', a video, camera:0, or an rtsp:// or http:// address"


def open_source(
    source: str, watch: bool = False, skipped: Sequence[Path] = (), reconnect: float = RECONNECT
) -> FrameSource:
    """Return where the images come from.

    Parameters
    ----------
    source
        An image, a folder with everything below it, a pattern of files (``**`` for folders at any depth), a video,
        ``camera:<number>``, or an address of one of `SCHEMES`.
    watch
        Follow a folder.
    skipped
        Folders whose images are left out, such as those of pictures that were written.
    reconnect
        As in `Stream`.

    Raises
    ------
    InputError
        If it is not there, of another kind, or holds no images.
    """
    if not source.strip():
        raise InputError(f"no source is named; valid: {_KINDS}")
    path = paths.expanded(source)
    if watch:
        if not path.is_dir():
            raise InputError(f"{source} cannot be followed: it is no folder")
        return WatchedFolder(path, skipped)
    if camera := _CAMERA.fullmatch(source):
        return Stream(int(camera[1]), reconnect)
    if "://" in source:
        if urlsplit(source).scheme.lower() not in SCHEMES:
            scheme = urlsplit(source).scheme
            raise InputError(f"{without_password(source)} begins with {scheme!r}; valid: {choices(SCHEMES)}")
        return Stream(source, reconnect)
    if path.is_dir():
        return _open_folder(path, skipped)
    if path.exists():
        return _open_file(path)
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.iglob(str(path), recursive=True))
        files = without_folders([path for path in found if not path.is_dir()], skipped)
        if images := [file for file in files if is_image(file)]:
            return Files(images)
        raise InputError(f"no image has a name like {source} ({choices(sorted(SUFFIXES))})")
    if path.is_symlink():
        raise InputError(f"{source} is a link that leads nowhere")
    raise InputError(f"there is no {source}; valid: {_KINDS}")


def _open_file(path: Path) -> FrameSource:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return Video(path)
    if not is_image(path):
        kinds = f"images {choices(sorted(SUFFIXES))}; videos {choices(sorted(VIDEO_SUFFIXES))}"
        what = "is no image or video by its name"
        if kind := image_format(path):
            what = f"is an image of the kind {kind}, which is not read"
        raise InputError(f"{path} {what}; valid: {kinds}")
    return Files([path])


def _open_folder(folder: Path, skipped: Sequence[Path]) -> Files:
    if closed := find_unreadable(folder):
        raise InputError(f"{closed[0]} may not be read")
    unread = find_unread_images(folder)
    unread = {path: unread[path] for path in without_folders(list(unread), skipped)}
    if images := without_folders(find_images(folder), skipped):
        return Files(images, unread)
    beside = f"; {len(unread)} files in it are images that are not read" if unread else ""
    raise InputError(f"{folder} holds no images ({choices(sorted(SUFFIXES))}){beside}")
