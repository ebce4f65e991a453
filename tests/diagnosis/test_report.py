"""The report as a page, and the codes that are its own."""

import numpy as np

from pylstm.diagnosis import Report, diagnose
from pylstm.diagnosis.report import HINTS, Finding
from pylstm.errors import CODES
from tests.diagnosis.support import LABELS, dense, fused, with_value


def test_notebook_table():
    page = diagnose(fused(), with_value(np.nan), LABELS)._repr_html_()
    assert page.count("<tr>") == 3
    assert "PYL201" in page
    assert "<table" not in diagnose(fused(), dense(), LABELS)._repr_html_()
    page = Report([Finding("note", "PYL201", "x", "a < b", "x['a']")])._repr_html_()
    assert "a &lt; b" in page
    assert "x[&#x27;a&#x27;]" in page


def test_codes_are_distinct():
    assert not HINTS.keys() & CODES.keys()
