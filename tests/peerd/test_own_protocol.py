from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from peerd.errors import ConfigError
from peerd.own_protocol import check_own_protocol


def test_our_protocol_is_taken():
    check_own_protocol()


@pytest.mark.parametrize("file", ["/elsewhere/protocol/__init__.py", None])
def test_another_package_of_that_name_is_refused(monkeypatch, file):
    other = ModuleType("protocol")
    other.__file__ = file
    other.__path__ = ["/elsewhere/protocol"]
    monkeypatch.setitem(sys.modules, "protocol", other)
    with pytest.raises(ConfigError) as refused:
        check_own_protocol()
    assert "/elsewhere/protocol" in refused.value.detail
    assert "pipx install peerd" in refused.value.hint


@pytest.mark.system
def test_the_daemon_says_so_instead_of_failing_somewhere(tmp_path: Path):
    package = tmp_path / "site" / "protocol"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VERSION = 7\n")
    done = subprocess.run(
        [sys.executable, "-m", "peerd", "--home", str(tmp_path / "home"), "run"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "another program's" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()
