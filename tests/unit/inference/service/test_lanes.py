"""Large images neither fill the memory nor hold up the small ones."""

import threading
from concurrent.futures import wait

import pytest

from inference_code.service.limits import LARGE
from inference_code.service.services.lanes import Lanes
from training_code.data.images import MAX_PIXELS


@pytest.fixture
def lanes(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    lanes = Lanes()
    lanes.start()
    yield lanes
    lanes.stop()


def test_only_as_many_pixels_are_at_work_as_the_largest_image_has(lanes):
    lock, now, most = threading.Lock(), [], []

    def work(pixels):
        with lock:
            now.append(pixels)
            most.append(sum(now))
        threading.Event().wait(0.02)
        with lock:
            now.remove(pixels)

    sizes = [MAX_PIXELS // 2, MAX_PIXELS, MAX_PIXELS // 4, MAX_PIXELS // 4, MAX_PIXELS // 2] * 2
    wait([lanes.submit(pixels, work, pixels) for pixels in sizes])
    assert len(most) == 10 and max(most) == MAX_PIXELS


def test_small_images_are_done_while_large_ones_wait(lanes):
    held = threading.Event()
    large = [lanes.submit(LARGE + 1, held.wait, 10) for _ in range(8)]
    assert lanes.submit(LARGE, lambda: "done").result(5) == "done"
    held.set()
    assert all(future.result(5) for future in large)


def test_room_is_given_back_by_work_that_fails(lanes):
    with pytest.raises(ZeroDivisionError):
        lanes.submit(MAX_PIXELS, lambda: 1 / 0).result(5)
    assert lanes.submit(MAX_PIXELS, lambda: "done").result(5) == "done"
