"""Files of labeling programs, written from masks as the formats describe it and without the project's code."""

import base64
import io
import itertools
import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask


def spans(mask):
    """Return the runs of marked pixels along rows, as left, top, right and bottom edges."""
    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.r_[0, row.astype(int), 0])).tolist()
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            yield left, y, right, y + 1


def runs(values):
    """Return lengths of runs, first of pixels that are not marked."""
    found = [(bool(key), len(list(group))) for key, group in itertools.groupby(np.asarray(values).ravel().tolist())]
    return ([0] if found[0][0] else []) + [length for _, length in found]


def corners(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def write_coco(root, masks, segmentation, label="dent"):
    """Write one annotation an image with the segmentation that a function makes of its mask."""
    images, annotations = [], []
    for number, (name, mask) in enumerate(masks.items()):
        images.append({"id": number, "file_name": name, "width": mask.shape[1], "height": mask.shape[0]})
        if mask.any():
            row = {"id": 10 + number, "image_id": number, "category_id": 3, "segmentation": segmentation(mask)}
            annotations.append(row | {"bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 0})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": label}]}
    (root / "instances.json").write_text(json.dumps(content))


def polygon_parts(mask):
    return [corners(*span) for span in spans(mask)]


def plain_runs(mask):
    return {"size": list(mask.shape), "counts": runs(mask.T)}


def compressed_runs(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


def cvat_masks(mask):
    """Return an element of CVAT with the mask in its box, counted along rows."""
    y, x = np.nonzero(mask)
    box = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
    place = f'left="{x.min()}" top="{y.min()}" width="{box.shape[1]}" height="{box.shape[0]}"'
    return (
        f'<mask label="dent" source="manual" occluded="0" rle="{", ".join(map(str, runs(box)))}" {place} z_order="0"/>'
    )


def cvat_polygons(mask):
    lines = []
    for span in spans(mask):
        flat = corners(*span)
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(flat[::2], flat[1::2], strict=True))
        lines.append(f'<polygon label="dent" source="manual" occluded="0" points="{points}" z_order="0"></polygon>')
    return "\n".join(lines)


def cvat_boxes(mask):
    box = '<box label="dent" occluded="0" xtl="{}.00" ytl="{}.00" xbr="{}.00" ybr="{}.00" z_order="0"></box>'
    return "\n".join(box.format(*span) for span in spans(mask))


def write_cvat(root, masks, shapes):
    """Write annotations.xml with the elements that a function makes of each mask."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "<version>1.1</version>"]
    for number, (name, mask) in enumerate(masks.items()):
        size = f'width="{mask.shape[1]}" height="{mask.shape[0]}"'
        inner = shapes(mask) if mask.any() else ""
        lines.append(f'<image id="{number}" name={quoteattr(name)} {size}>\n{inner}\n</image>')
    (root / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]), encoding="utf-8")


def write_yolo(root, masks):
    for name, mask in masks.items():
        height, width = mask.shape
        lines = []
        for span in spans(mask):
            scaled = [
                value / side for value, side in zip(corners(*span), itertools.cycle([width, height]), strict=False)
            ]
            lines.append(" ".join(["0", *(f"{value:.6f}" for value in scaled)]))
        (root / name).with_suffix(".txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text("names: {0: dent}\n")


def labelme_mask(mask):
    y, x = np.nonzero(mask)
    file = io.BytesIO()
    Image.fromarray(mask[y.min() : y.max() + 1, x.min() : x.max() + 1]).save(file, "PNG")
    points = [[int(x.min()), int(y.min())], [int(x.max()), int(y.max())]]
    coded = base64.b64encode(file.getvalue()).decode()
    return [{"label": "dent", "shape_type": "mask", "points": points, "mask": coded}]


def labelme_rectangles(mask):
    """Return rectangles from pixel to pixel, both of which belong to them."""
    return [
        {"label": "dent", "shape_type": "rectangle", "points": [[left, top], [right - 1, bottom - 1]]}
        for left, top, right, bottom in spans(mask)
    ]


def write_labelme(root, masks, shapes):
    for name, mask in masks.items():
        content = {"shapes": shapes(mask) if mask.any() else [], "imagePath": name}
        content |= {"imageHeight": mask.shape[0], "imageWidth": mask.shape[1], "imageData": None}
        (root / name).with_suffix(".json").write_text(json.dumps(content))


def write_voc(root, masks):
    for name, mask in masks.items():
        size = f"<size><width>{mask.shape[1]}</width><height>{mask.shape[0]}</height><depth>1</depth></size>"
        objects = "".join(
            f"<object><name>dent</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
            f"<ymax>{bottom}</ymax></bndbox></object>\n"
            for left, top, right, bottom in spans(mask)
        )
        text = f"<annotation>\n<filename>{name}</filename>{size}\n{objects}</annotation>"
        (root / name).with_suffix(".xml").write_text(text)


#: Every way in which a mask is written to the pixel: the adapter, and what writes the files beside the images.
WRITERS = {
    "COCO polygons": ("coco", lambda root, masks: write_coco(root, masks, polygon_parts)),
    "COCO run lengths": ("coco", lambda root, masks: write_coco(root, masks, plain_runs)),
    "COCO compressed run lengths": ("coco", lambda root, masks: write_coco(root, masks, compressed_runs)),
    "CVAT masks": ("cvat", lambda root, masks: write_cvat(root, masks, cvat_masks)),
    "CVAT polygons": ("cvat", lambda root, masks: write_cvat(root, masks, cvat_polygons)),
    "CVAT boxes": ("cvat", lambda root, masks: write_cvat(root, masks, cvat_boxes)),
    "YOLO polygons": ("yolo", write_yolo),
    "labelme masks": ("labelme", lambda root, masks: write_labelme(root, masks, labelme_mask)),
    "labelme rectangles": ("labelme", lambda root, masks: write_labelme(root, masks, labelme_rectangles)),
    "VOC boxes": ("voc", write_voc),
}


def prepared_masks(root: Path) -> dict[str, np.ndarray]:
    """Return the masks of a prepared dataset by the names of their images without ending."""
    found = sorted(root.rglob("*_mask.png"))
    return {path.stem.removesuffix("_mask"): np.asarray(Image.open(path)) > 0 for path in found}
