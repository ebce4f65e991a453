"""docs/errors.md: its code runs, its headings are what Keras says, its table is complete."""

import pathlib
import re

import pytest

from pylstm.diagnosis.report import HINTS
from pylstm.errors import CODES
from tests.docs.stock_failures import FAILURES

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "errors.md"


def table_of_codes():
    """The table of the page, made from the code."""
    rows = []
    for code, (error, summary) in CODES.items():
        rows.append(f"| {code} | {f'`{error.__name__}`' if error else 'none'} | {summary} |")
    rows += [f"| {code} | `diagnose` only | {summary} |" for code, summary in HINTS.items()]
    return "\n".join(["| code | error | meaning |", "|---|---|---|", *rows])


def test_the_table_holds_every_code():
    table = PAGE.read_text().split("<!-- codes -->\n")[1].split("\n<!-- /codes -->")[0]
    assert table == table_of_codes()


def test_every_block_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) > 20
    namespace = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), namespace)
    printed = capsys.readouterr().out
    assert "PYL201" in printed


def test_each_quoted_message_has_a_section():
    headings = re.findall(r'^## "(.*)"$', PAGE.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(FAILURES)


@pytest.mark.parametrize("message", FAILURES)
def test_stock_keras_says_so(message):
    with pytest.raises(Exception, match=re.escape(message)):
        FAILURES[message]()
