"""What a station asks of whoever looks at photographs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class ToSee:
    """A photograph that something is looked for in.

    Attributes
    ----------
    path
        Where it lies.
    view
        What it shows.
    folder
        For its pictures.
    """

    path: Path
    view: str
    folder: Path


class Viewer(Protocol):
    """Looks at photographs; see `inference_code.station.viewing.DetectorViewer`."""

    def look(self, photographs: Sequence[ToSee]) -> list[tuple[str, dict[str, Any]]]:
        """Return of each photograph its state and what is noted of it, by columns of the ledger."""
        ...


class Viewers:
    """The viewer of each view: its own, or the one for all others.

    Parameters
    ----------
    default
        None where every view has its own.
    own
        By view.
    """

    def __init__(self, default: Viewer | None, own: Mapping[str, Viewer]) -> None:
        self._default, self._own = default, own

    def of(self, view: str) -> Viewer:
        """Return the viewer of a view."""
        found = self._own.get(view, self._default)
        assert found is not None, view
        return found
