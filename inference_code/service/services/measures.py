"""What the service counts, in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest


class Measures:
    """Counters of one service.

    Parameters
    ----------
    waiting
        Returns the number of images that wait or are being predicted.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self._more: list[Callable[[], str]] = []
        ProcessCollector(registry=registry)
        self._requests = Counter("anomaly_requests", "Requests answered.", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "anomaly_request_seconds", "From a request's first byte to its answer.", ["path"], registry=registry
        )
        self._images = Counter("anomaly_images", "Images predicted.", ["model", "label"], registry=registry)
        self._batches = Histogram(
            "anomaly_batch_images",
            "Images that the detector got at once.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._computing = Counter(
            "anomaly_computing_seconds", "Time in which the detector computed.", ["model"], registry=registry
        )
        Gauge("anomaly_waiting_images", "Images that wait or are being predicted.", registry=registry).set_function(
            waiting
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answer; ``path`` is that of a route, not of the client."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, model: str, images: int, seconds: float) -> None:
        """Count a batch that the detector predicted."""
        self._batches.labels(model).observe(images)
        self._computing.labels(model).inc(seconds)

    def image(self, model: str, abnormal: bool | None) -> None:
        """Count an image that was predicted."""
        label = "unknown" if abnormal is None else "abnormal" if abnormal else "normal"
        self._images.labels(model, label).inc()

    def also(self, text: Callable[[], str]) -> None:
        """Have `text` end with what a function returns, in the same format."""
        self._more.append(text)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry) + "".join(more() for more in self._more).encode()
