"""XML files of other programs, read without anything that a file could make a reader do."""

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from training_code.foundation.errors import InputError


class Element(ET.Element):
    """An element that knows in which line of its file it begins."""

    line: int = 0

    def own(self, tag: str) -> "list[Element]":
        """Return the children of a tag."""
        return [child for child in self if isinstance(child, Element) and child.tag == tag]


def read_xml(path: Path) -> Element:
    """Return the root of an XML file.

    No entity is expanded and no other file is read: a file with a document type, where both are declared, is refused.

    Raises
    ------
    InputError
        If the file is empty or no XML, or declares a document type; the message names the line.
    """
    parser = expat.ParserCreate()
    builder = ET.TreeBuilder(element_factory=Element)

    def begin(name: str, attributes: dict[str, str]) -> None:
        element = builder.start(name, attributes)
        assert isinstance(element, Element)
        element.line = parser.CurrentLineNumber

    def refuse(*_: object) -> None:
        line = parser.CurrentLineNumber
        raise InputError(f"{path}, line {line} declares a document type (<!DOCTYPE …>), which is not read")

    parser.StartElementHandler = begin
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: it has zero bytes")
    try:
        with open(path, "rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise InputError(
            f"{path}, line {error.lineno} is not valid XML ({expat.errors.messages[error.code]})"
        ) from error
    except (ValueError, LookupError) as error:  # of an encoding that Python does not know, or that fails
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not valid XML ({error})") from error
    root = builder.close()
    assert isinstance(root, Element)
    return root
