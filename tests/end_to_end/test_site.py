"""The site: every page is there, every link leads somewhere, and nothing is asked of other servers."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from helpers.browser import CHROMIUM, open_page
from helpers.records import RECORD_TIMES  # noqa: F401

from training_code.detectors.registry import DETECTORS
from training_code.foundation import paths
