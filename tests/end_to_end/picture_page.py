"""``python tests/end_to_end/picture_page.py RUN IMAGE``: the page of the service as images/page.png."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.browser import open_page  # noqa: E402
from helpers.serving_process import serve  # noqa: E402


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("image", type=Path)
    parser.add_argument("--output", type=Path, default=ROOT / "images" / "page.png")
    options = parser.parse_args()
    with serve(options.run) as (_, address), open_page(address, height=720) as (page, _):
        page.wait_for_selector("#examples img")
        page.set_input_files("#file", options.image)
        page.wait_for_selector("#result:visible")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=options.output, full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
