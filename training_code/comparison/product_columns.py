"""Columns of runs that were trained on several products: what is told of each, and the mean over them."""

from typing import Any

import pandas as pd

from training_code.evaluation.products import GOOD, IMAGES, mean_of_products
from training_code.records.record import Record

#: The metrics that are told of products.
TOLD = (
    *("image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_AUPRO", "pixel_F1Score"),
    *("image_FalseAlarmRate", "image_MissRate"),
)
#: The column of the names of the products.
PRODUCTS = "products"
#: Stands for all products where a product is named.
MEAN = "mean of products"
_FINGERPRINT = "dataset_fingerprint"


def column_of(name: str, product: str) -> str:
    """Return the column of something that is told of a product, or of `MEAN`."""
    return f"{name} {MEAN}" if product == MEAN else f"{name} of {product}"


def fingerprint_of(product: str) -> str:
    """Return the column with the fingerprint that a product has as a dataset of its own."""
    return column_of(_FINGERPRINT, product)


def products_in(runs: pd.DataFrame) -> list[str]:
    """Return the products that runs were trained on, by their columns."""
    beginning = fingerprint_of("")
    known = [str(name).removeprefix(beginning) for name in runs if str(name).startswith(beginning)]
    return [product for product in known if runs[fingerprint_of(product)].notna().any()]


def images_of(product: str) -> str:
    """Return the column with the number of test images of a product."""
    return column_of("test_images", product)


def product_columns(record: Record) -> dict[str, Any]:
    """Return what a record tells of its products, by column; nothing of a run on a single one."""
    products = record.dataset.products
    if not products:
        return {}
    found: dict[str, Any] = {PRODUCTS: ", ".join(product.name for product in products)}
    for product in products:
        row = record.by_product.get(product.name, {})
        found |= {fingerprint_of(product.name): product.fingerprint, images_of(product.name): row.get(IMAGES)}
        found[column_of(GOOD, product.name)] = row.get(GOOD)
        found |= {column_of(name, product.name): row[name] for name in TOLD if name in row}
    means = mean_of_products(record.by_product)
    return found | {column_of(name, MEAN): means[name] for name in TOLD if name in means}
