"""Pictures of parts as the page shows them: found through the ledger, of a size for a screen, and made once."""

import io
import threading
from collections import OrderedDict
from pathlib import Path

from inference_code.station.filing import PICTURES, safe
from inference_code.station.reading import Reader
from training_code.data.images import shown_image

#: Pixels of the longer side, by name.
SIZES = {"large": 1280, "small": 320}
# Bytes of pictures that are kept, since several pages ask for the same ones.
_KEPT = 2**26
_QUALITY = 85


def find_picture(reader: Reader, folder: Path, number: int, view: str, kind: str) -> Path | None:
    """Return where a picture of a view of a part lies; None where there is none in the folder of the station.

    Parameters
    ----------
    number
        Of the part's verdict.
    kind
        ``photograph`` or ``overlay``.
    """
    part = reader.part(number)
    entry = None if part is None else next((one for one in reader.views(part.id) if one.view == view), None)
    if part is None or entry is None:
        return None
    place = entry.place if kind == "photograph" else f"{part.folder}/{PICTURES[0].format(view=safe(view))}"
    path = (folder / place).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


class Pictures:
    """Makes pictures for screens, and keeps those that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._one_at_a_time = threading.Lock()  # a processor is enough for this, beside a station

    def make(self, path: Path, size: int) -> bytes:
        """Return a picture as JPEG, ``size`` pixels on its longer side at most.

        Raises
        ------
        OSError, InputError
            If it cannot be read.
        """
        key = str(path), path.stat().st_mtime_ns, size
        with self._one_at_a_time:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            image = shown_image(path)
            image.thumbnail((size, size))
            content = io.BytesIO()
            image.save(content, "JPEG", quality=_QUALITY)
            self._kept[key] = content.getvalue()
            while sum(map(len, self._kept.values())) > _KEPT:
                self._kept.popitem(last=False)
            return content.getvalue()
