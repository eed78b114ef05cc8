"""Data are shown, never run: no file makes HTML of what is not literal, but the few places that escape it."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests.project import ROOT, assert_quiet, notebook

SOURCES = sorted((ROOT / "src/helpers").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What makes HTML, or another kind of page, out of a string.
MAKERS = {"HTML", "HTMLMath", "Markup", "Markdown", "Latex", "Math", "Javascript", "SVG", "IFrame", "DisplayObject"}
MAKERS |= {"mark_safe", "publish_display_data", "display_html", "display_markdown", "display_javascript"}
ATTRIBUTES = {
    "style",
    "to_html",
    "_repr_html_",
    "_repr_markdown_",
    "_repr_javascript_",
    "_repr_mimebundle_",
    "__html__",
}
ATTRIBUTES |= {"description_allow_html"}
# File → what it may say there, since it escapes or has no data in it; each stands in the file once or more.
ALLOWED = {
    "src/helpers/evaluation/report.py": {
        "HTML(f\"{('' if table.empty else style)}{_tabulate(table, empty, digits, title, fold=fold)}\")",
        "Markup(TEMPLATES.get_template('table.html').render(columns=columns, rows=rows, title=title, fold=fold))",
        "Markup(CHANGED)",
    },
    "src/helpers/evaluation/start.py": {"Markup(Path(__file__).with_name('pipeline.svg').read_text(encoding='utf-8'))"},
    "src/helpers/labels/panel/parts.py": {
        "widgets.HTML(f'<style>{rules}</style>', layout=widgets.Layout(display='none'))",
        "widgets.HTML(html.fold('Guideline', html.classes(classes) + html.markdown(guideline)))",
        "widgets.HTML(html.fold('Help', f'<div class=\"ambo-plain\">{HELP}</div>'))",
    },
    "src/helpers/labels/panel/opening.py": {
        "HTML(html.done(here.notes.get('command', ''), following, quote(address), names, disputed))",
        "HTML(html.closed(how))",
        "HTML(html.waits(waits_for, how))",
    },
    "src/helpers/italian/ad_frames.py": {"plan.style"},
    "src/helpers/progress.py": {"HTML(html)"},
    "notebooks/00_start_here.ipynb": {"HTML(start.pipeline_picture())"},
}
UNESCAPED = r"\|\s*safe\b|autoescape\s+false"  # in a template
# What may be the value of a widget of HTML: what these functions return, which escape their arguments.
ESCAPING = r"(html\.\w+|answer_html|self\.answer\.picture)\("
SHOWN = ("report.as_html(", "plots.", "panel.show(", "start.detector_box(")
NOT_SHOWN = ("print(", "here.close(", "refuse_")  # calls that return None


def code(path: Path) -> list[ast.Module]:
    """The file's code; of a notebook, cell by cell, the Colab cell left out."""
    if path.suffix == ".py":
        return [ast.parse(path.read_text(encoding="utf-8"))]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    cells = [c for c in cells if c["cell_type"] == "code" and "colab" not in c["metadata"].get("tags", [])]
    return [ast.parse("".join(cell["source"])) for cell in cells]


def is_literal(call: ast.Call) -> bool:
    values = [*call.args, *(word.value for word in call.keywords)]
    return all(isinstance(value, ast.Constant) for value in values)


def raw_html(tree: ast.Module) -> set[str]:
    """Every expression of the code that makes a page of something that is not literal."""
    suspects = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            words = {word.arg: word.value for word in node.keywords}
            escapes = ast.unparse(words.get("autoescape", ast.Constant(False))) == "True"
            unescaped = name in ("Environment", "Template") and not escapes
            if (name in MAKERS and not is_literal(node)) or unescaped:
                suspects.add(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            suspects.add(ast.unparse(node))
        elif isinstance(node, ast.FunctionDef) and node.name in ATTRIBUTES:
            suspects.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search(UNESCAPED, node.value):
                suspects.add(ast.unparse(node))
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).rpartition(".")[2] in MAKERS:
            suspects.add(ast.unparse(node))  # another name for it
        elif isinstance(node, ast.alias) and node.name in MAKERS and node.asname:
            suspects.add(ast.unparse(node))
    return suspects


def html_widgets(tree: ast.Module) -> set[str]:
    """Last names of the variables that hold a widget of HTML."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            pairs = [(node.targets[0], node.value)]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(node.targets[0].elts, node.value.elts, strict=False))
            for target, value in pairs:
                if re.match(r"(widgets\.)?HTML\(", ast.unparse(value)):
                    names.add(ast.unparse(target).rpartition(".")[2])
    return names


def unescaped_values(tree: ast.Module) -> set[str]:
    """Assignments to the value of a widget of HTML of what no escaping function has made."""
    widgets, suspects = html_widgets(tree), set()

    def escapes(value: ast.expr) -> bool:
        if isinstance(value, ast.BinOp):
            return escapes(value.left) and escapes(value.right)
        return isinstance(value, ast.Constant) or bool(re.match(ESCAPING, ast.unparse(value)))

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                holder, _, field = ast.unparse(target).rpartition(".")
                if field == "value" and holder.rpartition(".")[2] in widgets and not escapes(node.value):
                    suspects.add(ast.unparse(node))
    return suspects


def shown(tree: ast.Module) -> list[ast.expr]:
    """What a notebook's cell shows: its last expression, and what it displays."""
    expressions = [tree.body[-1].value] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "display":
            expressions += node.args
    return [e for e in expressions if not ast.unparse(e).startswith(("display(", *NOT_SHOWN))]


def shown_otherwise(tree: ast.Module) -> set[str]:
    """What a cell shows that is neither a figure nor a panel nor a table by `report.as_html`."""
    made = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.NamedExpr):
            target = node.target if isinstance(node, ast.NamedExpr) else node.targets[0]
            made[ast.unparse(target)] = ast.unparse(node.value)
    texts = {ast.unparse(expression) for expression in shown(tree)}
    return {text for text in texts if not made.get(text, text).startswith(SHOWN)}


@pytest.mark.parametrize("path", [*SOURCES, *NOTEBOOKS], ids=lambda path: path.stem)
def test_html_is_made_of_data_only_where_they_are_escaped(path):
    allowed = ALLOWED.get(path.relative_to(ROOT).as_posix(), set())
    suspects = set().union(*map(raw_html, code(path)))
    assert suspects == allowed
    trees = code(path)
    whole = ast.Module([statement for tree in trees for statement in tree.body], [])
    assert not unescaped_values(whole)
    if path.suffix == ".ipynb":
        assert set().union(*map(shown_otherwise, trees)) <= allowed


def test_no_template_lets_a_text_through():
    package = ROOT / "src/helpers"
    templates = [*sorted(package.rglob("*.html")), *sorted((package / "evaluation").glob("*.md"))]
    assert len(templates) > 5, "no templates: the rule has nothing to check"
    for path in templates:
        assert not re.search(UNESCAPED, path.read_text(encoding="utf-8")), path


def test_the_rules_have_something_to_check():
    assert len(SOURCES) > 50 and len(NOTEBOOKS) > 7
    assert ALLOWED.keys() <= {path.relative_to(ROOT).as_posix() for path in [*SOURCES, *NOTEBOOKS]}


@pytest.mark.parametrize(
    "source",
    [
        "HTML(f'<p>{label}</p>')",
        "widgets.HTML(value=name)",
        "Markup(text)",
        "Markup('<b>' + text)",
        "table.style.hide()",
        "table.to_html()",
        "Markdown(text)",
        "show = Markdown\nshow(text)",
        "from IPython.display import HTML as show\nshow(text)",
        "jinja2.Environment().from_string(page)",
        "Template(page)",
        "page = '{{ text | safe }}'",
        "class Table:\n    def _repr_html_(self): return self.text",
    ],
)
def test_other_ways_to_make_html_are_refused(source):
    assert raw_html(ast.parse(source))


@pytest.mark.parametrize(
    "source", ["table", "table.head()", "display(table)", "pd.DataFrame(rows)", "x = 1\nx", "rows"]
)
def test_other_ways_to_show_a_table_are_refused(source):
    assert shown_otherwise(ast.parse(source))


@pytest.mark.parametrize("value", ["text", "f'<p>{text}</p>'", "html.fold(text) + text", "str(error)"])
def test_other_values_of_a_widget_of_html_are_refused(value):
    assert unescaped_values(ast.parse(f"self.box = widgets.HTML()\nself.box.value = {value}"))


@pytest.mark.parametrize("page", ["table", "table.style"])
def test_an_executed_notebook_with_a_table_by_pandas_is_not_quiet(page, tmp_path):
    import papermill

    folder = tmp_path / "01"
    folder.mkdir()
    source = notebook(tmp_path / "n.ipynb", (f"import pandas as pd\ntable = pd.DataFrame([['a']])\n{page}", []))
    papermill.execute_notebook(source, folder / "n.ipynb", kernel_name="python3", progress_bar=False)
    with pytest.raises(AssertionError, match=r"not by report\.as_html"):
        assert_quiet(tmp_path)
