"""The feature store: the features of an image under a backbone are computed once and shared by all configurations."""

import time
from collections.abc import Callable, Sequence

import torch

from training_code.foundation.cache import CostToMake, TensorCache, cache_key, content_key
from training_code.foundation.files import digest

Compute = Callable[[torch.Tensor, Sequence[str]], dict[str, torch.Tensor]]


class FeatureStore:
    """Features by the content of the preprocessed image, the extractor and the layer.

    Another transform, augmentation, backbone, weight file, precision or runtime is another key, so that no
    entry has to be invalidated when any of them changes.

    Parameters
    ----------
    cache
        Where the features lie.
    mode
        One of `training_code.protocol.MODES`.
    images
        How many images, or tiles of images, there are in all; None where that is not known. In the mode ``"auto"``
        nothing is kept where the features of all of them do not fit: the last ones would push out the first ones
        before another configuration asks for these.

    Attributes
    ----------
    hits, misses
        Images whose features were read, and images whose features were computed.
    seconds
        Per image, to ``compute`` and to ``read``; empty where nothing was measured.
    too_large
        Bytes of the features of all images, where these were more than fit; otherwise None.
    """

    def __init__(self, cache: TensorCache, mode: str = "auto", images: int | None = None) -> None:
        self.cache = cache
        self.mode = mode
        self.images = images
        self.hits = self.misses = 0
        self.seconds: dict[str, float] = {}
        self.too_large: int | None = None

    def take(
        self,
        images: torch.Tensor,
        layers: Sequence[str],
        stored_layers: Sequence[str],
        fingerprint: Callable[[], str],
        compute: Compute,
    ) -> dict[str, torch.Tensor]:
        """Return the features of ``images``, computed where they are not known.

        Parameters
        ----------
        images
            Preprocessed images, of shape (batch, 3, height, width).
        layers
            The layers that are asked for.
        stored_layers
            The layers that are computed and kept for later, in network order; ``layers`` are among them.
        fingerprint
            Identifies everything that the features depend on besides image and layer; ``compute`` may change it once,
            if a runtime turns out not to take the network.
        compute
            Gives the features of images at layers.
        """
        if self.mode == "off":
            return compute(images, layers)
        names = [content_key(image) for image in images.cpu()]
        found = self._read(fingerprint(), names, layers)
        if missing := [index for index, features in enumerate(found) if features is None]:
            # If several processes need the same features at the same time, one computes them, the others wait and
            # read. There are few names of locks, so that few files remain.
            with self.cache.lock(f"features-{digest([fingerprint(), names])[:2]}"):
                for index, features in zip(
                    missing, self._read(fingerprint(), [names[index] for index in missing], layers), strict=True
                ):
                    found[index] = features
                missing = [index for index in missing if found[index] is None]
                if missing:
                    chosen = [names[index] for index in missing]
                    computed = self._compute(images[missing], chosen, layers, stored_layers, fingerprint, compute)
                    for position, index in enumerate(missing):
                        found[index] = {layer: computed[layer][position] for layer in layers}
        self.misses += len(missing)
        self.hits += len(found) - len(missing)
        return {
            layer: torch.stack([features[layer] for features in found if features is not None]).to(images)
            for layer in layers
        }

    def describe(self) -> dict[str, object]:
        """Return mode, hits, misses, measured times, and bytes that were too many, as plain data."""
        found = {"mode": self.mode, "hits": self.hits, "misses": self.misses, "seconds": self.seconds}
        return found if self.too_large is None else found | {"too_large": self.too_large}

    def _read(
        self, fingerprint: str, names: Sequence[str], layers: Sequence[str]
    ) -> list[dict[str, torch.Tensor] | None]:
        entries: list[dict[str, torch.Tensor] | None] = []
        for name in names:
            stored = {layer: self.cache.get(_key(fingerprint, name, layer)) for layer in layers}
            features = {
                layer: tensors["features"] for layer, tensors in stored.items() if tensors and "features" in tensors
            }
            entries.append(features if len(features) == len(stored) else None)
        return entries

    def _compute(
        self,
        images: torch.Tensor,
        names: Sequence[str],
        layers: Sequence[str],
        stored_layers: Sequence[str],
        fingerprint: Callable[[], str],
        compute: Compute,
    ) -> dict[str, torch.Tensor]:
        measured = self.mode == "auto" and not self.seconds
        if measured:
            # The first batch takes longer: code is compiled, and on a GPU kernels are chosen for the batch size.
            compute(images if images.is_cuda else images[:2], stored_layers)
        start = _clock(images)
        computed = compute(images, stored_layers)
        seconds = (_clock(images) - start) / len(images)
        if measured and self.images:
            size = self.images * sum(maps.nbytes for maps in computed.values()) // len(images)
            if size > self.cache.capacity():
                self.mode, self.too_large = "off", size
                return computed
        computed = {layer: maps.cpu() for layer, maps in computed.items()}
        kept = [
            self.cache.put(_key(fingerprint(), name, layer), {"features": maps[position]}, CostToMake.FEATURES)
            for position, name in enumerate(names)
            for layer, maps in computed.items()
        ]
        if not all(kept) and self.mode == "auto":
            self.mode = "off"
        elif measured:
            self._choose(seconds, [_key(fingerprint(), name, layer) for name in names for layer in layers], len(names))
        return computed

    def _choose(self, seconds: float, keys: Sequence[str], images: int) -> None:
        """Turn the store off if reading ``keys``, the features of ``images`` images, takes longer than computing."""
        for key in keys:
            self.cache.evict_from_page_cache(key)
        start = time.perf_counter()
        for key in keys:
            self.cache.get(key)
        self.seconds = {"compute": seconds, "read": (time.perf_counter() - start) / images}
        self.mode = "on" if self.seconds["read"] < seconds else "off"


def _key(fingerprint: str, name: str, layer: str) -> str:
    return cache_key("features", fingerprint, name, layer)


def _clock(images: torch.Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
