"""What is to be known of a run before its numbers are believed."""

from training_code.comparison.paper import reduced_settings
from training_code.data.findings import MARKED_KINDS
from training_code.records.record import Record
from training_code.records.undetermined import undetermined

#: Columns of `training_code.comparison.table.runs_table` with what `doubts` finds.
DOUBTS = ("reduced", *MARKED_KINDS, "undetermined")


def doubts(record: Record) -> dict[str, str | None]:
    """Return for each of `DOUBTS` why a run has it, in words; None where it has not."""
    of_images = {note.kind: note.message for note in reversed(record.dataset.notes)}  # of several the first one
    told = (reduced_settings(record), *(of_images.get(kind) for kind in MARKED_KINDS), undetermined(record))
    return {name: words or None for name, words in zip(DOUBTS, told, strict=True)}
