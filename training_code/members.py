"""The runs that a combined run is made of: found by their ids, and checked before any computation."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_code.foundation import paths
from training_code.foundation.errors import InputError, MissingRunError, choices, suggestion
from training_code.foundation.files import content_hash
from training_code.protocol import ExperimentProtocol
from training_code.records.record import CHECKPOINT, Record
from training_code.records.store import RunStore


@dataclass(frozen=True)
class Member:
    """A finished run that is combined with others, and the folder that its checkpoint lies in."""

    folder: Path
    record: Record


def find_members(
    run_ids: Sequence[str], store: RunStore, fingerprint: str, protocol: ExperimentProtocol, seed: int
) -> tuple[Member, ...]:
    """Return the runs of these ids, in their order.

    Parameters
    ----------
    run_ids
        At least two different ones.
    store
        Where they lie.
    fingerprint, protocol, seed
        Of the experiment that combines them; theirs must be the same.

    Raises
    ------
    InputError
        If they are too few, or one of them cannot be combined with the others; as `MissingRunError` if one is not
        there, or has not ended well.
    """
    if len({*run_ids}) < 2:
        raise InputError(f"combine={list(run_ids)} must name at least two different runs of {store.results}")
    members = tuple(_find(run_id, store) for run_id in run_ids)
    own = {"data": fingerprint, "seed": seed} | _conditions(protocol)
    for member in members:
        identity = member.record.identity
        theirs = {"data": identity.dataset_fingerprint, "seed": identity.seed} | _conditions(identity.protocol)
        other = [name for name in own if own[name] != theirs[name]]
        if other:
            values = choices(f"{name} {_short(theirs[name])}, not {_short(own[name])}" for name in other)
            raise InputError(f"{member.record.run_id} cannot be combined here, its conditions are others: {values}")
        _check_usable(member)
    return members


def _find(run_id: str, store: RunStore) -> Member:
    record = store.record(run_id) if Path(run_id).name == run_id else None
    if record is None:
        known = sorted(entry.name for entry in (store.results / "runs").glob("[!.]*/"))
        raise MissingRunError(
            f"there is no run {run_id!r} in {paths.relative_to_home(store.results)} to combine"
            f"{suggestion(run_id, known)}; run it first, valid: {choices(known) or 'none yet'}"
        )
    if record.status != "ok":
        raise MissingRunError(f"{run_id} cannot be combined: it did not end well ({record.status}); run it again")
    return Member(store.find(run_id), record)


def _check_usable(member: Member) -> None:
    """Refuse a run without what a combination needs of it."""
    record, checkpoint = member.record, member.folder / CHECKPOINT
    if record.members:
        own = choices(each.run_id for each in record.members)
        raise InputError(f"{record.run_id} is a combination itself: name the runs that it is made of, {own}")
    if record.calibration is None:
        raise InputError(
            f"{record.run_id} cannot be combined: there are no good images that it has not seen, by which its scores "
            "could be compared with those of others; valid: runs with validation_split above 0"
        )
    if not checkpoint.is_file():
        raise InputError(f"{record.run_id} cannot be combined: {checkpoint} is missing; run it again with rerun=True")
    if record.checkpoint is None or content_hash(checkpoint) != record.checkpoint.sha256:
        raise InputError(
            f"{record.run_id} cannot be combined: {checkpoint} is not the file that its run wrote; run it again with "
            "rerun=True"
        )


def _conditions(protocol: ExperimentProtocol) -> dict[str, Any]:
    """Return the conditions that cannot be changed when a run has ended."""
    return {name: value for name, value in dataclasses.asdict(protocol).items() if name not in protocol.afterwards()}


def _short(value: Any) -> str:
    return str(value)[:12] if isinstance(value, str) else str(value)
