"""The answer of the sheet Decision in sentences: as formulas, and in Python for the same numbers."""

from collections.abc import Sequence

from training_code.comparison.decision import (
    DEPLOYED,
    NO_THRESHOLD,
    TOO_FEW,
    Assumptions,
    Candidate,
    cheapest_of_classes,
    ranking,
)
from training_code.reporting.decision import (
    CELLS,
    COSTS_OF_CLASSES,
    LETTERS,
    PASSING,
    REFUSING,
    SHOWN,
    TABLE,
    WINNER,
    Book,
    literal,
)

_NONE = "No model can be chosen: see the notes below, and the yellow cells above."
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
        f'"Choose "&{cell["Model"]}&IF({cell["backbone and configuration"]}="",""," ("&'
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
    return [f'=IF({cell["rank"]}=1,{text},"{_NONE if number == 0 else ""}")' for number, text in enumerate(texts)]


def next_formula(book: Book) -> str:
    """Return the formula that says what to do next."""
    cheap, run = f"MIN({REFUSING},{PASSING})", book.of_best("run_id")
    tried = _NEXT.format(winner=book.title(WINNER))
    good = f'{literal(tried)}&{run}&"{_NEXT_COMMAND}"'
    return f'=IFERROR(IF({book.of_best("cost_a_day")}<{cheap},{good},"{_NEXT_WORTHLESS}"),"{_NEXT_WORTHLESS}")'


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
    if ranked.empty:
        return [_NONE]
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
        f"Choose {best['Model']}{f' ({details})' if details else ''}"
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


def _rounded(value: float) -> str:
    return f"{round(value, 2 if value < 10 else 0):g}"
