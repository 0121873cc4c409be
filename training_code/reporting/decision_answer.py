"""The answer of the sheet Decision in sentences: as formulas, and in Python for the same numbers."""

from collections.abc import Sequence

from training_code.comparison.decision import (
    DEPLOYED,
    NO_THRESHOLD,
    TOO_FEW,
    Assumptions,
    Candidate,
    cheapest_of_classes,
    groups_of,
    protocols_of,
    ranking,
)
from training_code.reporting.decision import (
    CELLS,
    COSTS_OF_CLASSES,
    FIRST_QUESTION,
    LETTERS,
    PASSING,
    REFUSING,
    SHOWN,
    TABLE,
    WINNER,
    YOURS,
    Book,
    literal,
)

_NONE = " model can be chosen: see the notes and the yellow cells."
_DEPLOYED_FOUND = (
    "The threshold in force was found without the test images. That this model is the best one was found on them."
)
_CHOSEN_HERE = (
    "The threshold was chosen on the test images that judge it, which flatters it: chosen on four fifths of them and "
    "judged on the others, it costs about "
)
_CLASSES = "The cheapest on these test images, "

# What is said of what to do next, the command with the run of the model.
_NEXT = "Next: look at its pictures in the sheet {winner}, then try it on new photographs: anomaly predict "
_NEXT_COMMAND = " FOLDER --output PREDICTIONS"
_NEXT_WORTHLESS = "Next: train more configurations, or on more photographs or some labelled defects, and compare."

# What is said of other datasets and protocols, of so many datasets at most, and where one is chosen.
_OTHERS, _MOST_NAMED, _MORE = "Also in this workbook: ", 12, ", and more"
_CHOOSE = f"; choose in cell {YOURS}{FIRST_QUESTION}."

#: What `decision.js` says as well.
WORDS = {
    **{"none": _NONE, "deployed": _DEPLOYED_FOUND, "chosen": _CHOSEN_HERE, "classes": _CLASSES},
    **{"rule": DEPLOYED, "no_threshold": NO_THRESHOLD, "too_few": TOO_FEW},
}


def sentence_formulas(book: Book, most: int) -> list[str]:
    """Return the formulas of the answer; `answer` says the same."""
    first = TABLE + 1
    cell = {head: f"{letter}{first}" for letter, (head, *_) in zip(LETTERS, SHOWN, strict=True)}

    def parts(rate: str) -> list[str]:
        share = CELLS["defective_share"] if "Miss" in rate else f"(1-{CELLS['defective_share']})"
        values = [f"1000*{share}*{book.of_best(f'{rate}{end}')}" for end in ("", "_low", "_high")]
        return [f"ROUND({value},IF({value}<10,2,0))" for value in values]

    deployed = f'{CELLS["threshold"]}="{DEPLOYED}"'
    alarms, misses = parts("image_FalseAlarmRate"), parts("image_MissRate")
    cheap = f"MIN({REFUSING},{PASSING})"
    others, overlap = (
        f"COUNT($A${first + 1}:$A${first + most})",
        (f'COUNTIFS($A${first + 1}:$A${first + most},">1",$I${first + 1}:$I${first + most},"<="&{cell["to (95%)"]})'),
    )
    texts = [
        f'"On "&{book.dataset}&": choose "&{cell["Model"]}&IF({cell["backbone and configuration"]}="",""," ("&'
        f'{cell["backbone and configuration"]}&")")&IF({deployed},", with its threshold in force, "," at threshold ")&'
        f'{cell["threshold"]}&IF(ISNUMBER(SEARCH(" to ",{cell["threshold"]}))," (each of its "&{cell["seeds"]}&'
        f'" seeds has its own)","")&'
        f'". Of "&COUNT({book.column("rank")})&" models it costs least."',
        f'"Of 1,000 parts, "&ROUND(1000*{CELLS["defective_share"]},2)&" of them defective, it refuses "&{alarms[0]}&'
        f'" good ones (95% interval "&{alarms[1]}&" to "&{alarms[2]}&") and passes "&{misses[0]}&" defective ones ("&'
        f'{misses[1]}&" to "&{misses[2]}&")."',
        f'"It costs "&FIXED({cell["cost a day"]},2)&" a day (95% interval "&FIXED({cell["from (95%)"]},2)&" to "&'
        f'FIXED({cell["to (95%)"]},2)&")."&IF({cell["cost a day"]}<{cheap},""," That is no less than "&'
        f'IF({PASSING}<={REFUSING},"passing","refusing")&" every part: it is worth nothing here.")',
        f'IF({others}=0,"","Models ranked below it whose intervals overlap with its own: "&{overlap}&" of "&{others}&'
        f'". On other images they may cost less.")',
        _classes_formula(book),
        f'IF({deployed},"{_DEPLOYED_FOUND}","{_CHOSEN_HERE}"&FIXED({book.of_best("flattery_a_day")},2)&" a day more.")',
    ]
    none = f'IFERROR("On "&{book.dataset}&" no","No")&"{_NONE}"'
    return [f"=IF({cell['rank']}=1,{text},{none if number == 0 else chr(34) * 2})" for number, text in enumerate(texts)]


def next_formula(book: Book) -> str:
    """Return the formula that says what to do next."""
    cheap, run = f"MIN({REFUSING},{PASSING})", book.of_best("run_id")
    tried = _NEXT.format(winner=book.title(WINNER))
    good = f'{literal(tried)}&{run}&"{_NEXT_COMMAND}"'
    return f'=IFERROR(IF({book.of_best("cost_a_day")}<{cheap},{good},"{_NEXT_WORTHLESS}"),"{_NEXT_WORTHLESS}")'


def others_formula(book: Book) -> str | None:
    """Return the formula that names the datasets and protocols that are not chosen; `others` says the same."""
    if len(book.groups) < 2:
        return None
    names, parts = book.column("dataset"), []
    rows = {one.dataset: row for row, one in reversed(list(enumerate(book.candidates, 1)))}
    found, more = _named(book.candidates)
    for dataset, groups in found.items():
        name = f"INDEX({names},{rows[dataset]})"
        here, elsewhere = (
            f'", "&{name}&"{number}"' if number is not None else '""' for number in _protocols(len(groups))
        )
        parts.append(f"IF({name}={book.dataset},{here},{elsewhere})")
    return f'=IFERROR("{_OTHERS}"&MID({"&".join(parts)},3,9999)&"{more}{_CHOOSE}","")'


def others(candidates: Sequence[Candidate], group: str) -> str:
    """Return the sentence that names the datasets and protocols that are not chosen; nothing where there are none."""
    found, more = _named(candidates)
    said = [
        f"{dataset}{number}"
        for dataset, groups in found.items()
        if (number := _protocols(len(groups))[group not in groups]) is not None
    ]
    return f"{_OTHERS}{', '.join(said)}{more}{_CHOOSE}" if said else ""


def _named(candidates: Sequence[Candidate]) -> tuple[dict[str, list[str]], str]:
    """Return the datasets that are named, with their groups, and what is said of the rest."""
    found = protocols_of(candidates)
    if len(found) <= _MOST_NAMED:
        return found, ""
    return dict(list(found.items())[: _MOST_NAMED - 1]), _MORE  # two are left at least, so that more is true


def _protocols(number: int) -> tuple[str | None, str]:
    """Return what is said behind the chosen dataset, None where it is not named, and behind any other one."""
    own = None if number == 1 else f" ({number - 1} other protocol{'s' if number > 2 else ''})"
    return own, "" if number == 1 else f" ({number} protocols)"


def _classes_formula(book: Book) -> str:
    """Return the formula that names the cheapest model of each class by labels; `_classes` says the same."""
    told, counts = [], []
    for name in COSTS_OF_CLASSES:
        costs = book.column(name)
        place = f"MATCH(MIN({costs}),{costs},0)"
        label, named, cost, low, high = (
            f"INDEX({book.column(column)},{place})"
            for column in ("labels", "named", "cost_a_day", "cost_a_day_low", "cost_a_day_high")
        )
        told.append(
            f'{label}&": "&{named}&", "&FIXED({cost},2)&" a day (95% interval "&FIXED({low},2)&" to "&FIXED({high},2)'
            '&")"'
        )
        counts.append(f"COUNT({costs})=0")
    return f'IF(OR({",".join(counts)}),"","{_CLASSES}"&{told[0]}&"; "&{told[1]}&".")'


def _classes(candidates: Sequence[Candidate], line: Assumptions, group: str | None) -> str:
    """Return the cheapest model of each class by labels in words; nothing where there is one class alone."""
    said = [
        f"{one.labels}: {one.named}, {row['cost_a_day']:,.2f} a day (95% interval {row['cost_a_day_low']:,.2f} to "
        f"{row['cost_a_day_high']:,.2f})"
        for one, row in cheapest_of_classes(candidates, line, group)
    ]
    return f"{_CLASSES}{'; '.join(said)}." if said else ""


def answer(candidates: Sequence[Candidate], line: Assumptions, group: str | None = None) -> list[str]:
    """Return the sentences that the sheet Decision says."""
    table = ranking(candidates, line, group)
    ranked = table[table["rank"].notna()]
    dataset = dataset_of(candidates, group)
    if ranked.empty:
        return [no_model(f"On {dataset}" if dataset else "")]
    best, deployed = ranked.iloc[0], line.threshold == DEPLOYED
    details = " - ".join(filter(None, [best["backbone"], best["configuration"]]))
    alarms, misses = (
        [_rounded(1000 * share * best[f"{rate}{end}"]) for end in ("", "_low", "_high")]
        for share, rate in (
            (1 - line.defective_share, "image_FalseAlarmRate"),
            (line.defective_share, "image_MissRate"),
        )
    )
    cost, low, high = (f"{best[f'cost_a_day{end}']:,.2f}" for end in ("", "_low", "_high"))
    worse = best["cost_a_day"] >= min(line.refusing_all, line.passing_all)
    idle = "passing" if line.passing_all <= line.refusing_all else "refusing"
    overlap = int((ranked["cost_a_day_low"].iloc[1:] <= best["cost_a_day_high"]).sum())
    return [
        f"On {dataset}: choose {best['Model']}{f' ({details})' if details else ''}"
        f"{', with its threshold in force, ' if deployed else ' at threshold '}{best['threshold']}"
        f"{f' (each of its {best.seeds} seeds has its own)' if ' to ' in best['threshold'] else ''}. "
        f"Of {len(ranked)} models it costs least.",
        f"Of 1,000 parts, {round(1000 * line.defective_share, 2):g} of them defective, it refuses {alarms[0]} good "
        f"ones (95% interval {alarms[1]} to {alarms[2]}) and passes {misses[0]} defective ones ({misses[1]} to "
        f"{misses[2]}).",
        f"It costs {cost} a day (95% interval {low} to {high})."
        + (f" That is no less than {idle} every part: it is worth nothing here." if worse else ""),
        f"Models ranked below it whose intervals overlap with its own: {overlap} of {len(ranked) - 1}. "
        "On other images they may cost less."
        if len(ranked) > 1
        else "",
        _classes(candidates, line, group),
        _DEPLOYED_FOUND if deployed else f"{_CHOSEN_HERE}{best['flattery_a_day']:,.2f} a day more.",
    ]


def no_model(where: str) -> str:
    """Return that no model can be chosen, after the words that say where."""
    return f"{where} no{_NONE}" if where else f"No{_NONE}"


def dataset_of(candidates: Sequence[Candidate], group: str | None = None) -> str:
    """Return the name of the dataset of a group, by default of that which was run last; nothing where there is none."""
    group = group or next(iter(groups_of(candidates)), None)
    return next((one.dataset for one in candidates if one.group == group), "")


def _rounded(value: float) -> str:
    return f"{round(value, 2 if value < 10 else 0):g}"
