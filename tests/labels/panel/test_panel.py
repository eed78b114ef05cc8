"""The labelling panel driven without a browser: what is clicked is what the log says."""

import html
import json
import os
import re
import shutil
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import run
from helpers.env import UserError
from helpers.italian.cues import find_cues, find_notes
from helpers.labels import seats
from helpers.labels.decisions import disagreements
from helpers.labels.exchange import settled_labels
from helpers.labels.log import annotations, events, guideline_version
from helpers.labels.panel import Panel, adjudication_panel, desk, opening, show_next
from helpers.labels.panel.html import differences, markdown, marked, progress, segments
from helpers.labels.panel.kinds import KINDS
from helpers.labels.panel.parts import Row
from helpers.labels.session import Session, find, merge, trim, whole_words
from tests.project import ROOT

YES_NO = ["yes", "no"]
HOSTILE = '<script>window.ran=1</script><img src=x onerror="window.ran=1"> & "q"'


def texts(n: int) -> list[dict]:
    return [{"id": f"r{i}", "text": f"Text number {i} about a nurse."} for i in range(n)]


def log(folder, annotator="anna") -> list[dict]:
    return [row for row in events(folder) if row["annotator"] == annotator]


def short(folder) -> list[tuple]:
    return [(row["event"], row["id"], row.get("label")) for row in log(folder)]


def page_text(panel) -> str:
    """What the current text's picture shows, tags removed."""
    return html.unescape(re.sub(r"<[^>]+>", "", panel.now.text.value + panel.now.hints.value))


def message(panel) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", panel.controls.message.value))


def until(condition, seconds: float = 10.0) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, "timed out"
        time.sleep(0.01)


@pytest.fixture
def make(tmp_path):
    def panel(records, names=YES_NO, **options):
        return Panel(records, names, **({"folder": tmp_path, "annotator": "anna"} | options))

    return panel


# --- kinds -----------------------------------------------------------------------------------------------------------


def test_a_click_labels_and_shows_the_next_text(make, tmp_path):
    panel = make(texts(3), guideline="Look twice.")
    assert "Text 1 of 3" in page_text(panel)
    panel.buttons["yes"].click()
    assert "Text 2 of 3" in page_text(panel)
    panel.buttons["no"].click()
    panel.controls.skip.click()
    assert "All texts are done" in page_text(panel)
    assert short(tmp_path) == [("label", "r0", "yes"), ("label", "r1", "no"), ("skip", "r2", None)]
    first = log(tmp_path)[0]
    assert first["guideline"] == guideline_version("Look twice.") and first["shown"] == [] and first["spans"] == []
    assert first["seconds"] >= 0 and "repeat" not in first
    assert "3 of 3 texts" in panel.controls.progress.value and "1 yes" in panel.controls.progress.value
    assert "1 skipped" in panel.controls.progress.value


def test_a_rewrite_is_accepted_mended_or_rejected(make, tmp_path):
    records = [r | {"text": "Cerchiamo un cuoco.", "proposal": "Cerchiamo un cuoco o una cuoca."} for r in texts(3)]
    panel = make(records, kind="edit", **{"names": ()})
    assert 'class="ambo-added"' in panel.now.text.value
    panel.buttons["accept"].click()
    panel.now.answer.area.value = "Cerchiamo personale di cucina."
    assert 'class="ambo-removed"' in panel.now.text.value
    panel.controls.save.click()
    panel.buttons["reject"].click()
    labels = [row["label"] for row in log(tmp_path)]
    assert labels == ["Cerchiamo un cuoco o una cuoca.", "Cerchiamo personale di cucina.", ""]
    panel.controls.undo.click()
    panel.now.answer.area.value = "Cerchiamo chi cucini."
    panel.buttons["accept"].click()  # what stands in the field, not the proposal
    assert log(tmp_path)[-1]["label"] == "Cerchiamo chi cucini."
    panel.controls.undo.click()
    panel.controls.undo.click()
    assert panel.now.answer.area.value == "Cerchiamo personale di cucina."  # undone, but what was typed is kept


def test_a_page_of_ten(make, tmp_path):
    panel = make(texts(12), page=10)
    assert [row.place for row in panel.rows] == list(range(10))
    panel.rows[4].answer.buttons["no"].click()
    assert panel.now is panel.rows[5]
    assert panel.controls.message is panel.rows[5].message  # banners stand there
    for i in (0, 1, 2, 3, 5, 6, 7, 8, 9):
        panel.rows[i].answer.buttons["yes"].click()
    assert [row.place for row in panel.rows[:3]] == [10, 11, None]
    panel.controls.undo.click()  # back to the page before
    assert panel.now.place == 9 and [row.place for row in panel.rows[:3]] == [9, 10, 11]
    assert short(tmp_path)[0] == ("label", "r4", "no") and short(tmp_path)[-1][0] == "undo"


def test_a_page_without_a_kernel_names_the_panel_and_not_its_parts(make, tmp_path):
    rows = {r["id"]: r for r in texts(2)}
    for shown in (make(texts(1)), desk({"anna": ["r0"], "bea": ["r1"]}, rows, YES_NO, folder=tmp_path)):
        assert repr(shown) == "(the labelling panel)"


def test_one_key_labels_a_page_of_similar_texts_and_one_undo_takes_it_back(make, tmp_path):
    kinds = ["Cercasi cuoca per mensa", "Si cerca personale di sala", "Operaio a Monza con patente"]
    records = [{"id": f"r{i}", "text": f"{kinds[i % 3]} {i}."} for i in range(12)]
    panel = make(records, page=4)
    assert [row.place for row in panel.rows] == [0, 3, 6, 9]  # not 0 to 3
    panel.rows[1].answer.buttons["no"].click()
    panel.controls.together[0].click()
    own = [(row["event"], row["id"], row["label"]) for row in log(tmp_path)]
    assert own == [("label", "r3", "no"), *(("label", f"r{i}", "yes") for i in (0, 6, 9))]
    tokens = [row.get("together") for row in log(tmp_path)]
    assert tokens[0] is None and tokens[1] and len(set(tokens[1:])) == 1
    assert message(panel).startswith("3 texts labelled yes") and panel.rows[0].place == 10
    panel.controls.undo.click()
    assert settled_labels(tmp_path) == {"r3": "no"} and "of 3 texts" in message(panel)
    assert {row.place for row in panel.rows} >= {0, 6, 9}
    panel._from_browser(None, {"do": "all", "start": 1, "serial": panel.layer.serial}, None)  # Shift and 2
    assert {settled_labels(tmp_path)[i] for i in ("r0", "r6", "r9")} == {"no"}


def test_buttons_for_a_whole_page_rest_while_nothing_on_it_is_open(make):
    panel = make(texts(4), page=2)
    button = panel.controls.together[0]
    assert not button.disabled
    for row in panel.rows:
        row.answer.buttons["no"].click()
    assert not button.disabled  # the next page
    button.click()
    assert button.disabled and "All texts are done" in page_text(panel)
    panel.controls.undo.click()
    assert not button.disabled


def test_similar_texts_by_embeddings_where_there_are_some(make):
    vectors = {f"Text number {i} about a nurse.": [1.0, i % 2] for i in range(8)}
    panel = make(texts(8), page=4, embed=lambda names: np.array([vectors[name] for name in names]))
    assert [row.place for row in panel.rows] == [0, 2, 4, 6]


# --- undo, resume, repeats -------------------------------------------------------------------------------------------


def test_undo_of_any_depth_also_over_a_restart(make, tmp_path):
    panel = make(texts(5))
    for label in ("yes", "no", "yes"):
        panel.buttons[label].click()
    panel.controls.flag.click()
    panel.controls.note.value = "unclear"
    panel = make(texts(5))
    assert panel.now.place == 3 and panel.controls.note.value == "unclear"
    assert panel.controls.flag.description == "⚑ Unflag"
    messages = []
    for _ in range(5):
        panel.controls.undo.click()
        messages.append(message(panel))
    assert messages == [f"Taken back: {what}." for what in ("note", "flag", "label yes", "label no", "label yes")]
    assert panel.now.place == 0 and panel.session.done == 0 and not panel.session.counts.total()
    panel.controls.undo.click()
    assert "nothing to undo" in message(panel)
    assert annotations(tmp_path) == {}


def test_a_new_label_on_a_done_text_and_its_undo(make, tmp_path):
    panel = make(texts(3))
    panel.buttons["yes"].click()
    panel.go_to(0)
    assert panel.buttons["yes"].description.startswith("✓") and "now: yes" in page_text(panel)
    panel.buttons["no"].click()
    assert panel.now.place == 1 and settled_labels(tmp_path) == {"r0": "no"}
    panel.controls.undo.click()
    assert panel.now.place == 0 and settled_labels(tmp_path) == {"r0": "yes"}
    before = len(log(tmp_path))
    panel.controls.save.click()  # Next on a text that is done changes nothing
    assert len(log(tmp_path)) == before and panel.now.place == 1


def test_next_passes_over_a_text_that_comes_again_at_the_end(make, tmp_path):
    panel = make(texts(2))
    panel.controls.save.click()
    panel.buttons["yes"].click()
    assert panel.now.place == 0 and not panel.session.answer(0)


def test_search_and_jump_back(make):
    panel = make(texts(30))
    panel.buttons["yes"].click()
    panel.search.query.value = "NUMBER 2"
    panel.search.button.click()
    assert [place for _, place in panel.search.results.options] == [2, *range(20, 30)]
    panel.search.results.value = 22
    assert panel.now.place == 22
    panel.search.query.value = ""
    panel.search.button.click()
    assert [text for text, _ in panel.search.results.options] == ["1 · yes · Text number 0 about a nurse."]
    panel.search.query.value = "NÙMBER 2"  # whatever the accents, of the text or of the words
    panel.search.button.click()
    assert len(panel.search.results.options) == 11
    panel.search.query.value = "zebra"
    panel.search.button.click()
    assert message(panel) == "No text contains “zebra”."


def test_a_record_given_twice_is_a_blind_repeat(make, tmp_path):
    records = texts(2)
    panel = make([*records, records[0]])
    panel.buttons["yes"].click()
    panel.buttons["yes"].click()
    assert "second time" in page_text(panel) and "now:" not in page_text(panel)
    panel.buttons["no"].click()
    assert log(tmp_path)[-1]["repeat"] is True
    assert annotations(tmp_path)["anna"]["r0"]["repeats"] == ["no"]
    panel = make([*records, records[0]])
    assert panel.session.open == 0 and panel.session.answer(0)["label"] == "yes"
    panel.controls.undo.click()
    assert panel.now.place == 2 and panel.session.answer(0)["label"] == "yes"
    with pytest.raises(UserError, match="a third time"):
        make([records[0]] * 3)


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.sampled_from(["yes", "no", "skip", "flag", "undo", "next", "jump"]), max_size=25))
def test_any_session_replays_to_what_the_panel_shows(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("labels")
    session = Session(texts(4), folder, "anna")
    place = 0
    for step in steps:
        if step == "undo":
            session.undo()
        elif step in YES_NO:
            session.write("label", place, label=step)
        elif step in ("skip", "flag"):
            session.write(step, place)
        place = (place + 1) % 4
    again = Session(texts(4), folder, "anna")
    assert (again.done, +again.counts, again.skipped) == (session.done, +session.counts, session.skipped)
    state = annotations(folder).get("anna", {})
    for i in range(4):
        assert again.answer(i) == session.answer(i) and again.flagged(i) == session.flagged(i)
        logged = state.get(f"r{i}", {"label": None, "skipped": False, "flagged": False})
        answer = again.answer(i) or {"event": None}
        assert logged["label"] == answer.get("label") and logged["flagged"] == again.flagged(i)
        assert logged["skipped"] == (answer["event"] == "skip")


def test_a_batch_that_arrives_in_an_empty_list_is_counted_with_its_labels(tmp_path):
    Session(texts(2), tmp_path, "anna").write("label", 0, label="yes")
    session = Session([], tmp_path, "anna")
    session.add(texts(2))
    assert (session.done, session.open, session.next_open()) == (1, 1, [1])


# --- a second look ---


def listed(panel, kind: str) -> list[int]:
    panel.search.kind.value = kind
    return [place for _, place in panel.search.results.options]


def test_lists_for_a_second_look_follow_the_labels(make):
    hints = {f"r{i}": {"label": "yes", "confidence": 0.69 - i / 20} for i in range(4)}
    panel = make(texts(6), suggestions=hints)
    for label in ("yes", "no", "no"):
        panel.buttons[label].click()
    panel.controls.flag.click()
    panel.controls.skip.click()
    assert listed(panel, "flagged") == [3] == listed(panel, "skipped")
    assert listed(panel, "class yes") == [0] and listed(panel, "class no") == [2, 1]
    assert listed(panel, "doubtful") == [3, 2]  # the least sure first
    assert ("confidence of the model below 60%", "doubtful") in panel.search.kind.options
    of_five = make(texts(6), list("abcde"), suggestions=hints)  # .2 would be chance
    assert ("confidence of the model below 36%", "doubtful") in of_five.search.kind.options
    assert listed(panel, "disagrees") == [2, 1]
    assert "Suggestion" not in page_text(panel)
    panel.search.results.value = 1
    assert "Suggestion of the model: yes" in page_text(panel)  # to be in this list says as much
    panel.buttons["yes"].click()
    assert [place for _, place in panel.search.results.options] == [2]
    assert log(panel.session.folder)[-1]["shown"] == ["model:yes"]
    panel.search.kind.value = ""
    panel.search.query.value = "number 4"
    panel.search.button.click()
    assert panel.search.results.options[0][0].startswith("5 · open")
    panel.go_to(4)
    panel.buttons["no"].click()
    assert panel.search.results.options[0][0].startswith("5 · no")
    panel.search.kind.value = "skipped"
    panel.search.query.value = "zebra"
    panel.search.button.click()
    assert message(panel) == "No text of this list contains “zebra”."


def test_columns_are_shown_on_request_and_recorded(make, tmp_path):
    panel = make([r | {"sector": "<b>health", "label": "yes"} for r in texts(2)], columns=["sector"])
    assert "health" not in page_text(panel)
    panel.controls.columns.click()
    assert "sector: <b>health" in page_text(panel) and "<b>" not in panel.now.hints.value
    panel.buttons["no"].click()
    assert log(tmp_path)[0]["shown"] == ["columns"]


def test_classes_are_named_as_people_read_them(make, tmp_path):
    panel = make(texts(3), label_names=["Open to all", "Shuts out"], label_help=["No one is left out.", "Somebody is."])
    assert [b.description for b in panel.buttons.values()] == ["1  Open to all", "2  Shuts out"]
    assert "<strong>Shuts out</strong><br>Somebody is." in panel.controls.folds[0].value
    panel.buttons["no"].click()
    assert log(tmp_path)[0]["label"] == "no" and "1 Shuts out" in panel.controls.progress.value
    panel.controls.undo.click()
    assert message(panel) == "Taken back: label Shuts out."
    assert [b.description for b in make(texts(1), ["ok", "not_ok"]).buttons.values()] == ["1  ok", "2  not ok"]
    with pytest.raises(UserError, match=r"label_names=.* needs one for each of"):
        make(texts(1), label_names=["one"])


# --- evidence and suggestions ----------------------------------------------------------------------------------------


def test_evidence_typed_accepted_and_removed(make, tmp_path):
    text = "👩‍🍳 Cercasi 👨‍💼 giovane segretaria di bella presenza, segretaria."
    panel = make([{"id": "a", "text": text}, {"id": "b", "text": "x"}], cues=find_cues)
    panel.evidence.phrase.value = "SEGRETARIA"
    panel.evidence.add.click()
    panel.evidence.phrase.value = "segretaria"
    panel.evidence.add.click()
    panel.evidence.phrase.value = "segretaria"
    panel.evidence.add.click()
    assert "marked already" in message(panel)
    assert [text[s:e] for s, e in panel.now.spans] == ["segretaria", "segretaria"]
    panel.evidence.phrase.value = ""
    panel.evidence.remove.click()
    assert [text[s:e] for s, e in panel.now.spans] == ["segretaria"]
    panel.evidence.cues.click()
    cues = {(cue.start, cue.end) for cue in find_cues(text)}
    assert cues and all(any(s <= a and b <= e for s, e in panel.now.spans) for a, b in cues)
    spans = panel.now.spans
    panel.buttons["yes"].click()
    assert log(tmp_path)[0]["spans"] == spans and log(tmp_path)[0]["shown"] == ["cues"]
    panel.controls.undo.click()
    assert panel.now.spans == spans  # undone, but what was marked stays
    panel.buttons["no"].click()
    panel.go_to(0)
    panel.evidence.mark(0, 3)
    assert annotations(tmp_path)["anna"]["a"]["spans"][0] == [0, 3]  # on a done text it is saved at once


def test_forms_for_people_outside_the_scope_are_marked_more_lightly_and_are_no_evidence(make):
    text = "Un addetto per i clienti."
    panel = make([{"id": "a", "text": text}], cues=find_cues, notes=find_notes)
    page = panel.now.text.value
    assert 'class="ambo-cue"' in page and 'class="ambo-aside" data-at="15"' in page and "no finding" in page
    panel.evidence.cues.click()
    assert panel.now.spans == [[0, 10]]


def test_the_mouse_marks_whole_words_and_a_skip_keeps_them(make, tmp_path):
    panel = make(texts(3))
    panel._from_browser(None, {"do": "mark", "start": 7, "end": 16, "serial": panel.layer.serial}, None)
    assert panel.now.spans == [[5, 19]] and panel.now.record["text"][5:19] == "number 0 about"
    panel.controls.skip.click()
    panel.go_to(0)
    assert panel.now.spans == [[5, 19]] and annotations(tmp_path)["anna"]["r0"]["spans"] == []
    panel.buttons["yes"].click()
    assert annotations(tmp_path)["anna"]["r0"]["spans"] == [[5, 19]]
    assert whole_words("l'operaia", 3, 5) == [2, 9] and whole_words("a  b", 1, 3) is None


def test_a_saved_note_says_so(make):
    panel = make(texts(2))
    panel.controls.note.value = "unclear"
    assert message(panel) == "Note saved."


def test_suggestions_are_hidden_until_asked_for_and_recorded(make, tmp_path):
    hints = {f"r{i}": {"label": "yes"} for i in range(3)}
    panel = make(texts(3), suggestions=hints)
    assert "Suggestion" not in page_text(panel)
    panel.buttons["no"].click()
    panel.controls.reveal.click()
    assert "Suggestion of the model: yes" in page_text(panel)
    panel.controls.reveal.click()
    panel.buttons["no"].click()  # hidden again, but it was seen
    panel.buttons["no"].click()
    assert [row["shown"] for row in log(tmp_path)] == [[], ["model:yes"], []]


def test_a_suggestion_names_the_kinds_it_sees(make):
    hints = {"r0": {"label": "yes", "kinds": "family_status; <b>age"}, "r1": {"label": "no", "kinds": ""}}
    panel = make(texts(2), suggestions=hints, show_suggestions=True)
    assert "Suggestion of the model: yes (family status; <b>age)" in page_text(panel)
    panel.buttons["no"].click()
    assert "Suggestion of the model: no" in page_text(panel) and "model: no (" not in page_text(panel)


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.sampled_from("ab <>&\"'\r\n\0é👩‍🍳"), max_size=20),
    spans=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4),
)
def test_marked_html_shows_exactly_the_text(text, spans):
    marks = [(min(s), max(s), kind) for s, kind in zip(spans, ["evidence", "cue", "removed", "added"], strict=False)]
    shown = re.sub(r"<mark [^>]*>|</mark>", "", marked(text, marks))
    assert "<" not in shown and html.unescape(shown.replace("&#13;", "\r")) == text.replace("\0", "\ufffd")
    for start, piece, _ in segments(text, marks):
        assert text[start : start + len(piece)] == piece
    merged = merge([list(span) for span in [(min(s), max(s)) for s in spans]])
    assert all(a[1] < b[0] for a, b in pairwise(merged))


@settings(max_examples=60, deadline=None)
@given(
    old=st.lists(st.sampled_from(["a", "b", "c", ",", "d"])), new=st.lists(st.sampled_from(["a", "b", "c", ",", "d"]))
)
def test_word_differences_leave_the_same_words_on_both_sides(old, new):
    texts = " ".join(old), " ".join(new)
    unmarked = [
        "".join(p for _, p, kinds in segments(text, marks) if not kinds).split()
        for text, marks in zip(texts, differences(*texts), strict=True)
    ]
    assert unmarked[0] == unmarked[1]


def test_evidence_is_one_stop_of_the_tab_key_however_cues_cut_it():
    shown = marked("Operaio <esperto> cercasi", [(0, 17, "evidence"), (3, 7, "cue")])
    assert shown.count("ambo-evidence") == 3
    assert shown.count("tabindex") == 1 == shown.count('aria-label="Remove evidence Operaio &lt;esperto&gt;"')


def test_spans_of_a_text():
    assert trim(" ab ", 0, 4) == [1, 3] and trim("   ", 0, 3) is None and trim("ab", -5, 99) == [0, 2]
    assert find("Straße STRASSE x", "strasse", []) == 7 and find("aa", "a", [[0, 1]]) == 1 and find("b", "a", []) == -1


def test_everything_is_escaped(make):
    panel = make([{"id": HOSTILE, "text": HOSTILE}], [HOSTILE, "b"], guideline=HOSTILE, context={HOSTILE: [HOSTILE]})
    panel.evidence.phrase.value = HOSTILE
    panel.evidence.add.click()
    panel.evidence.phrase.value = f"{HOSTILE}?"
    panel.evidence.add.click()
    guideline = panel.controls.folds[0].value
    shown = [panel.now.text.value, panel.now.hints.value, panel.controls.message.value, guideline]
    panel.buttons[HOSTILE].click()
    shown += [panel.controls.progress.value]
    for piece in shown:
        assert "&lt;script&gt;" in piece and "<script" not in piece and "<img" not in piece


def test_a_guideline_is_read_as_markdown_without_its_links_and_markup():
    shown = markdown("# A\n\n| w | l |\n| --- | --- |\n| *x* | b |\n\n![p](q.png) [l](javascript:a) <b>t</b>")
    assert "<h1>A</h1>" in shown and "<td><em>x</em></td>" in shown
    assert "<img" not in shown and "<a" not in shown and "&lt;b&gt;t" in shown


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_refusing_disk_shows_it_and_stays_on_the_text(make, tmp_path):
    folder = tmp_path / "labels"
    panel = make(texts(2), folder=folder)
    panel.buttons["yes"].click()
    shutil.rmtree(folder)
    folder.write_text("a file where the folder should be")
    for act in (panel.buttons["yes"], panel.controls.skip, panel.controls.flag):
        act.click()
        assert "NOT saved" in message(panel) and 'role="alert"' in panel.controls.message.value
        assert panel.now.place == 1 and not panel.buttons["yes"].description.startswith("✓")
    folder.unlink()
    panel.buttons["no"].click()
    assert message(panel) == "" and [row["label"] for row in log(folder)] == ["no"]


def test_the_same_text_in_two_windows(make, tmp_path):
    one, two = make(texts(3)), make(texts(3))
    one.buttons["yes"].click()
    two.buttons["no"].click()
    assert "answered in another window too (yes)" in message(two)
    assert settled_labels(tmp_path) == {"r0": "no"} and +two.session.counts == {"no": 1}
    two.controls.undo.click()
    assert settled_labels(tmp_path) == {"r0": "yes"}
    one.buttons["no"].click()
    assert +one.session.counts == {"yes": 1, "no": 1}


def test_a_class_that_was_removed(make, tmp_path):
    make(texts(2), ["yes", "maybe"]).buttons["maybe"].click()
    panel = make(texts(2), YES_NO)
    assert "1 label in the log fits no class" in message(panel) and panel.now.place == 0 and panel.session.done == 0
    panel.buttons["yes"].click()
    assert panel.session.done == 1 and panel.session.misfits == 0


def test_texts_that_left_the_list_and_labels_of_another_task(make, tmp_path):
    panel = make(texts(3))
    for _ in range(2):
        panel.buttons["yes"].click()
    panel.controls.flag.click()  # a flag is no label
    panel = make(texts(1))  # r1 vanished from the pool
    assert message(panel).startswith("In the log of anna but not in this list: 1 text (") and panel.session.done == 1
    other = make([{"id": "q", "text": "of another task"}])
    assert "not in this list: 2 texts (another batch" in message(other) and other.session.done == 0
    other.buttons["no"].click()
    assert message(other) == "" and settled_labels(tmp_path) == {"r0": "yes", "r1": "yes", "q": "no"}
    assert message(make([*texts(3), {"id": "q", "text": "again"}])) == ""


def test_labels_of_before_that_are_used_do_not_look_lost(make):
    panel = make(texts(6))
    for _ in range(3):
        panel.buttons["yes"].click()
    panel = make(texts(6)[3:], kept={"r0", "r1", "r2"}, batches=2)  # chosen anew
    assert message(panel) == "" and panel.session.done == 0
    assert "3 labels of before are kept and used" in panel.controls.progress.value
    assert "0 of 3 new texts" in panel.controls.progress.value
    panel = make(texts(6)[3:], kept={"r0"})
    assert (
        "not in this list: 2 texts" in message(panel) and "1 label of before is kept" in panel.controls.progress.value
    )


def test_a_read_only_folder_shows_it_at_the_first_click(make, tmp_path):
    tmp_path.chmod(0o500)
    panel = make(texts(2), folder=tmp_path if os.geteuid() else "/proc")  # root may write anywhere but there
    panel.buttons["yes"].click()
    assert "NOT saved" in message(panel) and 'role="alert"' in panel.controls.message.value
    assert panel.now.place == 0 and panel.session.done == 0


def test_a_clock_that_jumps_back_changes_neither_order_nor_pace(make, tmp_path, monkeypatch):
    panel = make(texts(3))
    panel.buttons["yes"].click()
    monkeypatch.setattr(time, "time", lambda: 1.0)  # 1970
    panel.go_to(0)
    panel.buttons["no"].click()
    panel.buttons["yes"].click()
    assert log(tmp_path)[1]["time"] == 1.0 and all(row["seconds"] >= 0 for row in log(tmp_path))
    again = make(texts(3))
    assert settled_labels(tmp_path) == {"r0": "no", "r1": "yes"} and again.now.place == 2
    again.controls.undo.click()
    again.controls.undo.click()
    assert settled_labels(tmp_path) == {"r0": "yes"}


def test_wrong_parameters_say_what_to_do(make):
    for options, words in [
        ({"page": 0}, "page=0"),
        ({"names": ["a", "a"]}, "all different"),
        ({"names": []}, "one or more"),
        ({"records": [{"id": 1, "text": "x"}]}, "Row 1 of records is no dict with texts"),
        ({"records": [{"id": "1", "text": None}]}, "Row 1 of records is no dict"),
        ({"records": ["x"]}, "Row 1 of records is no dict"),
        ({"annotator": "../anna"}, "Annotator"),
        ({"annotator": "Adjudicator"}, "only the adjudication panel may"),
        ({"annotator": "teacher"}, "name of a machine"),
    ]:
        with pytest.raises(UserError, match=words):
            make(**({"records": []} | options))
    assert "All texts are done" in page_text(make([]))


# --- adjudication ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_no_use_in_a_log_stop_no_panel(tmp_path, kind):
    odd = [{"seconds": "abc"}, {"seconds": 1e-300}, {"spans": "<img src=x>"}, {"spans": [[0, "z"], 5]}]
    odd += [{"spans": [[0, 10**30]]}, {"shown": 3}, {"reason": {"x": 1}}, {"label": {"a": 1}}, {"label": ["x"]}]
    odd += [{"label": 1e400}, {"label": "half \ud83d"}, {"event": "note", "text": {"x": 1}}, {"repeat": "yes"}]
    rows = [row | {"proposal": ""} for row in texts(len(odd))]
    for name in ("eve", "bob"):
        events = [
            {"event": "label", "id": row["id"], "label": name, "time": 1, "annotator": name} | facts
            for row, facts in zip(rows, odd, strict=True)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    panel = desk(
        {"eve": [row["id"] for row in rows]}, {row["id"]: row for row in rows}, ["eve"], folder=tmp_path, kind=kind
    )
    for place in range(len(rows)):
        panel.go_to(place)
    assert len(panel.controls.progress.value) < 1000
    differing = disagreements(annotations(tmp_path), rows)
    assert len(differing) > 5
    panel = adjudication_panel(differing, ["eve", "bob"], folder=tmp_path)
    for place in range(len(differing)):
        panel.go_to(place)
    panel.controls.reason.value = "rule 1"
    panel.buttons["bob"].click()
    assert [row["label"] for row in log(tmp_path, "adjudicator")] == ["bob"]


def test_adjudication_needs_a_reason(tmp_path):
    rows = [
        {
            "id": f"r{i}",
            "text": "Cercasi segretaria.",
            "labels": {"anna": "yes", "bruno": "no"},
            "notes": {"anna": "the <b>noun</b>"},
            "spans": {"anna": [[8, 18]]},
        }
        for i in range(2)
    ]
    named = adjudication_panel(rows, YES_NO, folder=tmp_path, label_names=["Open", "Shut"])
    assert "anna: Open · evidence" in page_text(named)
    panel = adjudication_panel(rows, YES_NO, folder=tmp_path)
    assert "anna: yes · evidence “segretaria” · note: the <b>noun</b>" in page_text(panel)
    assert "bruno: no" in page_text(panel)
    panel.buttons["yes"].click()
    assert "needs a reason" in message(panel) and not log(tmp_path, "adjudicator")
    panel.controls.reason.value = "feminine only"
    panel.controls.save.click()
    decided = log(tmp_path, "adjudicator")[0]
    assert decided["label"] == "yes" and decided["reason"] == "feminine only" and panel.controls.reason.value == ""
    assert settled_labels(tmp_path) == {"r0": "yes"}
    assert message(adjudication_panel(rows[1:], YES_NO, folder=tmp_path)) == ""  # what is settled has left the list


# --- continuous labelling --------------------------------------------------------------------------------------------


def test_the_probe_retrains_and_serves_the_next_batch(make, tmp_path):
    """Its speed is measured by `python -m tests.benchmarks.panel`."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 5000)
    embeddings = rng.normal(size=(5000, 64)) + truth[:, None]
    pool = texts(5000)
    known: dict[int, int] = {0: int(truth[0]), 1: 1 - int(truth[0])}
    rounds = []

    def next_batch(new: dict[str, str]) -> list[dict]:
        rounds.append(new)
        known.update({int(record[1:]): YES_NO.index(label) for record, label in new.items()})
        model = LogisticRegression().fit(embeddings[list(known)], list(known.values()))
        doubt = np.abs(model.predict_proba(embeddings)[:, 1] - 0.5)
        doubt[list(known)] = 1
        return [pool[i] for i in np.argsort(doubt)[:10]]

    panel = make([], next_batch=next_batch)

    def is_shown() -> bool:
        with panel.lock:  # a batch that arrives is shown under it
            return panel.now.place is not None

    for _ in range(40):
        until(is_shown)
        panel.buttons[YES_NO[truth[int(panel.now.record["id"][1:])]]].click()
    until(lambda: not panel.feeder.busy)
    events = log(tmp_path)
    assert len(events) == 40 and len({row["id"] for row in events}) == 40
    assert len(rounds) >= 4 and {i for new in rounds for i in new} <= {row["id"] for row in events}


def test_the_last_labels_reach_the_learner_and_the_panel_ends(make):
    calls = []

    def next_batch(new):
        calls.append(new)
        return texts(12)[10:] if len(calls) == 1 else []

    panel = make(texts(10), next_batch=next_batch)
    while panel.now.place is not None or panel.feeder.busy:
        if panel.now.place is not None:
            panel.buttons["yes"].click()
    assert panel.session.done == 12 and "All texts are done" in page_text(panel)
    assert sorted(k for new in calls for k in new) == sorted(r["id"] for r in texts(12))


def test_an_error_of_the_learner_is_shown_and_next_tries_again(make):
    calls = []

    def next_batch(new):
        calls.append(new)
        if len(calls) == 1:
            raise RuntimeError("out of <memory>")
        return texts(3)[2:]

    panel = make(texts(2), next_batch=next_batch)
    panel.buttons["yes"].click()
    panel.buttons["no"].click()
    until(lambda: not panel.feeder.busy and "asks for more" in page_text(panel))
    assert "RuntimeError: out of <memory>" in message(panel) and "<memory>" not in panel.controls.message.value
    panel.controls.save.click()
    until(lambda: panel.now.place is not None)
    assert panel.now.record["id"] == "r2" and calls[1] == {"r0": "yes", "r1": "no"}


def test_where_one_is_and_when_to_stop(make):
    rounds = [
        {"picks": ["r0", "r1"], "macro_f1": 0.5, "stop": ""},
        {"picks": ["r2", "r3"], "macro_f1": 0.61, "stop": ""},
    ]
    panel = make(texts(4), rounds=rounds, batches=3, goes_on=True, validation_rows=12)
    assert "Batch 1 of 3" in panel.controls.progress.value
    measured = "macro-F1 on 12 validation rows"
    assert f"<span>{measured}: 0.500 → 0.610</span>" in panel.controls.progress.value
    assert f"<title>{measured}, after each round: 0.500, 0.610</title>" in panel.controls.progress.value
    assert panel.controls.progress.value.count("<polyline") == 1 and "stop" not in panel.controls.progress.value
    for _ in range(2):
        panel.buttons["yes"].click()
    assert "Batch 2 of 3" in panel.controls.progress.value and panel.controls.again.layout.display == "none"
    rounds[-1]["advice"] = "The curve is flat."  # though the rule of the run is to spend the budget
    panel.buttons["yes"].click()
    assert "You may stop now: why?" in panel.controls.advice.value
    assert "The curve is flat. To stop, set rounds = 1 in the" in panel.controls.advice.value
    assert panel.controls.again.layout.display == "none"  # all cells run again would ask for the same batch
    rounds.append({"picks": [], "macro_f1": 0.61, "stop": "Nothing <was> gained."})
    panel.buttons["yes"].click()
    assert "Nothing &lt;was&gt; gained." in panel.controls.advice.value
    assert panel.controls.again.layout.display is None
    panel.buttons["yes"].click()
    assert "Run all cells again, or give the same ambo run command again" in page_text(panel)
    assert panel.controls.stay in panel.controls.go_on.children and "Your labels are saved" in panel.controls.stay.value
    panel.controls.again.click()  # where the front end has no such button
    assert "Run ▸ Run All Cells" in message(panel)


@pytest.mark.parametrize(
    ("row", "words"),
    [({"compliance": 0.5}, "share that complies on 1 validation row: 0.500"), ({}, "")],
)
def test_a_score_is_named(make, row, words):
    panel = make(texts(2), rounds=[{"picks": ["r0"], **row}], batches=2, validation_rows=1)
    assert words in panel.controls.progress.value and ("complies" in panel.controls.progress.value) == bool(words)


@pytest.mark.parametrize(("count", "kind"), [(66, "class yes"), (250, "class yes"), (250, "all"), (1, "class yes")])
def test_a_list_says_how_many_texts_it_has_and_which_are_cut(make, count, kind):
    records = [r | {"text": r["text"] + (" It goes on." * 9 if i == 0 else "")} for i, r in enumerate(texts(count))]
    panel = make(records)
    for _ in records:
        panel.buttons["yes"].click()
    panel.search.kind.value = "" if kind == "all" else kind
    panel.search.query.value = "number" if kind == "all" else ""
    panel.search.button.click()
    options = panel.search.results.options
    assert len(options) == min(count, 200)
    assert (
        f"{count} text{'s' * (count > 1)}" + ", of which the first 200 are listed" * (count > 200)
    ) in panel.search.count.value
    assert next(text for text, place in options if place == 0).endswith("…") if kind == "all" or count <= 200 else True
    assert not any(text.endswith("…") for text, place in options if place)
    panel.search.query.value = "zebra"
    panel.search.button.click()
    assert not panel.search.count.value


@pytest.mark.parametrize(
    ("stage", "kind", "following"),
    [
        ("01_seed_curation", "classification", "02_synthetic_expansion"),
        ("01_seed_curation", "generation", "03_active_generation"),
        ("03_active_learning", None, "04_bias_evaluation"),
        ("03_active_generation", None, "04_generation_evaluation"),
    ],
)
def test_what_comes_next_is_a_link_or_the_command_that_stopped_here(tmp_path, monkeypatch, stage, kind, following):
    shown = []
    monkeypatch.setattr(opening, "display", lambda page: shown.append(page.data))
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    folder = tmp_path / "outputs/t/r" / stage
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)  # where JupyterLab runs a page of the outputs
    here = run.Run(stage, {"task": "t", "run_id": "<r>"} | ({"kind": kind} if kind else {}), folder)
    show_next(here)
    assert f'<a href="../../../../notebooks/{following}.ipynb">{following}.ipynb</a>' in shown[0]
    assert "Done:" in shown[0] and "task = &#x27;t&#x27; and run_id = &#x27;&lt;r&gt;&#x27;" in shown[0]
    here.note(command="ambo run --task t -p labels '[<b>, c]' --run-id r")
    show_next(here)
    assert (
        "give this command again: <code>ambo run --task t -p labels &#x27;[&lt;b&gt;, c]&#x27; --run-id r</code>"
        in shown[1]
    )
    show_next(here, disputed=2)
    assert "Done:" not in shown[2] and "2 texts are left out until somebody decides, in the panel above" in shown[2]


@pytest.mark.parametrize("page", [1, 10])
def test_a_pace_is_that_of_several_labels_and_the_same_by_page(make, tmp_path, monkeypatch, page):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    panel = make(texts(40), page=page)
    for number in range(1, 11):
        now[0] += 3.0
        if page == 1:
            panel.buttons["yes"].click()
            said = "a minute" in panel.controls.progress.value
            assert said == (number >= 5) == ("left" in panel.controls.progress.value)
    if page > 1:
        panel.rows[0].answer.buttons["no"].click()  # 30 seconds for the first, 9 for each of the others
        now[0] += 81.0
        panel.controls.together[0].click()
        assert [row["seconds"] for row in log(tmp_path)] == [30.0, *[9.0] * 9]
    assert ("7 a minute" if page > 1 else "20 a minute") in panel.controls.progress.value


def test_twenty_thousand_texts_take_the_work_of_one(make, tmp_path, monkeypatch):
    """What is looked at and drawn does not grow with the list: counted, not timed."""
    counts = {"asked": 0, "drawn": 0, "cues": 0}

    def counting(holder, name, count):
        original = getattr(holder, name)

        def counted(*args, **options):
            counts[count] += 1
            return original(*args, **options)

        monkeypatch.setattr(holder, name, counted)

    counting(Session, "answer", "asked")
    counting(Row, "draw", "drawn")

    def no_cues(text):
        counts["cues"] += 1
        return []

    many = texts(20_000)
    hints = {r["id"]: {"label": "yes", "confidence": 0.5} for r in many}
    panel = make(many, cues=no_cues, suggestions=hints)
    assert counts["drawn"] == counts["cues"] == 1 and counts["asked"] < 10
    widgets_before = len(type(panel.layer).widgets)
    for label in ("yes", "no", "yes"):
        panel.buttons[label].click()
    assert counts["drawn"] <= 8 and counts["asked"] < 60
    assert len(type(panel.layer).widgets) == widgets_before
    panel.search.kind.value = "doubtful"
    assert (
        len(panel.search.results.options) == 200 and "20,000 texts, of which the first 200" in panel.search.count.value
    )
    counts["asked"] = counts["drawn"] = 0
    paged = make(many, page=10)
    assert counts["drawn"] == 10 and counts["asked"] < 400
    paged.controls.together[0].click()
    assert settled_labels(tmp_path).keys() >= {row["id"] for row in log(tmp_path)[3:13]}
    assert counts["drawn"] <= 40 and counts["asked"] < 1_000


# --- looks, in front ends of any theme -------------------------------------------------------------------------------

SHEET = (ROOT / "src" / "helpers" / "labels" / "panel" / "panel.css").read_text(encoding="utf-8")


def test_no_colour_depends_on_a_variable_that_only_some_front_ends_have():
    used = re.findall(r"var\(\s*(--[\w-]+)\s*([,)])", SHEET)
    assert used
    foreign = [name for name, then in used if then == ")" and not name.startswith("--ambo-")]
    assert not foreign, f"without a fallback: {foreign}"
    own = {name for name, _ in used if name.startswith("--ambo-")}
    assert own <= set(re.findall(r"(--ambo-[\w-]+)\s*:", SHEET))


def test_no_height_depends_on_a_page_that_grows_with_the_panel():
    assert not re.findall(r"[\d.]+[sld]?v(?:h|w|min|max)\b", SHEET)  # a share of the page would chase itself


def light(colour: tuple[float, ...]) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


# page and text of JupyterLab, VS Code and Colab, light and dark
THEMES = [(255, 33), (255, 59), (17, 222), (31, 204), (30, 213), (30, 224), (0, 255)]


@pytest.mark.parametrize(("page", "text"), THEMES)
def test_marked_text_can_be_read_in_every_theme(page, text):
    marks = re.findall(r"mark\.ambo-(\w+) \{ background: rgba\((\d+), (\d+), (\d+), ([\d.]+)\)", SHEET)
    assert {name for name, *_ in marks} == {"evidence", "removed", "added"}
    for name, *colour, share in marks:
        behind = tuple(int(c) * float(share) + page * (1 - float(share)) for c in colour)
        dark, bright = sorted((light(behind), light((text,) * 3)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, name


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_meant_for_a_text_that_has_gone_does_nothing(tmp_path):
    panel = Panel(texts(3), YES_NO, folder=tmp_path, annotator="anna")
    serial = panel.layer.serial
    send = SimpleNamespace(digit=lambda n, s: panel._from_browser(None, {"do": "digit", "start": n, "serial": s}, None))
    send.digit(1, serial)
    send.digit(1, serial)
    send.digit(7, panel.layer.serial)
    assert short(tmp_path) == [("label", "r0", "no")]
    send.digit(1, serial)
    assert message(panel) == "Too fast: 1 key came before the text could be read and saved nothing."
    panel._from_browser(None, {"do": "mark", "start": 0, "end": "4", "serial": panel.layer.serial}, None)
    panel._from_browser(None, {"do": "mark", "start": 0, "end": 4, "row": 9, "serial": panel.layer.serial}, None)
    assert panel.now.spans == [[0, 4]]
    panel._from_browser(None, {"do": "no such thing", "serial": panel.layer.serial}, None)
    panel._from_browser(None, {"do": "undo", "serial": serial}, None)
    assert settled_labels(tmp_path) == {}


def test_colab_is_asked_for_third_party_widgets(tmp_path, monkeypatch):
    requests = []
    colab = SimpleNamespace(output=SimpleNamespace(enable_custom_widget_manager=lambda: requests.append(True)))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    Panel(texts(1), YES_NO, folder=tmp_path, annotator="anna")
    assert requests


def test_progress_pace_and_plurals():
    line = progress(1, 2, 0, {"yes": 1}, 4.0)
    assert "1 of 2 texts" in line and "4 a minute" in line and "about 1 minute left" in line
    assert "1 of 1 text<" in progress(1, 1, 0, {}, 0)
    assert "about 3 hours left" in progress(0, 180, 0, {}, 1.0) and "60 seconds a text" in progress(0, 2, 0, {}, 1.0)


def test_every_kind_has_what_the_panel_asks_for():
    parts = ("widget", "buttons", "saves", "read", "press", "picture", "fits", "category")
    for kind in KINDS.values():
        answer = kind(["x", "y"], lambda complete: None)
        answer.show({"id": "1", "text": "t", "proposal": "p"}, None)
        assert all(hasattr(answer, part) for part in parts)


def test_the_first_to_finish_hears_what_is_left_to_others(tmp_path):
    rows = {r["id"]: r for r in texts(2)}
    name, place, _ = desk({"anna": ["r0"], "bea": ["r1"]}, rows, YES_NO, folder=tmp_path, goes_on=True).children
    shown = []
    for person in ("anna", "bea"):
        name.value = person
        panel = place.children[0]
        panel.buttons["yes"].click()
        shown.append((panel.now.text.value, panel.controls.again.layout.display))
    assert "Your texts are done. Thank you. Texts still to label: bea 1." in shown[0][0] and shown[0][1] == "none"
    assert "Run all cells again" in shown[1][0] and shown[1][1] is None
    name.value = ""
    assert "All are labelled: you may look at yours." in place.children[0].value  # as it is now


def test_a_person_may_say_something_about_herself(tmp_path):
    rows = {r["id"]: r for r in texts(2)}
    alone = desk({"anna": list(rows)}, rows, YES_NO, folder=tmp_path)
    assert isinstance(alone, Panel)  # nobody to compare with: nothing is asked
    name, place, _ = desk({"anna": ["r0"], "bea": ["r1"]}, rows, YES_NO, folder=tmp_path).children
    assert "Choose your name" in place.children[0].value and "label: anna 1, bea 1." in place.children[0].value
    assert [words for words, _ in name.options] == ["choose your name", "anna", "bea"] and name.index == 0
    name.value = "bea"
    panel, about = place.children
    (opener,), inside = about.children[0].children, about.children[1]
    notice, lines, (save,) = (*inside.children[:2], inside.children[2].children)
    assert panel.session.annotator == "bea" and inside.layout.display == "none"
    opener.click()
    assert inside.layout.display is None

    lines.value = f"mother tongue: Italian\n\nnote: {HOSTILE}"
    save.click()
    assert seats.attributes(tmp_path) == {"bea": {"mother tongue": "Italian", "note": HOSTILE}}
    lines.value = "<b>age"
    save.click()
    assert "has no value" in notice.value and "<b>" not in notice.value
    assert seats.attributes(tmp_path)["bea"]["mother tongue"] == "Italian"  # a mistake costs nothing kept
    name.value = "anna"
    assert not place.children[1].children[1].children[1].value  # what one person gave is not shown to another
    name.value = "bea"
    notice, lines, (save,) = (*(inside := place.children[1].children[1]).children[:2], inside.children[2].children)
    assert lines.value.startswith("mother tongue: Italian")
    lines.value = ""
    save.click()
    assert seats.attributes(tmp_path) == {}
