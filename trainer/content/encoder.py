"""What a text encoder is, and where the files of an installed one lie.

Invariant: a row depends on its own text only, not on its batch: every encoder passes
`tests/trainer/content/encoder_suite.py`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np


class MissingEncoderError(RuntimeError):
    """A text encoder's files are not installed, or not the ones expected: run the command that the message gives, or
    set `content.encoder = "static"`."""


class TextEncoder(Protocol):
    """Text → unit vectors. `encode` gives float32 of shape (texts, width); an empty text is a row of zeros."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...
    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


def package_folder(package: str, install: str) -> Path:
    """Where an installed package lies, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingEncoderError(f"the package {package} is not installed: run `{install}`")
    return Path(next(iter(found.submodule_search_locations)))
