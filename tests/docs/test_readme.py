"""The README keeps its word: its snippets run, its names and files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pylstm

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
TABLE = "\n".join(re.findall(r"^\| (`pylstm.*?) \|", TEXT, re.MULTILINE))
LINKS = sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)))


def test_snippets_run():
    """In order, in one process, as a reader would type them."""
    snippets = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert len(snippets) >= 5
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "fused - The fused kernel" in ran.stdout
    assert "features=12" in ran.stdout
    assert "fix:" in ran.stdout


@pytest.mark.parametrize("name", re.findall(r"`pylstm\.(\w+)", TABLE))
def test_names_are_public(name):
    assert name in pylstm.__all__ and hasattr(pylstm, name)


@pytest.mark.parametrize("link", LINKS)
def test_linked_files_exist(link):
    assert (ROOT / link).exists()
