"""What `pylstm.diagnose` found, as a table for a terminal and a notebook."""

import html
import shutil
import textwrap
from typing import NamedTuple

from pylstm.errors import CODES

HINTS = {
    "PYL201": "values that are not finite numbers",
    "PYL202": "whole numbers that look unscaled",
    "PYL203": "sequences without a step",
    "PYL204": "the mask is lost before the recurrent layer",
    "PYL205": "steps of zeros at the end, and no mask",
    "PYL206": "integers where fractions may have been cut",
    "PYL207": "the axes may be swapped",
    "PYL208": "the layer does not run the fused kernel",
    "PYL209": "could not be checked",
    "PYL210": "numbers for which the embedding has no row",
    "PYL211": "a layer that also returns its states feeds another",
    "PYL213": "real steps that count as padding",
}
"""Code to summary of what only `diagnose` reports: input that raises no error and is not fixed."""

LEVELS = ("error", "warning", "fixed", "note")
_COLORS = {"error": "#c0392b", "warning": "#b9770e", "fixed": "#1e8449", "note": "#5d6d7e"}


class Finding(NamedTuple):
    """One finding.

    Attributes:
        level: `"error"`: it stops with an error. `"warning"`: it runs, and the numbers are
            probably not what they should be. `"fixed"`: pylstm corrects it. `"note"`: a hint.
        code: Key of `pylstm.errors.CODES` or of `HINTS`.
        where: The part of the data or the layer, such as `x[17]`.
        what: What is there, and how many.
        fix: The line to write, or None.
    """

    level: str
    code: str
    where: str
    what: str
    fix: str | None = None


class Report:
    """The findings of `pylstm.diagnose`, worst first. Iterable; prints as a table.

    Attributes:
        findings: A tuple of `Finding`.
        ok: Whether there is neither an error nor a warning.
    """

    def __init__(self, findings):
        self.findings = tuple(sorted(findings, key=lambda f: LEVELS.index(f.level)))

    @property
    def ok(self):
        return not any(finding.level in ("error", "warning") for finding in self)

    def __iter__(self):
        return iter(self.findings)

    def __len__(self):
        return len(self.findings)

    def __getitem__(self, index):
        return self.findings[index]

    def __repr__(self):
        if not self.findings:
            return self._headline()
        width = max(60, min(120, shutil.get_terminal_size().columns))
        rows = [("level", "code", "where"), *(finding[:3] for finding in self)]
        sizes = [max(len(row[column]) for row in rows) for column in range(3)]
        sizes[2] = min(sizes[2], 24)
        indent = " " * (sum(sizes) + 6)
        lines = [self._headline(), _line(rows[0], sizes) + "finding"]
        for finding in self:
            text = textwrap.wrap(finding.what, width - len(indent)) or [""]
            lines.append(_line(finding[:3], sizes) + text[0])
            lines += [indent + more for more in text[1:]]
            if finding.fix:
                fixes = finding.fix.split("\n")
                lines += [
                    f"{indent}{'fix: ' if i == 0 else '     '}{f}" for i, f in enumerate(fixes)
                ]
        return "\n".join(lines)

    def _repr_html_(self):
        if not self.findings:
            return f"<p>{html.escape(self._headline())}</p>"
        head = "".join(f"<th>{name}</th>" for name in ("level", "code", "where", "finding", "fix"))
        body = "".join(_html_row(finding) for finding in self)
        return f"<p>{html.escape(self._headline())}</p><table><tr>{head}</tr>{body}</table>"

    def _headline(self):
        counts = [(level, sum(f.level == level for f in self)) for level in LEVELS]
        found = ", ".join(
            f"{number} {level}" + "s" * (number > 1 and level != "fixed")
            for level, number in counts
            if number
        )
        return f"pylstm.diagnose: {found or 'nothing to report'}"


def of_error(where, error):
    """The finding that a `PylstmError` makes."""
    what = f"{error.what}: {error.got}" if error.got else error.what
    return Finding("error", error.code, where, what, error.fix)


def unchecked(where, error):
    """The finding that a check ended in an unforeseen exception."""
    text = str(error).split("\n")[0]
    return Finding("warning", "PYL209", where, f"{type(error).__name__}: {text}")


def summary_of(code):
    """The summary of a code, of an error or a hint."""
    return CODES[code].summary if code in CODES else HINTS[code]


def _line(cells, sizes):
    return "".join(f"{cell:{size}}  " for cell, size in zip(cells, sizes, strict=True))


def _html_row(finding):
    level = f'<td style="color:{_COLORS[finding.level]}"><b>{finding.level}</b></td>'
    fix = f"<td><pre>{html.escape(finding.fix)}</pre></td>" if finding.fix else "<td></td>"
    cells = "".join(f"<td>{html.escape(text)}</td>" for text in finding[1:4])
    return f"<tr>{level}{cells}{fix}</tr>"
