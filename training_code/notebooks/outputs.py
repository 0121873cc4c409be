"""Outputs of cells in bounded memory: of what a cell prints without end, the first and the last part are kept."""

from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.log import logger

#: Name of the engine for papermill.
BOUNDED = "bounded"
#: Bytes of the first part that is kept of what a cell prints, and of the last one.
PART = 2**18


class Printed:
    """What one cell has printed so far.

    Once the first part is full, a sentence and one output for the last part follow it, whose texts change from then on.
    Outputs never move: papermill finds those that a cell shows and updates by their positions.
    """

    def __init__(self) -> None:
        self.room = PART
        self.dropped = 0
        self.sentence = self.last = NotebookNode()

    def add(self, outputs: list[NotebookNode], name: str, text: str) -> NotebookNode:
        """Take what was printed to a stream into the outputs, and return the output that holds it."""
        first, rest = _divide(text, self.room)
        if first or not rest:
            self.room -= _size(first)
            outputs.append(new_output("stream", name=name, text=first))
        if not rest:
            return outputs[-1]
        self.room = 0
        if not self.last:
            self.sentence, self.last = (new_output("stream", name=name, text="") for _ in range(2))
            outputs += [self.sentence, self.last]
        self._keep_last(self.last.text + rest)
        return self.last

    def _keep_last(self, text: str) -> None:
        dropped, self.last.text = _divide(text, _size(text) - PART)
        self.dropped += _size(dropped)
        if self.dropped:
            self.sentence.text = f"\n[{self.dropped:,} bytes that the cell printed here are left out]\n"


def shortened(text: str, limit: int) -> str:
    """Return a text, of one with more than ``limit`` bytes the first and the last part with a sentence between."""
    if (size := _size(text)) <= limit:
        return text
    first, rest = _divide(text, limit // 2)
    dropped, last = _divide(rest, _size(rest) - limit // 2)
    return f"{first}\n[{_size(dropped):,} of {size:,} bytes are left out]\n{last}"


class _Client(PapermillNotebookClient):
    """Executes the cells and bounds their outputs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._printed: dict[int, Printed] = {}

    def execute(self, **options: Any) -> NotebookNode:
        """Execute all cells; a kernel that the last one ends, with ``exit()`` for instance, costs nothing."""
        self.reset_execution_trackers()
        with self.setup_kernel(**options):
            # Before the cells, unlike in papermill: afterwards nobody may be there to answer.
            reply = self.wait_for_reply(self.kc.kernel_info())
            self.nb.metadata["language_info"] = reply["content"]["language_info"]
            self.papermill_execute_cells()
            self.set_widgets_metadata()
        return self.nb

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Take a message of the kernel into the outputs of a cell."""
        content = msg["content"]
        if not outs or self.clear_before_next_output:
            self._printed.pop(cell_index, None)
        hooked = bool(self.output_hook_stack[msg["parent_header"].get("msg_id")])
        if msg["msg_type"] == "stream" and not hooked and not self.clear_before_next_output:
            printed = self._printed.setdefault(cell_index, Printed())
            return printed.add(outs, content["name"], content["text"])
        if msg["msg_type"] == "error":
            content["evalue"] = shortened(content["evalue"], PART)
            content["traceback"] = [shortened(line, PART) for line in content["traceback"]]
        elif "text/plain" in content.get("data", {}):
            content["data"]["text/plain"] = shortened(content["data"]["text/plain"], 2 * PART)
        return super().output(outs, msg, display_id, cell_index)


class _Engine(Engine):
    """papermill's own engine with `_Client`."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **options: Any,
    ) -> None:
        """Execute a notebook; see papermill's ``NBClientEngine``."""
        options = {name: value for name, value in options.items() if name in ("config", "kernel_manager_class")}
        timeouts = {"timeout": execution_timeout, "startup_timeout": start_timeout}
        _Client(nb_man, kernel_name=kernel_name, log=logger, **timeouts, **options).execute()


papermill_engines.register(BOUNDED, _Engine)


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _divide(text: str, size: int) -> tuple[str, str]:
    """Return the first ``size`` bytes of a text, or one character less, and the rest."""
    data = text.encode(errors="surrogatepass")
    size = max(0, size)
    while size < len(data) and size > 0 and data[size] & 0xC0 == 0x80:  # within a character
        size -= 1
    return data[:size].decode(errors="surrogatepass"), data[size:].decode(errors="surrogatepass")
