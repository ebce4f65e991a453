"""The errors keep their type and their parts wherever they travel."""

import ast
import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

import pylstm
from pylstm import errors


@pytest.mark.parametrize("code", [code for code, row in errors.CODES.items() if row.error])
def test_every_code_makes_its_error_and_survives_pickle_and_copy(code):
    error = errors.CODES[code].error(
        code, layer="lstm", expected="(batch, time, features=6)", got="(2, 3)", fix="x[None]"
    )
    assert isinstance(error, errors.PylstmError)
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)


def test_message_format():
    error = errors.FeatureMismatchError(
        "PYL103", layer="lstm_1", expected="6 features", got="7 features", fix="one of\nthese"
    )
    assert str(error) == (
        "[PYL103] layer 'lstm_1': feature size does not match.\n"
        "  expected: 6 features\n"
        "  got:      7 features\n"
        "  fix:      one of\n"
        "            these"
    )


def test_message_leaves_out_what_is_not_known():
    assert str(errors.BackendLoadError("PYL131")) == "[PYL131] the compiled library is missing."


@pytest.mark.parametrize("layer", [None, "lstm_1"])
@pytest.mark.parametrize("fix", [None, "one of\nthese"])
@pytest.mark.parametrize("quote", [str, lambda text: text.replace("\n", "\\n").replace("'", "\\'")])
def test_an_error_is_found_in_a_text_that_quotes_it(layer, fix, quote):
    error = errors.RankError("PYL102", layer=layer, expected="(batch,)", got="()", fix=fix)
    message = quote(f"{error}\n")
    found = errors.quoted_error(f"Graph execution error:\nat node\n[{message}] [[node]] [Op:f]")
    assert vars(found) == vars(error)
    assert errors.quoted_error("Incompatible shapes: [2,4] vs. [3,4]") is None
    for code in "PYL999", "PYL126":
        assert errors.quoted_error(message.replace("PYL102", code)) is None


def test_a_quoted_value_keeps_its_escapes():
    error = errors.DTypeError("PYL118", got=repr("walk\n"), fix="float(x)")
    assert vars(errors.quoted_error(str(error))) == vars(error)


def test_errors_are_also_the_builtin_that_old_code_catches():
    assert issubclass(errors.RankError, ValueError)
    assert issubclass(errors.DTypeError, TypeError)
    assert issubclass(errors.DTypeError, ValueError)
    assert issubclass(errors.OptionError, ValueError)
    assert issubclass(errors.BackendLoadError, ImportError)


def test_an_unknown_code_cannot_be_raised():
    with pytest.raises(KeyError, match="PYL999"):
        errors.PylstmError("PYL999")


# Of these the summary says what was expected: that the software and the machine can do it.
OF_THE_SOFTWARE = {f"PYL{number}" for number in range(131, 138)}
# What it raises gets its parts from a helper that makes all of them.
BY_HELPERS = {"errors.py", "explain.py"}
# It refuses what forward did not return, as the compiled bindings do.
AS_BINDINGS = {"cuda.py"}


def incomplete_errors():
    """Each place in the package that makes an error without a code or one of its parts."""
    names = {name for name, value in vars(errors).items() if name.endswith("Error")}
    builtin = {"ValueError", "TypeError", "RuntimeError", "Exception"}
    for path in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            raised = node.exc if isinstance(node, ast.Raise) else None
            is_builtin = getattr(getattr(raised, "func", None), "id", None) in builtin
            if is_builtin and path.name not in AS_BINDINGS:
                yield f"{path}:{node.lineno}: no code"
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", None) in names):
                continue
            code = getattr(node.args[0], "value", None) if node.args else None
            needed = {"fix"} if code in OF_THE_SOFTWARE else {"expected", "got", "fix"}
            missing = needed - {keyword.arg for keyword in node.keywords}
            if path.name not in BY_HELPERS and (not node.args or missing):
                yield f"{path}:{node.lineno}: no {', '.join(missing)}"


def test_every_error_has_a_code_and_all_its_parts():
    assert list(incomplete_errors()) == []


def raised_codes():
    """Each place in the package that makes an error by its class: (class, code, file)."""
    for path in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            code = getattr(node.args[0], "value", None)
            if isinstance(code, str) and code.startswith("PYL"):
                yield node.func.id, code, path


def test_each_code_is_raised_as_the_class_that_the_table_names():
    found = [(name, code, path) for name, code, path in raised_codes() if name.endswith("Error")]
    assert len(found) > 30
    wrong = [each for each in found if errors.CODES[each[1]].error is not getattr(errors, each[0])]
    assert wrong == []


def test_a_code_without_an_error_is_of_corrections_that_strict_makes_too():
    silent = [code for code, row in errors.CODES.items() if row.error is None]
    assert silent == ["PYL126", "PYL127"]
    sequences = [np.ones((3, 2)), np.ones((2, 2), int)]
    layer = pylstm.LSTM(1, validate="strict")
    for code, x in ("PYL126", sequences), ("PYL127", sequences[:1]), ("PYL127", sequences[1][None]):
        layer(x)
        assert {each.code for each in layer.corrections} == {code}


def test_each_code_of_the_table_is_used():
    package = Path(errors.__file__).parent
    paths = [path for path in package.rglob("*.py") if path.stem != "errors"]
    paths.append(package.parent / "csrc/bindings/shapes.cc")
    text = "".join(path.read_text() for path in paths)
    assert [code for code in errors.CODES if code not in text] == []
