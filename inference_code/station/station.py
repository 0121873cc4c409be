"""The station: photographs are taken from the inbox, parts are judged, and everything is put where it belongs."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from inference_code.station.drift import Drift, draw
from inference_code.station.filing import UNKNOWN_FOLDER, day_of, free_folder, free_place, move, write_verdict
from inference_code.station.grouping import Expected, Grouping
from inference_code.station.inbox import Inbox, Photograph
from inference_code.station.ledger import Ledger
from inference_code.station.schema import DOUBLED, LATE, OF_VIEWS, UNKNOWN, UNREADABLE, WAITING, Entry, Part
from inference_code.station.views import ToSee, Viewer, Viewers
from inference_code.verdicts import Rule, Seen

#: Photographs that are looked at together, and seconds from one look into the inbox to the next while so many wait.
BATCH, LOOK_EVERY = 16, 0.5


@dataclass(frozen=True)
class Way:
    """How photographs become parts, and parts get verdicts.

    Attributes
    ----------
    grouping
        Which part a photograph shows.
    expected
        The views of a part.
    rule
        How views make a verdict.
    part_timeout
        Seconds after its first photograph when a part is judged by what there is of it.
    again_after
        Seconds after its verdict when a name stands for a new part.
    """

    grouping: Grouping
    expected: Expected
    rule: Rule
    part_timeout: float
    again_after: float


class Station:
    """Judges parts one step at a time; a step that fails, or is killed, is done again.

    Parameters
    ----------
    inbox
        Where photographs come in.
    output
        Where they go, each with what was found: ``DAY/PART/``.
    ledger
        Of this station.
    way
        How parts are judged.
    viewers
        What is found in a photograph.
    say
        Gets a sentence for each verdict and each photograph that belongs to no part.

    Attributes
    ----------
    drift
        What watches the photographs for changes; None where nothing does.
    """

    drift: Drift | None = None

    def __init__(
        self,
        inbox: Inbox,
        output: Path,
        ledger: Ledger,
        way: Way,
        viewers: Viewers,
        say: Callable[[str], None] = print,
    ) -> None:
        self.inbox, self.output, self.ledger = inbox, output, ledger
        self._way, self._viewers, self._say, self._clock = way, viewers, say, inbox.clock
        self._undrawn = True  # alarms that came as the last station was killed, or while the disk was full
        self._entered = float("-inf")  # when the inbox was looked into last
        self._begun = self._clock()  # while no station was there, nobody could take what came

    def step(self) -> bool:
        """Do what can be done now; return whether anything was.

        Raises
        ------
        OSError, sqlite3.OperationalError
            If something could not be read or written; another step goes on from there.
        """
        filed = self._file()
        entered = self._enter()
        looked = self._look()
        judged = self._judge()
        if self._undrawn:
            draw(self.ledger, self.output)
            self._undrawn = False
        return judged or looked or entered or filed

    @property
    def idle(self) -> bool:
        """Whether nothing waits, neither in the inbox nor for another view."""
        return not self.inbox.waiting and self.ledger.last_opened() is None and not self.ledger.to_file()

    def _enter(self) -> bool:
        """Enter photographs that are complete; of a full inbox not before each batch, since all of it is read."""
        if self._clock() - self._entered < LOOK_EVERY and len(self.ledger.waiting(BATCH)) == BATCH:
            return False
        self._entered = self._clock()
        known = self.ledger.sources()
        new = [photograph for photograph in self.inbox.look() if str(photograph.source) not in known]
        if new:
            with self.ledger.changing():
                for photograph in new:
                    self._enter_one(photograph)
        return bool(new)

    def _enter_one(self, photograph: Photograph) -> None:
        now, name = self._clock(), photograph.source.name
        part, view, state, why = self._placed(photograph.source, now)
        folder = f"{day_of(now)}/{UNKNOWN_FOLDER}" if part is None else part.folder
        place = free_place(self.ledger, self.output, folder, f"{state}_{name}" if state in (DOUBLED, LATE) else name)
        number = self.ledger.enter(photograph, None if part is None else part.id, view, state, place, now)
        if part is not None and part.verdict is not None:
            self.ledger.note_filed(part.id, False)
        if why is not None:
            self.ledger.note(number, state, {"error": why})
            self._say(f"{photograph.source}: {why}")

    def _placed(self, source: PurePosixPath, now: float) -> tuple[Part | None, str | None, str, str | None]:
        """Return part and view of a photograph, its state, and why it is not looked at if it is not."""
        expected = self._way.expected
        shown = self._way.grouping.shown(source)
        if shown is None:
            return None, None, UNKNOWN, "its name tells no part and view"
        if shown.part is None or shown.view is None:
            return self._in_turn(now)
        if not expected.takes(shown.view):
            return None, shown.view, UNKNOWN, f"{shown.view} is no view; valid: {', '.join(expected.names)}"
        part = self.ledger.latest(shown.part)
        if part is not None and part.judged is not None and now - part.judged >= self._way.again_after:
            part = None
        if part is None:
            return self._opened(shown.part, now), shown.view, WAITING, None
        views = [entry.view for entry in self.ledger.of_part(part.id) if entry.state in OF_VIEWS]
        if shown.view in views:
            return part, shown.view, DOUBLED, f"{part.name} has this view already"
        if part.verdict is not None:
            return part, shown.view, LATE, f"{part.name} was judged before it came"
        if len(views) == expected.count:
            return part, shown.view, DOUBLED, f"{part.name} has {len(views)} views already"
        return part, shown.view, WAITING, None

    def _in_turn(self, now: float) -> tuple[Part, str, str, None]:
        part = self.ledger.last_opened()  # those before it are complete
        if part is not None:
            views = [entry for entry in self.ledger.of_part(part.id) if entry.state in OF_VIEWS]
            if len(views) < self._way.expected.count:
                return part, self._name_of(len(views)), WAITING, None
        return self._opened(f"{self.ledger.next_number():06d}", now), self._name_of(0), WAITING, None

    def _name_of(self, place: int) -> str:
        names = self._way.expected.names
        return names[place] if names else str(place + 1)

    def _opened(self, name: str, now: float) -> Part:
        folder = free_folder(self.ledger, self.output, day_of(now), name)
        self.ledger.open_part(name, folder, now)
        part = self.ledger.latest(name)
        assert part is not None
        return part

    def _look(self) -> bool:
        """Look at photographs that wait, and again at those that could not be read and have changed since."""
        entries = [*self.ledger.waiting(BATCH), *self._changed()]
        folders = {part: self.ledger.part(part).folder for part in {entry.part for entry in entries} if part}
        found, by_viewer = [], defaultdict[Viewer, list[Entry]](list)
        for entry in entries:
            by_viewer[self._viewers.of(str(entry.view))].append(entry)
        for viewer, group in by_viewer.items():
            own = [(entry, self._state_of(entry)) for entry in group]
            given = [self._to_see(entry, folders) for entry, _ in own]
            found += [(entry, now, *one) for (entry, now), one in zip(own, viewer.look(given), strict=True)]
        if found:
            with self.ledger.changing():
                for entry, now, state, noted in found:
                    self.ledger.note(entry.id, state, {**noted, **now})
        return bool(found)

    def _to_see(self, entry: Entry, folders: dict[int, str]) -> ToSee:
        assert entry.part is not None
        return ToSee(self.inbox.folder / entry.source, str(entry.view), self.output / folders[entry.part])

    def _changed(self) -> list[Entry]:
        """Return photographs that could not be read, and that somebody has written to since."""
        states = [(entry, self._state_of(entry)) for entry in self.ledger.unreadable()]
        return [entry for entry, now in states if now and now != {"size": entry.size, "modified": entry.modified}]

    def _state_of(self, entry: Entry) -> dict[str, int]:
        """Return size and time of a photograph in the inbox; nothing where it has vanished."""
        try:
            status = (self.inbox.folder / entry.source).stat()
        except FileNotFoundError:
            return {}
        return {"size": status.st_size, "modified": status.st_mtime_ns}

    def _judge(self) -> bool:
        """Judge parts that are complete, and those that have waited long enough."""
        now, judged = self._clock(), []
        for part in self.ledger.looked_at():
            entries = [entry for entry in self.ledger.of_part(part.id) if entry.state in OF_VIEWS]
            missing = self._way.expected.missing([str(entry.view) for entry in entries])
            lacking = missing or any(entry.state == UNREADABLE for entry in entries)
            if lacking and now - max(part.opened, self._begun) < self._way.part_timeout:
                continue
            seen = [Seen(str(entry.view), entry.abnormal, entry.scaled, entry.p_value) for entry in entries]
            judged.append((part, entries, self._way.rule.judge(seen, self._way.expected.count, missing)))
        alarms: list[str] = []
        if judged:
            with self.ledger.changing():
                for part, _, verdict in judged:
                    self.ledger.judge(part.id, verdict, now)
                if self.drift is not None:  # in the same change, so that each part counts once
                    alarms = self.drift.take([entries for _, entries, _ in judged], now)
            for part, _, verdict in judged:
                self._say(f"{part.name}: {verdict.verdict}{f' ({verdict.reason})' if verdict.reason else ''}")
        for sentence in alarms:
            self._say(sentence)
        self._undrawn |= bool(alarms)
        return bool(judged)

    def _file(self) -> bool:
        """Move what is decided to its place, and write the verdicts."""
        entries = self.ledger.to_move()
        self._move(entries)
        parts = self.ledger.to_file()
        for part in parts:
            write_verdict(part, self.ledger.of_part(part.id), asdict(self._way.rule), self.output)
        if parts:
            with self.ledger.changing():
                for part in parts:
                    self.ledger.note_filed(part.id)
        return bool(entries or parts)

    def _move(self, entries: Sequence[Entry]) -> None:
        moved, vanished = [], []
        try:
            for entry in entries:
                try:
                    move(entry, self.inbox.folder, self.output)
                except FileNotFoundError:
                    vanished.append(entry)
                    self._say(f"{entry.source}: it vanished from the inbox before it was moved")
                moved.append(entry.id)
        finally:  # also where the disk is full after some of them
            if moved:
                with self.ledger.changing():
                    for entry in vanished:
                        self.ledger.note(entry.id, entry.state, {"error": "vanished from the inbox"})
                    self.ledger.note_moved(moved)
