"""The embedded dataset ``pcb``: circuit boards drawn with code, with missing and misplaced components.

Each board has the same layout: a solder mask, tracks, pads with solder, and components. Light, noise and the placement
of the components vary a little from board to board. With every abnormal board its defects are also drawn in the colors
of a segmentation, and `LABELS` is written as Unity's Perception package does, so that
`training_code.data.masks.mask_builder.build_masks` makes the ground truth.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training_code.data.masks.mask_builder import build_masks

SIZE = 160  # pixels
SCALE = 4  # boards are drawn larger and reduced, so that edges are smooth
TRAIN, TEST_GOOD, PER_DEFECT = 48, 24, 12
#: Label names and colors of the segmentation.
LABELS = {"board": (0, 64, 0), "missing": (255, 0, 0), "misplaced": (0, 0, 255)}
DEFECT_TYPES = {"missing_objects": ("missing",), "misplaced_objects": ("misplaced",)}

SOLDER_MASK = (22, 92, 52)
TRACK = (34, 120, 70)
PAD = (198, 190, 170)
BODIES = {"chip": (38, 38, 42), "capacitor": (170, 138, 96), "resistor": (52, 46, 44), "led": (214, 206, 150)}


@dataclass(frozen=True)
class Component:
    """A component: its kind, center, and half width and height, in pixels of the board."""

    kind: str
    x: float
    y: float
    width: float
    height: float


LAYOUT = (
    Component("chip", 54, 54, 20, 20),
    Component("chip", 116, 108, 24, 13),
    *(Component("capacitor", 98 + 18 * column, 30 + 24 * row, 5, 8) for row in range(2) for column in range(3)),
    *(Component("resistor", 24 + 22 * column, 104, 8, 4.5) for column in range(3)),
    *(Component("resistor", 24 + 22 * column, 124, 8, 4.5) for column in range(3)),
    Component("led", 30, 144, 5, 5),
    Component("led", 130, 140, 5, 5),
)
MOVABLE = tuple(index for index, component in enumerate(LAYOUT) if component.kind != "chip")


def write_boards(root: Path, seed: int = 0) -> None:
    """Write the dataset to ``root`` in MVTec layout; the same seed gives the same bytes."""
    generator = np.random.default_rng(seed)
    for folder, count in (("train", TRAIN), ("test", TEST_GOOD)):
        for index in range(count):
            board, _ = draw_board(generator)
            _save(root / folder / "good" / f"board_{index:03d}.png", board)
    segmentation = root / "segmentation"
    for defect_type, defect in DEFECTS.items():
        for index in range(PER_DEFECT):
            board, colors = draw_board(generator, defect)
            _save(root / "test" / defect_type / f"board_{index:03d}.png", board)
            _save(segmentation / defect_type / f"board_{index:03d}.png", colors)
    definitions = segmentation / "annotation_definitions.json"
    definitions.write_text(json.dumps(_definitions(), indent=2) + "\n", encoding="utf-8")
    for defect_type, labels in DEFECT_TYPES.items():
        build_masks(segmentation / defect_type, root / "ground_truth" / defect_type, definitions, labels)


Defect = Callable[[np.random.Generator, list[Component]], tuple[list[Component], list[tuple[str, Component]]]]


def draw_board(
    generator: np.random.Generator, defect: Defect | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a board; return it and its segmentation in the colors of `LABELS`, both of shape (SIZE, SIZE, 3)."""
    components = [_jitter(component, generator) for component in LAYOUT]
    marked: list[tuple[str, Component]] = []
    if defect:
        components, marked = defect(generator, components)
    image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), SOLDER_MASK)
    canvas = ImageDraw.Draw(image)
    _draw_tracks(canvas)
    for place in LAYOUT:
        _draw_pads(canvas, place)
    for component in components:
        _draw_body(canvas, component)
    image = image.filter(ImageFilter.GaussianBlur(SCALE / 2)).resize((SIZE, SIZE), Image.Resampling.BOX)
    colors = Image.new("RGB", (SIZE, SIZE), LABELS["board"])
    outline = ImageDraw.Draw(colors)
    for label, component in marked:
        outline.rectangle(_box(component, 1), fill=LABELS[label])
    return _photograph(np.asarray(image, dtype=float), generator), np.asarray(colors)


def _missing(
    generator: np.random.Generator, components: list[Component]
) -> tuple[list[Component], list[tuple[str, Component]]]:
    """Leave one or two components out; what is seen in their place are the pads."""
    gone = set(generator.choice(MOVABLE, generator.integers(1, 3), replace=False).tolist())
    kept = [component for index, component in enumerate(components) if index not in gone]
    return kept, [("missing", LAYOUT[index]) for index in sorted(gone)]


def _misplaced(
    generator: np.random.Generator, components: list[Component]
) -> tuple[list[Component], list[tuple[str, Component]]]:
    """Shift a component off its pads; both where it is and where it should be count as the defect."""
    index = int(generator.choice(MOVABLE))
    angle, distance = generator.uniform(0, 2 * np.pi), generator.uniform(6, 9)
    right = components[index]
    x = float(np.clip(right.x + distance * np.cos(angle), right.width + 2, SIZE - right.width - 2))
    y = float(np.clip(right.y + distance * np.sin(angle), right.height + 2, SIZE - right.height - 2))
    wrong = Component(right.kind, x, y, right.width, right.height)
    others = [component for position, component in enumerate(components) if position != index]
    return [*others, wrong], [("misplaced", LAYOUT[index]), ("misplaced", wrong)]


DEFECTS: dict[str, Defect] = {"missing_objects": _missing, "misplaced_objects": _misplaced}


def _jitter(component: Component, generator: np.random.Generator) -> Component:
    x, y = generator.normal(0, 0.5, 2)
    return Component(component.kind, component.x + x, component.y + y, component.width, component.height)


def _draw_tracks(canvas: ImageDraw.ImageDraw) -> None:
    for component in LAYOUT:
        if component.kind != "chip":
            target = LAYOUT[0] if component.x + component.y < 150 else LAYOUT[1]
            bend = (component.x * SCALE, target.y * SCALE)
            points = [(component.x * SCALE, component.y * SCALE), bend, (target.x * SCALE, target.y * SCALE)]
            canvas.line(points, fill=TRACK, width=2 * SCALE, joint="curve")


def _draw_pads(canvas: ImageDraw.ImageDraw, place: Component) -> None:
    """Draw the pads of a component: two at its ends, a row at each side of a chip."""
    if place.kind == "chip":
        for position in np.linspace(-0.8, 0.8, 6):
            for side in (-1, 1):
                x, y = place.x + side * (place.width + 2), place.y + position * place.height
                canvas.rectangle(_scaled(x - 2.5, y - 1, x + 2.5, y + 1), fill=PAD)
    elif place.width > place.height:
        for side in (-1, 1):
            x = place.x + side * place.width * 0.8
            canvas.rectangle(_scaled(x - 3, place.y - place.height, x + 3, place.y + place.height), fill=PAD)
    else:
        for side in (-1, 1):
            y = place.y + side * place.height * 0.8
            canvas.rectangle(_scaled(place.x - place.width, y - 3, place.x + place.width, y + 3), fill=PAD)


def _draw_body(canvas: ImageDraw.ImageDraw, component: Component) -> None:
    color = BODIES[component.kind]
    part = 1.0 if component.kind in ("chip", "led") else 0.65
    along_x = component.width > component.height
    width = component.width * (part if along_x else 1)
    height = component.height * (1 if along_x else part)
    box = _scaled(component.x - width, component.y - height, component.x + width, component.y + height)
    canvas.rounded_rectangle(box, radius=1.5 * SCALE, fill=color)
    if component.kind == "chip":
        x, y = component.x - 0.75 * component.width, component.y - 0.7 * component.height
        canvas.ellipse(_scaled(x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(96, 96, 100))
    elif component.kind == "led":
        x, y = component.x, component.y
        canvas.ellipse(_scaled(x - 3, y - 3, x + 3, y + 3), fill=(250, 244, 200))


def _photograph(image: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Add what differs from photograph to photograph: brightness, a gradient of light, noise."""
    direction = generator.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[-0.5 : 0.5 : SIZE * 1j, -0.5 : 0.5 : SIZE * 1j]
    gradient = 1 + generator.uniform(0, 0.15) * (np.cos(direction) * rows + np.sin(direction) * columns)
    lit = image * (gradient * generator.uniform(0.92, 1.08))[:, :, None]
    return np.clip(lit + generator.normal(0, 3, lit.shape), 0, 255).astype(np.uint8)


def _scaled(*corners: float) -> list[float]:
    return [corner * SCALE for corner in corners]


def _box(component: Component, margin: float) -> list[float]:
    x, y, width, height = component.x, component.y, component.width + margin, component.height + margin
    return [x - width, y - height, x + width, y + height]


def _definitions() -> dict[str, Any]:
    """Return the labels as the file ``annotation_definitions.json`` of Unity's Perception package has them."""
    spec = [
        {"label_name": name, "pixel_value": dict(zip("rgba", (*(value / 255 for value in color), 1.0), strict=True))}
        for name, color in LABELS.items()
    ]
    definition = {"id": "12f94d8d-5425-4deb-9b21-5e53ad957d66", "name": "semantic segmentation", "format": "PNG"}
    return {"version": "0.0.1", "annotation_definitions": [definition | {"spec": spec}]}


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
