"""A sheet of the workbook as a table, with what is needed to draw it."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from training_code.comparison.configurations import CRITERION
from training_code.comparison.decision import Candidate

#: The sheet with the pictures of the best models.
EXAMPLES = "Examples"


@dataclass(frozen=True)
class Sheet:
    """A table with what is needed to draw it.

    Attributes
    ----------
    kind
        ``"table"``; ``"blocks"``: a block for each detector, its configurations side by side; ``"examples"``: a picture
        for each row; ``"about"``: what and its value; ``"decision"``: formulas that choose among ``candidates``, where
        the table holds numbers for the example; ``"winner"``: the pictures of the model that they choose for it.
    key
        The columns that tell one row from another, by which what people wrote finds its rows again.
    scales
        Columns with colors from the worst to the best value.
    charts
        Which native charts are drawn beside the table.
    shown
        Columns that are not folded, in the order in which people read them; all where none are named.
    told
        Columns of numbers that are also written as text, with their uncertainty, and are shown as that.
    """

    name: str
    table: pd.DataFrame
    kind: Literal["table", "blocks", "examples", "about", "decision", "winner"] = "table"
    key: str | tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    criterion: str = CRITERION
    candidates: tuple[Candidate, ...] = ()
    shown: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
