"""The tables of docs/peers.md, from the figures of a comparison."""

import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- Written by make compare-peers. -->", "<!-- End of what make compare-peers writes. -->"


def write(figures: dict[str, Any], page: Path) -> None:
    """Put the tables of the figures in place of those on the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(figures)}\n\n{END}{after}", encoding="utf-8")


def tables(figures: dict[str, Any]) -> str:
    """Return everything on the page that was measured or looked up, as Markdown."""
    parts = [_about(figures), _whole(figures), *_broken(figures), _better(figures), _configurations(figures)]
    return "\n\n".join([*parts, _facts(figures["facts"])])


def _about(figures: dict[str, Any]) -> str:
    tools = figures["tools"]
    packages = {name: version for tool in tools.values() for name, version in tool["packages"].items()}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    machine, rounds = figures["machine"], figures["rounds"]
    shared = " Other programs ran on the machine at the same time." if figures["shared_machine"] else ""
    medians = f"Times are medians of {rounds} rounds." if rounds > 1 else "Each time is that of a single run."
    return (
        f"{versions}; {figures['data']}, {figures['images']} images for training and {figures['test_images']} for "
        f"testing, 256 × 256 pixels; {len(figures['grid'])} configurations. {machine['cores']} cores of "
        f"{machine['processor']}, {figures['date']}. {medians}{shared}"
    )


def _whole(figures: dict[str, Any]) -> str:
    tools, count = figures["tools"], len(figures["grid"])
    own = _seconds(tools["this project"])
    lines = []
    for tool, found in tools.items():
        seconds, kill = _seconds(found), found["kill"]
        memory = f"{found['memory'] / 2**30:.1f}"
        left, again = f"{kill['left']} of {count}", _again(kill, seconds, count)
        lines.append([tool, f"{seconds:.0f}", f"{seconds / own:.1f}", memory, left, again])
    return _table(["", "seconds", "times ours", "GiB", "results left after a kill", "seconds of the rest"], lines)


def _again(kill: dict[str, Any], whole: float, count: int) -> str:
    """Return how long the same command took after the kill, or that it did not finish: an early end is not speed."""
    if kill["status"] or kill["complete"] < count:
        return f"did not finish: {kill['complete']} of {count}, status {kill['status']}"
    return f"{kill['again']:.0f} ({kill['again'] / whole:.0%} of a whole run)"


def _broken(figures: dict[str, Any]) -> Iterator[str]:
    """Say which runs broke down by themselves, if any did, and were begun anew."""
    found = [
        f"{tool} after {broken['seconds']:.0f} s (status {broken['status']}, {broken['memory'] / 2**30:.1f} GiB, "
        f"{broken['left']} results left)"
        for tool, figures_of in figures["tools"].items()
        for broken in figures_of["broken"]
    ]
    if found:
        yield f"Broke down by themselves, and were begun anew: {'; '.join(found)}."


def _better(figures: dict[str, Any]) -> str:
    """Return where another tool did better than this project, by the same figures."""
    tools, facts = figures["tools"], figures["facts"]
    own, found = tools["this project"], []
    for tool, other in list(tools.items())[1:]:
        if _seconds(other) < _seconds(own):
            found.append(f"{tool} was faster")
        if other["memory"] < own["memory"]:
            found.append(f"{tool} took {other['memory'] / own['memory']:.0%} of the memory")
        if higher := sum(margin > 0 for margin in _margins(own, other)):
            found.append(f"{tool} had the higher image AUROC {higher} of {len(figures['grid'])} times")
    for question, answers in facts.items():
        if answers["this project"]["answer"].startswith("no"):
            others = [tool for tool, said in answers.items() if said["answer"].startswith("yes")]
            found.append(f"{question[0].lower()}{question[1:]} ({', '.join(others)})")
    return f"Where others are better: {'; '.join(found) or 'nowhere in this comparison'}."


def _margins(own: dict[str, Any], other: dict[str, Any]) -> Iterator[float]:
    """Return how far the AUROC of another tool lies above ours, as far as three digits show it."""
    for ours, theirs in zip(own["results"], other["results"], strict=True):
        yield round(theirs["image_AUROC"], 3) - round(ours["image_AUROC"], 3)


def _configurations(figures: dict[str, Any]) -> str:
    tools = figures["tools"]
    lines = [
        [
            _named(*given),
            *(
                f"{found['results'][number]['image_AUROC']:.3f}, {found['results'][number]['seconds']:.1f} s"
                for found in tools.values()
            ),
        ]
        for number, given in enumerate(figures["grid"])
    ]
    return _table(["image AUROC and seconds", *tools], lines)


def _facts(facts: dict[str, dict[str, dict[str, Any]]]) -> str:
    tools = list(next(iter(facts.values())))
    lines = [
        [question, *(f"{answers[tool]['answer']} (`{_place(answers[tool])}`)" for tool in tools)]
        for question, answers in facts.items()
    ]
    return _table(["", *tools], lines)


def _place(said: dict[str, Any]) -> str:
    return f"{said['file']}:{said['line']}"


def _named(detector: str, arguments: dict[str, Any]) -> str:
    return ", ".join([detector, *(f"{key}={value}" for key, value in arguments.items() if key != "layers")])


def _seconds(found: dict[str, Any]) -> float:
    return statistics.median(found["seconds"])


def _table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    rows = [list(head), *map(list, lines)]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
