"""``/health``, ``/ready`` and ``/metrics``: what watches the service asks."""

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from inference_code.service.schemas import REFUSED, Status

router = APIRouter(tags=["state"])


@router.get("/health")
async def health() -> Status:
    """Say that the process is there."""
    return Status(status="ok")


@router.get("/ready", responses={503: {"model": Status}})
def ready(request: Request, response: Response) -> Status:
    """Say whether images are predicted, and the page of a station shows what it does."""
    if not all(part() for part in request.app.state.ready):
        response.status_code = 503
        return Status(status="not ready")
    return Status(status="ready")


_METRICS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}, 401: REFUSED[401]}


@router.get("/metrics", response_class=Response, responses=_METRICS)
def metrics(request: Request) -> Response:
    """Return counters in Prometheus' text format."""
    return Response(request.app.state.measures.text(), media_type=CONTENT_TYPE_LATEST)
