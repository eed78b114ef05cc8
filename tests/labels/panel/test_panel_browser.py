"""The labelling panel in a real JupyterLab and a real Chromium: keys, mouse, reload, killed kernel, hostile texts."""

import importlib.util
import json
import os
import re
import signal

import pytest

from helpers.labels import log
from helpers.labels.exchange import settled_labels
from tests import browser

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing() or "ready")

PANEL = """
from helpers.labels.panel import Panel
texts = ["Cercasi 👩‍🍳 giovane cuoca per mensa.", "Si cerca personale di sala.", "Operaio specializzato cercasi a Monza."]
records = [{"id": f"r{i}", "text": f"{i} {texts[i % 3]}"} for i in range(45)]
Panel(records, ["inclusive", "not_inclusive"], folder="labels", annotator="anna", guideline="Open to everyone?")
"""
HOSTILE = [
    "<script>window.ran=1;alert(1)</script>",
    '<img src="x:" onerror="window.ran=1;alert(1)">',
    "</div></mark><svg/onload=window.ran=1><style>body{display:none}</style>",
    '"><iframe srcdoc="<script>parent.ran=1</script>"></iframe><b onmouseover=window.ran=1>bold</b>',
    "$\\href{javascript:window.ran=1}{x}$ [x](javascript:window.ran=1) {{7*7}} &lt;b&gt;",
]


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with browser.jupyter_lab(tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)  # a busy machine
    page.dialogs = []

    def dialog(shown):
        if shown.type != "beforeunload":
            page.dialogs.append(shown.message)
        shown.accept()

    page.on("dialog", dialog)
    yield page
    page.close()


def panel(page):
    box = page.locator(".jp-OutputArea .ambo-panel").last
    box.wait_for()
    page.wait_for_function("() => document.querySelector('.jp-OutputArea .ambo-panel[data-lm-suppress-shortcuts]')")
    return box


def shows(page, number: int) -> None:
    browser.shows(page, number, 45)


def test_run_all_brings_a_long_text_with_its_buttons_into_view_and_needs_no_restart(lab, page):
    long = PANEL.replace("range(45)", "range(2)").replace('{texts[i % 3]}"', '{texts[i % 3] * 60}"')
    long = long.replace('"labels"', '"long"').replace("guideline=", "goes_on=True, guideline=")
    lab.notebook(
        "long.ipynb", "runs = globals().get('runs', 0) + 1\nprint('run', runs)", *["print('x\\n' * 20)"] * 2, long
    )
    page.set_viewport_size({"width": 1000, "height": 700})
    lab.open(page, "long.ipynb")
    page.wait_for_function(browser.IN_WINDOW)
    box = panel(page)
    for i in range(2):
        browser.shows(page, i + 1, 2)
        box.locator(".ambo-answer button").first.click()
    box.locator("button:has-text('Run all cells again')").click()
    page.wait_for_selector(".jp-OutputArea:has-text('run 2')")
    assert page.locator(".jp-Dialog, .lm-Menu").count() == 0


@pytest.mark.parametrize("pause", [25, 0])
def test_fast_keys_are_saved_or_said_not_to_be(lab, page, pause):
    name = f"fast{pause}"
    lab.notebook(f"{name}.ipynb", PANEL.replace("range(45)", "range(210)").replace('"labels"', f'"{name}"'))
    lab.open(page, f"{name}.ipynb")
    panel(page).locator(".ambo-text").click()
    browser.shows(page, 1, 210)
    page.evaluate(
        """() => {
          const box = document.querySelector(".jp-OutputArea .ambo-message");
          window.told = [];
          new MutationObserver(() => told.push(box.textContent)).observe(box, { childList: true, subtree: true });
        }"""
    )
    page.keyboard.type("12" * 100, delay=pause)
    page.wait_for_timeout(1_500)
    page.wait_for_function("() => !document.querySelector('.ambo-panel[aria-busy]')")
    told = page.evaluate("told.filter((text, i) => text !== told[i - 1])")
    dropped = sum(int(words[1]) for text in told if (words := re.search(r"Too fast: (\d+) key", text)))
    saved = [row["id"] for row in map(json.loads, (lab.folder / name / "anna.jsonl").read_text().splitlines())]
    assert saved and len(saved) + dropped == 200
    assert saved == [f"r{i}" for i in range(len(saved))]


def test_forty_texts_by_keys_and_mouse_over_reload_and_killed_kernel(lab, page):
    lab.notebook("forty.ipynb", PANEL)
    folder = lab.folder / "labels"
    lab.open(page, "forty.ipynb")
    box = panel(page)
    done: list[tuple] = []

    box.locator(".ambo-text").click()
    for i in range(20):  # by keyboard
        shows(page, i + 1)
        page.keyboard.press("21"[i % 2])
        done.append(("label", f"r{i}", ["inclusive", "not_inclusive"][1 - i % 2]))
    shows(page, 21)
    page.keyboard.press("Backspace")  # undo two
    shows(page, 20)
    page.keyboard.press("Backspace")
    shows(page, 19)
    done += [("undo", "r19", None), ("undo", "r18", None)]
    page.keyboard.press("f")
    page.wait_for_selector(".jp-OutputArea button:has-text('Unflag')")
    page.keyboard.press("s")
    shows(page, 20)
    page.keyboard.press("Enter")  # passed over without a label
    shows(page, 21)
    done += [("flag", "r18", None), ("skip", "r18", None)]

    # reload the page: the kernel lives, the cell is run again
    lab.open(page, "forty.ipynb")
    box = panel(page)
    shows(page, 20)  # the one that was passed over comes first
    for i in range(19, 39):  # by mouse
        shows(page, i + 1)
        if i == 21:  # a phrase behind an emoji of three characters
            browser.mark(page, "giovane")
        box.locator(".ambo-answer button").nth(i % 2).click()
        done.append(("label", f"r{i}", ["inclusive", "not_inclusive"][i % 2]))
    shows(page, 40)
    box.locator("button:has-text('Undo')").click()
    shows(page, 39)
    done.append(("undo", "r38", None))
    note = box.locator("input[placeholder='note on this text']")
    note.click()
    page.keyboard.type("1 s f ? hm")  # keys in a field are text
    page.keyboard.press("Enter")
    page.keyboard.press("1")
    shows(page, 40)
    done += [("note", "r38", None), ("label", "r38", "inclusive")]

    # kill the kernel in the middle: the panel says so, and what was acknowledged is there
    before = (folder / "anna.jsonl").read_bytes()
    for pid in lab.kernels():
        os.kill(pid, signal.SIGKILL)
    page.keyboard.press("1")
    page.wait_for_selector(".jp-OutputArea .ambo-keys.ambo-error")
    assert (folder / "anna.jsonl").read_bytes() == before
    lab.open(page, "forty.ipynb")
    panel(page).locator(".ambo-text").click()
    shows(page, 40)
    page.keyboard.press("2")
    shows(page, 41)
    done.append(("label", "r39", "not_inclusive"))

    rows = [json.loads(line) for line in (folder / "anna.jsonl").read_text().splitlines()]
    assert [(row["event"], row["id"], row.get("label")) for row in rows] == done
    assert {row["guideline"] for row in rows} == {log.guideline_version("Open to everyone?")}
    marked = next(row for row in rows if row["id"] == "r21" and row["event"] == "label")
    text = "21 Cercasi 👩‍🍳 giovane cuoca per mensa."
    assert [text[start:end] for start, end in marked["spans"]] == ["giovane"]
    assert next(row for row in rows if row["event"] == "note")["text"] == "1 s f ? hm"
    state = log.annotations(folder)["anna"]
    assert len(settled_labels(folder)) == 39 and state["r18"]["skipped"] and state["r18"]["flagged"]


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_keys_reach_neither_jupyter_nor_a_text_that_was_not_seen(lab, page, app):
    if app == "notebook" and not importlib.util.find_spec("notebook"):
        pytest.skip("Notebook 7 is not installed")
    name = f"keys_{app}"
    lab.notebook(f"{name}.ipynb", PANEL.replace('"labels"', f'"{name}"'), "1 + 1")
    lab.open(page, f"{name}.ipynb", app=app)
    assert page.evaluate("() => window.jupyterapp.name") == {"lab": "JupyterLab", "notebook": "Jupyter Notebook"}[app]
    box = panel(page)
    box.locator(".ambo-text").click()
    page.evaluate("() => addEventListener('keydown', (e) => (window.heard = [...(window.heard ?? []), e.key]))")
    for key in ["a", "b", "d", "d", "m", "y", "x", "z", "0", "?"]:  # Jupyter would add, delete and turn cells
        page.keyboard.press(key)
    page.wait_for_selector(".jp-OutputArea .ambo-plain:visible")  # the help
    assert page.evaluate("() => window.heard ?? []") == []  # VS Code listens at the window
    assert page.locator(".jp-CodeCell").count() == 2 and not page.locator(".jp-MarkdownCell").count()
    shows(page, 1)
    box.locator(".ambo-answer button").first.dblclick()
    shows(page, 2)
    page.keyboard.press("1")
    page.keyboard.press("1")  # before the next text could be seen
    shows(page, 3)
    page.wait_for_timeout(400)
    assert len(settled_labels(lab.folder / name)) == 2
    # keyboard only: Tab to a button, press it; then remove evidence
    box.locator("input[placeholder^=evidence]").focus()
    page.keyboard.type("operaio")
    page.keyboard.press("Enter")
    page.wait_for_selector(".jp-OutputArea mark.ambo-evidence")
    page.locator(".jp-OutputArea mark.ambo-evidence").focus()
    page.keyboard.press("Delete")
    page.wait_for_selector(".jp-OutputArea mark.ambo-evidence", state="detached")
    box.locator("button:has-text('Skip')").focus()
    page.keyboard.press("Enter")
    shows(page, 4)
    # with the mouse: mark, label, and take both labels back with the key
    browser.mark(page, "giovane")
    box.locator(".ambo-answer button").nth(1).click()
    shows(page, 5)
    for number in (4, 3):
        page.keyboard.press("Backspace")
        shows(page, number)
    rows = log.events(lab.folder / name)
    assert [row["event"] for row in rows] == ["label", "label", "skip", "label", "undo", "undo"]
    assert rows[3]["label"] == "not_inclusive" and rows[3]["spans"] == [[14, 21]]
    # and outside the panel Jupyter has its keys
    page.locator(".jp-CodeCell .jp-InputPrompt").last.click()
    page.keyboard.press("m")
    page.wait_for_selector(".jp-MarkdownCell")


def test_without_the_module_of_the_keys_the_buttons_do_everything(lab, page):
    from playwright.sync_api import expect

    page.route("**/anywidget/static/**", lambda route: route.abort())
    lab.notebook("no_keys.ipynb", PANEL.replace('"labels"', '"labels_no_keys"'))
    lab.open(page, "no_keys.ipynb")
    box = page.locator(".jp-OutputArea .ambo-panel")
    missing = box.locator(".jupyter-widgets-error-widget")
    missing.wait_for()
    assert "buttons do everything" in missing.evaluate("e => getComputedStyle(e, '::before').content")
    expect(missing).to_have_text("", use_inner_text=True)
    expect(missing).to_have_css("border-top-style", "none")
    for i in range(2):
        box.locator(".ambo-answer button").nth(i).click()
        shows(page, i + 2)
    assert settled_labels(lab.folder / "labels_no_keys") == {"r0": "inclusive", "r1": "not_inclusive"}


FULL = """
import resource, signal
from pathlib import Path
log = Path("labels_full/anna.jsonl")
log.parent.mkdir()
log.write_text(" " * (2_000_000 - 301) + "\\n")  # room for one label: the limit on a file's size stands in for the full disk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
"""


def test_a_full_disk_shows_a_red_banner_and_the_panel_stays(lab, page):
    from playwright.sync_api import expect

    room = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
    lab.notebook(
        "full.ipynb",
        FULL + PANEL.replace('"labels"', '"labels_full"'),
        f"if len(log.read_text()) > 2_000_000 - 300:\n    {room}\n    print('room again')",
    )
    lab.open(page, "full.ipynb")
    box = panel(page)
    box.locator(".ambo-text").click()
    for number in (1, 2, 2, 2):
        shows(page, number)
        page.keyboard.press("1")
    banner = page.locator(".jp-OutputArea .ambo-error[role=alert]").first
    banner.wait_for()
    expect(banner).to_contain_text("NOT saved")
    expect(banner).to_have_css("background-color", "rgb(179, 38, 30)")  # waits: a later refusal draws it anew
    shows(page, 2)
    assert settled_labels(lab.folder / "labels_full") == {"r0": "inclusive"}
    page.locator(".jp-CodeCell .jp-InputArea-editor").last.click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".jp-OutputArea-output:has-text('room again')")
    box.locator(".ambo-answer button").nth(1).click()
    shows(page, 3)
    assert settled_labels(lab.folder / "labels_full") == {"r0": "inclusive", "r1": "not_inclusive"}


def test_a_page_by_keys_with_the_next_texts_chosen_behind_it(lab, page):
    lab.notebook(
        "pages.ipynb",
        """
import time
from helpers.labels.panel import Panel
served = []
def next_batch(new):
    time.sleep(0.8)
    served.append(new)
    return [{"id": f"b{i}", "text": f"next {i}"} for i in range(2)] if len(served) == 1 else []
first = [{"id": f"a{i}", "text": f"first {i}"} for i in range(3)]
Panel(first, ["yes", "no"], folder="labels_pages", annotator="anna", page=3, next_batch=next_batch)
""",
    )
    lab.open(page, "pages.ipynb")
    box = panel(page)
    box.locator(".ambo-text").nth(1).click()  # the second row first
    page.wait_for_selector(".ambo-row:nth-child(2).ambo-now")
    for row, key in ((2, "1"), (3, "2"), (1, "1")):
        page.wait_for_selector(f".jp-OutputArea .ambo-row:nth-child({row}).ambo-now")
        page.keyboard.press(key)
    page.wait_for_selector(".jp-OutputArea .ambo-row:has-text('Choosing the next texts')")
    page.wait_for_selector(".jp-OutputArea .ambo-text:has-text('next 1')")
    for row in (1, 2):
        page.wait_for_selector(f".jp-OutputArea .ambo-row:nth-child({row}).ambo-now")
        page.keyboard.press("2")
    page.wait_for_selector(".jp-OutputArea .ambo-row:has-text('All texts are done')")
    said = {"a1": "yes", "a2": "no", "a0": "yes", "b0": "no", "b1": "no"}
    assert settled_labels(lab.folder / "labels_pages") == said


GUIDED = """
from helpers.labels import panel
kinds = ["Cercasi cuoca per mensa", "Si cerca personale di sala", "Operaio a Monza"]
records = {f"r{i}": {"id": f"r{i}", "text": f"{kinds[i % 3]} {i}."} for i in range(12)}
rounds = [{"picks": list(records), "macro_f1": 0.5, "stop": ""}, {"picks": [], "macro_f1": 0.6, "stop": "Flat."}]
options = {"guideline": "# Who is meant?", "rounds": rounds, "batches": 2, "goes_on": True, "page": PAGE}
panel.show(panel.desk({"anna": list(records)}, records, ["yes", "no"], folder="FOLDER", **options))
"""
PLACES = """() => {
  const panel = document.querySelector(".jp-OutputArea .ambo-panel");
  const at = (part) => part.getBoundingClientRect();
  return [...panel.querySelectorAll("button")].map((b) => [at(b).left - at(panel).left, at(b).top - at(panel).top]);
}"""


SAVES = """() => {
  window.saves = 0;
  const { context } = window.jupyterapp.shell.currentWidget;
  context.saveState.connect((_, state) => (window.saves += state === "completed"));
}"""


def guided(lab, page, name: str, size: int):
    lab.notebook(f"{name}.ipynb", GUIDED.replace("PAGE", str(size)).replace("FOLDER", name))
    lab.open(page, f"{name}.ipynb")
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    box = panel(page)
    page.wait_for_timeout(500)
    return box


@pytest.mark.parametrize("width", [1280, 420])
def test_messages_move_no_button_and_the_notebook_can_be_saved(lab, page, width):
    page.set_viewport_size({"width": width, "height": 1500})
    name = f"guided_{width}"
    box = guided(lab, page, name, 1)
    guideline = box.locator(".ambo-fold").first
    left = {part: box.locator(part).first.bounding_box()["x"] for part in (".ambo-row", ".ambo-fold")}
    assert (left[".ambo-fold"] > left[".ambo-row"] + 100) == (width == 1280)  # beside the text where there is room
    assert (guideline.get_attribute("open") is not None) == (width == 1280)
    box.locator("svg.ambo-curve").wait_for()
    before = page.evaluate(PLACES)
    box.locator("button:has-text('Undo')").click()
    box.locator(".ambo-error:has-text('nothing to undo')").wait_for()
    assert page.evaluate(PLACES) == before
    box.locator("input[placeholder^='note']").fill("unclear")
    page.keyboard.press("Enter")
    box.locator(".ambo-info:has-text('Note saved')").wait_for()
    assert page.evaluate(PLACES) == before
    page.evaluate(SAVES)
    page.keyboard.press("Control+s")
    page.wait_for_function("() => window.saves === 1")
    page.keyboard.press("1")
    page.wait_for_function("() => document.querySelector('.jp-OutputArea .ambo-row').textContent.includes('Text 2 of')")
    assert settled_labels(lab.folder / name) == {"r0": "yes"} and page.locator(".jp-CodeCell").count() == 1
    box.locator("button:has-text('Run all cells again')").click()
    page.wait_for_function(
        "() => document.querySelector('.jp-OutputArea .ambo-row')?.textContent.includes('Text 2 of')"
    )


TURNS = """
from helpers.labels import panel
records = {f"r{i}": {"id": f"r{i}", "text": f"Cercasi cuoca {i}.", "sector": f"health {i}"} for i in range(9)}
rounds = [{"picks": list(records), "macro_f1": 0.5, "stop": ""}]
shown = panel.Panel(records.values(), ["yes", "no"], folder="FOLDER", annotator="anna", rounds=rounds, batches=2,
                    goes_on=True, columns=["sector"], suggestions={i: {"label": "no"} for i in records})
last = {"picks": [], "macro_f1": 0.6, "stop": "The curve is flat. " * 9}
shown.controls.note.on_typed(lambda _: rounds.append(last))  # while a person labels, the next round is measured
shown
"""


@pytest.mark.parametrize("width", [1280, 420])
def test_neither_columns_nor_suggestion_nor_advice_move_a_button(lab, page, width):
    page.set_viewport_size({"width": width, "height": 1500})
    lab.notebook(f"turns_{width}.ipynb", TURNS.replace("FOLDER", f"turns_{width}"))
    lab.open(page, f"turns_{width}.ipynb")
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    box = panel(page)
    page.wait_for_timeout(500)
    page.set_default_timeout(15_000)
    tops = [round(place[1]) for place in page.evaluate(PLACES)]
    for name, what in (("Show columns", "sector: health 0"), ("Show the model", "Suggestion of the model")):
        box.locator(f"button:has-text('{name}')").click()
        box.locator(f".ambo-context:has-text('{what}')").wait_for()
        assert [round(place[1]) for place in page.evaluate(PLACES)] == tops
    box.locator("input[placeholder^='note']").fill("unclear")
    page.keyboard.press("Enter")
    box.locator(".ambo-info:has-text('Note saved')").wait_for()
    box.locator("button:has-text('yes')").first.click()
    box.locator("summary:has-text('You may stop now')").click()
    box.locator(".ambo-stop > div:has-text('The curve is flat.')").wait_for()
    assert [round(place[1]) for place in page.evaluate(PLACES)][1:] == tops[1:]  # the first is the one that has come


IN_SIGHT = """() => {
  const frame = document.querySelector(".jp-WindowedPanel-outer, .jp-Notebook").getBoundingClientRect();
  const row = document.querySelector(".jp-OutputArea .ambo-now").getBoundingClientRect();
  return row.top >= frame.top - 2 && row.bottom <= frame.bottom + 2;
}"""


def test_the_row_that_keys_are_for_stays_in_sight(lab, page):
    page.set_viewport_size({"width": 1280, "height": 700})
    box = guided(lab, page, "long_page", 6)  # rows of more than a window together
    box.locator(".ambo-text").first.click()
    for row in range(2, 7):
        page.keyboard.press("1")
        page.wait_for_selector(f".jp-OutputArea .ambo-row:nth-child({row}).ambo-now")
        page.wait_for_function(IN_SIGHT)
    page.keyboard.press("1")
    page.wait_for_selector(".jp-OutputArea .ambo-row:nth-child(1).ambo-now:has-text('Text 8 of 12')")
    page.wait_for_function(IN_SIGHT)  # of the next page, its first


def test_counts_that_grow_move_no_button(lab, page):
    """A mouse that rests on one answer must not find another one under it: the line of counts wraps where it is narrow."""
    page.set_viewport_size({"width": 420, "height": 1500})
    box = guided(lab, page, "growing", 1)
    box.locator(".ambo-text").first.click()
    top = []
    for number in range(1, 9):
        box.locator(f".ambo-row:has-text('Text {number} of')").wait_for()
        top.append(box.locator("button:has-text('yes')").first.bounding_box()["y"])
        page.wait_for_timeout(200)
        page.keyboard.press("1" if number % 2 else "2")
    assert max(top) - min(top) < 1, top


def test_one_key_labels_the_page(lab, page):
    box = guided(lab, page, "together", 4)
    box.locator(".ambo-text").first.click()
    page.wait_for_timeout(400)
    page.keyboard.press("Shift+Digit2")
    page.keyboard.press("Shift+Digit2")  # before the next page could be seen
    box.locator(".ambo-info:has-text('4 texts labelled no')").wait_for()
    rows = log.events(lab.folder / "together")
    assert [row["id"] for row in rows] == ["r0", "r3", "r6", "r9"] and {row["label"] for row in rows} == {"no"}
    page.keyboard.press("Backspace")
    box.locator(".ambo-info:has-text('of 4 texts')").wait_for()
    assert settled_labels(lab.folder / "together") == {}
    page.wait_for_timeout(400)
    box.locator("button:has-text('All: yes')").dblclick()
    box.locator(".ambo-info:has-text('4 texts labelled yes')").wait_for()
    page.wait_for_timeout(400)
    assert len(settled_labels(lab.folder / "together")) == 4


def hostile_cell(folder: str) -> str:
    """Panels of both kinds whose every text, label, line and guideline would like to run."""
    return f"""
from helpers.labels.panel import Panel
hostile = {HOSTILE!r}
records = [{{"id": f"{{i}}" + text, "text": text, "proposal": text[::-1]}} for i, text in enumerate(hostile)]
common = {{"guideline": "\\n".join(hostile), "context": {{r["id"]: hostile for r in records}},
          "suggestions": {{r["id"]: {{"label": r["text"]}} for r in records}}, "show_suggestions": True}}
first = Panel(records, hostile, folder="{folder}", annotator="anna", **common)
rewrites = Panel(records, folder="{folder}", annotator="cleo", kind="edit", page=3, **common)
display(rewrites, first)
"""


def test_hostile_texts_are_shown_and_never_run(lab, page):
    folder = "labels_hostile"
    lab.notebook(f"{folder}.ipynb", hostile_cell(folder))
    lab.open(page, f"{folder}.ipynb")
    page.locator(".jp-OutputArea .ambo-panel").nth(1).wait_for()
    box = page.locator(".jp-OutputArea .ambo-panel").nth(1)
    assert box.locator(".ambo-text").inner_text() == HOSTILE[0]
    for title in box.locator("summary").all():
        title.click()

    def fill(field: str, text: str) -> None:
        box.locator(f"input[placeholder^='{field}']").fill(text)
        box.locator(f"input[placeholder^='{field}']").blur()

    for i, payload in enumerate(HOSTILE):
        fill("note", payload)
        fill("evidence", payload[:12])
        box.locator("button:has-text('Add')").click()
        box.locator("mark.ambo-evidence").first.wait_for()
        fill("evidence", payload + "?")
        box.locator("button:has-text('Add')").click()
        box.locator(".ambo-error[role=alert]").first.wait_for()
        box.locator(".ambo-answer button").nth(i).click()
        page.wait_for_function(
            "text => ![...document.querySelectorAll('.jp-OutputArea .ambo-panel')][1].textContent.includes(text)",
            arg=f"Text {i + 1} of",
        )
        page.wait_for_timeout(200)
    box.locator("button:has-text('Search')").click()
    box.locator(".widget-select option").nth(4).wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("() => window.ran") is None and page.dialogs == []
    injected = page.locator(".jp-OutputArea .ambo-panel").locator("script, img, iframe, svg, b, a[href^=javascript]")
    assert injected.count() == 0
    assert page.locator(".jp-OutputArea .ambo-panel style").count() == 2  # the sheets of the two panels
    assert box.is_visible()
    written = log.annotations(lab.folder / folder)["anna"]
    assert [state["label"] for state in written.values()] == HOSTILE
    assert [state["note"] for state in written.values()] == HOSTILE
    assert all(state["spans"] == [[0, len(HOSTILE[0][:12])]] for state in written.values())
