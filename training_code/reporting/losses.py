"""What a workbook holds that openpyxl does not write again: named, and a copy made, before it is dropped."""

import io
import re
import zipfile
from collections import Counter
from xml.etree import ElementTree

# Parts that are written again, or that programs make anew.
_WRITTEN = re.compile(
    r"\[Content_Types\]\.xml|.*\.rels|docProps/.*|xl/(workbook|styles|sharedStrings|calcChain|metadata)\.xml"
    r"|xl/(theme|worksheets|chartsheets|media|tables|externalLinks|pivotTables|pivotCache|printerSettings)/[^/]*"
    r"|xl/persons/.*|xl/(comments[^/]*|comments/.*|drawings/[^/]*|charts/chart\d+\.xml|worksheets/_rels/.*)",
    re.I,
)
# Others, as people call them.
_PARTS = {
    r"xl/vba.*": "macros",
    r"xl/slicer.*": "slicers",
    r"xl/timeline.*": "timelines",
    r"xl/threadedComments/.*": "threads of comments (each becomes one plain comment)",
    r"xl/(ctrlProps|activeX)/.*": "buttons and other controls",
    r"xl/embeddings/.*": "embedded objects",
    r"xl/diagrams/.*": "diagrams (SmartArt)",
    r"xl/charts/(style|colors).*": "styles of charts",
    r"xl/charts/chartEx.*|xl/chartEx.*": "charts of kinds that are too new",
    r"customXml/.*": "custom XML",
    r"xl/(queryTables/.*|connections\.xml|model/.*)": "connections to data",
    r"xl/richData/.*": "pictures and data types in cells",
    r"_xmlsignatures/.*": "signatures",
}
# What sheets hold that is dropped.
_IN_SHEETS = {
    rb"<(\w+:)?sparklineGroups": "sparklines",
    rb"<(\w+:)?conditionalFormattings\b": "conditional formats of newer kinds",
    rb"<x14:dataValidations\b": "validation by lists on other sheets",
    rb"<(\w+:)?slicerList": "slicers",
    rb"<(\w+:)?timelineRefs": "timelines",
    rb"<picture\b": "a picture behind the cells",
    rb"<(\w+:)?controls\b": "buttons and other controls",
    rb"<oleObjects\b": "embedded objects",
    rb"<legacyDrawingHF\b": "pictures in headers",
    rb"<customSheetViews\b": "views",
    rb"<(\w+:)?protectedRanges\b": "ranges that some may edit",
    rb"<(\w+:)?ignoredErrors\b": "errors that are ignored",
    rb"<cellWatches\b": "watched cells",
    rb"<dataConsolidate\b": "consolidation",
    rb"<customProperties\b": "properties of a sheet",
}
# What the workbook itself and its styles hold that is dropped.
_IN_WORKBOOK = {
    rb"<customWorkbookViews\b": "views",
    rb"<fileSharing\b": "the advice to open it read-only",
    rb"<tableStyle\b": "styles of tables that people made",
}
# Shapes in drawings: text boxes, lines, groups of them.
_SHAPES = {"sp", "cxnSp", "grpSp", "contentPart"}


def find_losses(before: bytes, after: bytes) -> list[str]:
    """Return what is in one workbook and in the other one no more, apart from cells, in words."""
    lost: list[str] = []
    with zipfile.ZipFile(io.BytesIO(before)) as old, zipfile.ZipFile(io.BytesIO(after)) as new:
        had, has = _count_pivots(old), _count_pivots(new)
        lost += [name for name in had if had[name] > has[name]]
        for name in old.namelist():
            if name.endswith("/"):
                continue
            words = next((text for part, text in _PARTS.items() if re.fullmatch(part, name, re.I)), None)
            if words or not _WRITTEN.fullmatch(name):
                lost.append(words or name)
            if re.fullmatch(r"xl/drawings/[^/]*\.xml", name):
                lost += _shapes(old.read(name))
            if re.fullmatch(r"xl/worksheets/[^/]*\.xml", name):
                content = old.read(name)
                lost += [text for mark, text in _IN_SHEETS.items() if re.search(mark, content)]
            if name in ("xl/workbook.xml", "xl/styles.xml"):
                lost += [text for mark, text in _IN_WORKBOOK.items() if re.search(mark, old.read(name))]
    return list(dict.fromkeys(lost))


def _count_pivots(archive: zipfile.ZipFile) -> Counter[str]:
    return Counter("pivot tables" for name in archive.namelist() if re.match(r"xl/pivotTables/[^/]+\.xml", name))


def _shapes(content: bytes) -> list[str]:
    """Return the shapes of a drawing, by what is written in them."""
    found = []
    for shape in ElementTree.fromstring(content).iter():
        if shape.tag.rpartition("}")[2] in _SHAPES:
            text = " ".join(part.text or "" for part in shape.iter() if part.tag.rpartition("}")[2] == "t").strip()
            found.append(f"a text box: {text[:200]!r}" if text else "shapes and lines")
    return found
