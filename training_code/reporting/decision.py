"""The formulas by which the sheet Decision calculates: which model at which threshold costs least on a line.

Three sheets: `Decision` asks and answers, `Decision models` has a row for each model, `Curves` one for each operating
point. The formulas do what `training_code.comparison.decision` does. They use only what Excel and LibreOffice have in
every version, and no format codes in text, which differ between languages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from openpyxl.utils import get_column_letter, quote_sheetname

from training_code.comparison.decision import DEPLOYED, NO_THRESHOLD, TOO_FEW, Candidate
from training_code.comparison.flattery import WEIGHTS
from training_code.reporting.cells import Formula

#: Names of the sheets, and of that with the pictures of the model that is chosen.
DECISION, MODELS, CURVES, WINNER = "Decision", "Decision models", "Curves", "Winner"
_RATES = tuple(f"{rate}{end}" for rate in ("image_FalseAlarmRate", "image_MissRate") for end in ("", "_low", "_high"))
#: Columns of `Curves` and of `Decision models`.
CURVE_COLUMNS = ("run_id", "threshold", *_RATES, "cost_a_day")
_IN_FORCE = ("threshold in force", *(f"{name} in force" for name in _RATES))
_FLATTERY = tuple(f"flattery at {weight:g}" for weight in WEIGHTS)
#: The cost a day of models without labels and with labels that are shown beside those of the group that counts.
COSTS_OF_CLASSES = ("cost without labels", "cost with labels")
MODEL_COLUMNS = (
    *("dataset and protocol", "Model", "backbone", "configuration", "seeds", "good images", "defective images"),
    *_IN_FORCE,
    *("lowest cost", "point", "threshold", *_RATES),
    *("cost_a_day", "cost_a_day_low", "cost_a_day_high", "flattery_a_day"),
    *("note", "ranked cost", "rank", "place", "promise", "run_id"),
    *("test images", "labels", "named", "dataset", *COSTS_OF_CLASSES, *_FLATTERY),
)
# The note of a model of another group than the chosen one.
_OTHERS = "other images"
#: Rows of the answer, its sentences below it, below these what to do next and for which datasets there are other
#: answers, and of what is said about the questions.
ANSWER, SENTENCES = 2, 6
NEXT = ANSWER + SENTENCES + 1
OTHERS = NEXT + 1
INTRODUCTION = OTHERS + 2
#: The cell of each question, below one another, and where the answers to them that count are.
QUESTIONS = ("group", "threshold", "defective_share", "false_alarm_cost", "miss_cost", "parts_a_day", "least_found")
FIRST_QUESTION, YOURS, USED = INTRODUCTION + 3, "D", "E"
CELLS = {name: f"${USED}${FIRST_QUESTION + number}" for number, name in enumerate(QUESTIONS)}
REFUSING, PASSING = (f"${USED}${FIRST_QUESTION + len(QUESTIONS) + number}" for number in (0, 1))

#: The row of the heads of the table.
TABLE = FIRST_QUESTION + len(QUESTIONS) + 2 + 1
#: The columns of the table: their heads, the columns of `MODEL_COLUMNS` that they show, formats and widths.
SHOWN = (
    ("rank", None, "0", 6),
    ("Model", "Model", "@", 15),
    ("backbone and configuration", None, "@", 43),
    ("threshold", "threshold", "@", 20),
    ("good parts refused, of 1,000 parts", None, "0.00", 20),
    ("defective parts passed, of 1,000 parts", None, "0.00", 14),
    ("share of defects found", None, "0.0%", 11),
    ("cost a day", "cost_a_day", "#,##0.00", 12),
    ("from (95%)", "cost_a_day_low", "#,##0.00", 12),
    ("to (95%)", "cost_a_day_high", "#,##0.00", 12),
    ("good test images", "good images", "0", 8),
    ("defective test images", "defective images", "0", 9),
    ("seeds", "seeds", "0", 6),
    ("note", "note", "@", 20),
    ("promise", "promise", "@", 72),
)
LETTERS = "ABCDEFGHIJKLMNO"


@dataclass(frozen=True)
class Book:
    """Where things are: the titles of the three sheets, which differ where people have sheets of those names.

    Attributes
    ----------
    candidates
        In the order of their rows.
    """

    titles: Mapping[str, str]
    candidates: Sequence[Candidate]

    def cell(self, name: str) -> str:
        """Return the reference to an answer that counts, or to `REFUSING` or `PASSING`."""
        return f"{self._sheet(DECISION)}!{CELLS.get(name, name)}"

    def column(self, name: str) -> str:
        """Return the reference to a column of `Decision models`."""
        letter = get_column_letter(MODEL_COLUMNS.index(name) + 1)
        return f"{self._sheet(MODELS)}!${letter}$2:${letter}${len(self.candidates) + 1}"

    def curve(self, name: str, number: int) -> str:
        """Return the reference to a column of the curve of a candidate."""
        first = 2 + sum(len(one.curve) for one in self.candidates[:number])
        letter, last = get_column_letter(CURVE_COLUMNS.index(name) + 1), first + len(self.candidates[number].curve) - 1
        return f"{self._sheet(CURVES)}!${letter}${first}:${letter}${last}"

    def title(self, name: str) -> str:
        """Return what a sheet is called in this workbook."""
        return self.titles.get(name, name)

    @property
    def dataset(self) -> str:
        """The reference to the name of the dataset that counts, for a formula in `Decision`."""
        place = f"MATCH({CELLS['group']},{self.column('dataset and protocol')},0)"
        return f"INDEX({self.column('dataset')},{place})"

    def of_best(self, name: str) -> str:
        """Return the reference to what a column of `Decision models` says of the model that costs least."""
        return f"INDEX({self.column(name)},MATCH(1,{self.column('rank')},0))"

    def _sheet(self, name: str) -> str:
        title = self.title(name)
        return title if title.isalpha() and title.isascii() else quote_sheetname(title)

    @property
    def groups(self) -> list[str]:
        """Datasets with their protocols, in the order of the candidates."""
        return list(dict.fromkeys(one.group for one in self.candidates))


def literal(text: str) -> str:
    """Return a text as a formula has it: in quotes, its own doubled."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def curve_rows(book: Book) -> Iterator[list]:
    """Return the rows of `Curves`: the points of each candidate, the lowest threshold first, with their cost."""
    row = 1
    for one in book.candidates:
        for point, threshold in enumerate(one.curve.thresholds):
            row += 1
            alarm, miss = (get_column_letter(CURVE_COLUMNS.index(name) + 1) for name in (_RATES[0], _RATES[3]))
            cost = f"{book.cell(REFUSING)}*{alarm}{row}+{book.cell(PASSING)}*{miss}{row}"
            cost = f'=IF(1-{miss}{row}<{book.cell("least_found")}-0.000000001,"",{cost})'
            yield [one.run_id, threshold, *one.curve.false_alarms[point], *one.curve.misses[point], Formula(cost)]


def model_rows(book: Book) -> Iterator[list]:
    """Return the rows of `Decision models`."""
    for number, one in enumerate(book.candidates):
        row = number + 2
        at = {name: f"{get_column_letter(place)}{row}" for place, name in enumerate(MODEL_COLUMNS, 1)}
        force: list = [None] * len(_IN_FORCE)
        if one.deployed is not None:
            force = [one.deployed.thresholds[0], *one.deployed.false_alarms[0], *one.deployed.misses[0]]
        numbers = [*_chosen(book, number, at), *_cost(book, at), *_placed(book, number, at)]
        known = [one.group, one.model, one.backbone, one.configuration, one.seeds, one.good, one.defective]
        told = [one.promise or None, one.run_id, one.beside, one.labels, one.named, one.dataset]
        yield [*known, *force, *numbers, *told, *_cost_of_class(book, one, at), *one.flattery]


def _chosen(book: Book, number: int, at: dict[str, str]) -> list[Formula]:
    """Return the cheapest point, and the threshold that counts with its rates."""
    costs = book.curve("cost_a_day", number)
    found = [Formula(f'=IF(COUNT({costs})=0,"",MIN({costs}))')]
    found.append(Formula(f'=IF({at["lowest cost"]}="","",MATCH({at["lowest cost"]},{costs},0))'))
    for name in ("threshold", *_RATES):
        force, best = at[f"{name} in force"], f"INDEX({book.curve(name, number)},{at['point']})"
        force = f'IF({force}="","",{force})'
        best = f'IF({at["point"]}="","",{best})'
        found.append(Formula(f'=IF({book.cell("threshold")}="{DEPLOYED}",{force},{best})'))
    return found


def _cost(book: Book, at: dict[str, str]) -> list[Formula]:
    """Return the cost a day, its interval, and by how much it is too low for a threshold chosen on the test images."""
    refusing, passing = book.cell(REFUSING), book.cell(PASSING)
    alarm, miss = (at[_RATES[place]] for place in (0, 3))
    found = [f'=IF({alarm}="","",{refusing}*{alarm}+{passing}*{miss})']
    for sign, end in (("-", "low"), ("+", "high")):
        parts = [
            f"({weight}*({at[f'{rate}_{end}']}-{at[rate]}))^2"
            for weight, rate in ((refusing, _RATES[0]), (passing, _RATES[3]))
        ]
        found.append(f'=IF({alarm}="","",{at["cost_a_day"]}{sign}SQRT({parts[0]}+{parts[1]}))')
    first, last = at[_FLATTERY[0]], at[_FLATTERY[-1]]
    steps = len(WEIGHTS) - 1
    place = f"{passing}/({refusing}+{passing})*{steps}"
    step = f"MIN(INT({place}),{steps - 1})"
    below, above = (f"INDEX(${first}:${last},1,{step}+{more})" for more in (1, 2))
    flattery = f"({refusing}+{passing})*({below}+({above}-{below})*({place}-{step}))"
    flattery = f"IF({refusing}+{passing}=0,0,{flattery})"
    none = f'OR({alarm}="",{book.cell("threshold")}="{DEPLOYED}")'
    return [Formula(text) for text in (*found, f'=IF({none},"",{flattery})')]


def _placed(book: Book, number: int, at: dict[str, str]) -> list[Formula]:
    """Return why a model has no rank, its rank, and its place in the table, where those without a rank come last."""
    group, miss, ranked = at["dataset and protocol"], at[_RATES[3]], at["ranked cost"]
    few = f"1-{miss}<{book.cell('least_found')}-0.000000001"
    note = f'IF({miss}="","{NO_THRESHOLD}",IF({few},"{TOO_FEW}",""))'
    above = {name: f"{_fixed(at[name], 2)}:{at[name]}" for name in ("note", "ranked cost")}
    costs = book.column("ranked cost").rpartition("!")[2]
    rank = f"RANK({ranked},{costs},1)+COUNTIF({above['ranked cost']},{ranked})-1"
    left = "+".join(f'COUNTIF({above["note"]},"{reason}")' for reason in (NO_THRESHOLD, TOO_FEW))
    place = f'IF({at["rank"]}="",COUNT({costs})+{left},{at["rank"]})'
    texts = (
        f'=IF({group}={book.cell("group")},{note},"{_OTHERS}")',
        f'=IF({at["note"]}="",{at["cost_a_day"]},"")',
        f'=IF({ranked}="","",{rank})',
        f'=IF({at["note"]}="{_OTHERS}","",{place})',
    )
    return [Formula(text) for text in texts]


def _cost_of_class(book: Book, one: Candidate, at: dict[str, str]) -> list[Formula | None]:
    """Return the cost in the column of its class: blank for a model that cannot be chosen, or of other test images."""
    miss, groups = at[_RATES[3]], book.column("dataset and protocol")
    here = f"INDEX({book.column('test images')},MATCH({book.cell('group')},{groups},0))"
    few = f"1-{miss}<{book.cell('least_found')}-0.000000001"
    cost = Formula(f'=IF({miss}="","",IF({few},"",IF({at["test images"]}={here},{at["cost_a_day"]},"")))')
    return [None, cost] if one.saw_labels else [cost, None]


def _fixed(cell: str, row: int) -> str:
    """Return the reference to a cell of the same column that stays where it is."""
    return f"${cell.rstrip('0123456789')}${row}"
