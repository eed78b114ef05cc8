"""The start page executed for real: without runs, over runs in every state, with a detector."""

import os

import nbformat
import papermill
import pytest

from helpers import files
from helpers.evaluation import runs, start
from tests.project import ROOT, code_cells, new_project, record_adapter, save_manifest

PRESS = "box.children[1].click()\nprint(box.children[2].value)"
NO_TORCH = "print('torch loaded:', 'torch' in sys.modules)"


def page(project, *extra_cells: str, **parameters: str) -> str:
    """What the page shows when it is executed in `project` with more cells at its end."""
    notebook = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in extra_cells]
    source, target = project / "page.ipynb", project / "out.ipynb"
    nbformat.write(notebook, source)
    page = papermill.execute_notebook(
        source, target, parameters, kernel_name="python3", cwd=project, progress_bar=False
    )
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"], outputs
    return "\n".join(o.get("text", "") + o.get("data", {}).get("text/html", "") for o in outputs)


def save_stage(project, run_id: str, stage: str, status: str, task: str = "answers", **parameters: str):
    folder = project / "outputs" / task / run_id / stage
    save_manifest(folder, stage=stage, status=status, parameters=parameters)
    files.write_json(folder / f"{stage}.ipynb", {"metadata": {"papermill": {"end_time": "2026-11-29T10:00:00"}}})
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    return new_project(tmp_path)


def test_a_project_without_runs(project):
    text = page(project, NO_TORCH, PRESS)
    assert "<svg" in text and "There are no runs yet: start one with `ambo demo`." in text
    assert "torch loaded: False" in text
    assert "No detector has been trained yet. Train one with `ambo demo`" in text


def test_runs_are_listed_with_status_and_links(project):
    save_stage(project, "first_run", "01_seed_curation", "success")
    folder = save_stage(project, "first_run", "04_bias_evaluation", "success")
    (folder / "report.html").write_text("<p>report</p>")
    save_stage(project, "waits", "01_seed_curation", "awaiting_labels")
    save_stage(project, "killed", "01_seed_curation", "running")
    for run_id, manifest in [("broken", '{"status": '), ("list", "[1]")]:
        (save_stage(project, run_id, "03_active_learning", "") / "manifest.json").write_text(manifest)
    save_stage(project, "<b>bold", "01_seed_curation", "success")
    text = page(project, NO_TORCH)
    assert '<a href="../outputs/answers/first_run/04_bias_evaluation/report.html">' in text
    assert '01_seed_curation.ipynb">01 seed curation</a>: success' in text
    assert "awaiting labels" in text and "cut off" in text and text.count("damaged") == 2
    assert "&lt;b&gt;bold" in text and "<b>bold" not in text
    assert "torch loaded: False" in text
    assert "waits" not in page(project, task="other")


def test_the_latest_run_comes_first(project):
    for age, name in [(300, "old"), (100, "new"), (200, "middle")]:
        folder = save_stage(project, name, "03_active_learning", "success", language="it")
        (folder / "adapter").mkdir()
        (folder / "adapter" / "learner.json").write_text("{}")
        record_adapter(folder)
        os.utime(folder / "manifest.json", (1e9 - age, 1e9 - age))
    save_stage(project, "newest", "03_active_learning", "running")
    assert list(runs.list_stages().run) == ["newest", "new", "middle", "old"]
    assert "new" in start.runs_table(runs.list_stages())["run"][1]
    latest = runs.latest_detector()
    assert (latest.run, latest.language) == ("new", "it") and latest.adapter.name == "adapter"
    assert runs.latest_detector("answers", "old").run == "old"
    assert runs.latest_detector("other") is None and runs.latest_detector(run_id="newest") is None


def test_a_trained_detector_answers_with_its_words_the_cues_and_the_text_escaped(project, task, rows, tiny_llama):
    from helpers.core import QLoRA
    from tests.core.recipes import recipe

    learner = QLoRA(task, recipe(tiny_llama, epochs=1, batch_size=8))
    learner.fit(rows[:24])
    folder = save_stage(project, "mine", "03_active_learning", "success", language="it")
    learner.save(folder / "adapter")
    record_adapter(folder)
    english = "box.children[0].value = 'We are looking for a young waitress who works at weekends.'\n" + PRESS
    ask = "box.children[0].value = 'Cercasi <b>magazziniere</b> esperto e un operaio.'\n" + PRESS
    text = page(project, ask, english, "box.children[0].value = ' '\n" + PRESS)
    assert text.count("seems to be in language &#39;en&#39;, and the detector has learned from &#39;it&#39;") == 1
    assert "<b>good</b>, confidence" in text or "<b>bad</b>, confidence" in text
    assert "&lt;b&gt;" in text and "<b>magazziniere" not in text
    assert ("Coloured: the words that moved it." in text) == ("<mark style=" in text)
    assert "Cues that the lexicon finds by rule: “magazziniere” (masculine form, applicant)" in text
    assert "Detector of run mine, task answers." in text and "Type a sentence first." in text


def test_a_damaged_detector_is_one_sentence(project):
    folder = save_stage(project, "mine", "03_active_learning", "success")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "learner.json").write_text("{")
    record_adapter(folder)
    assert "needs its weights in adapter_model.safetensors" in page(project, PRESS)


def test_04_has_the_same_box_for_the_detector_that_it_has_measured(task, tiny_llama):
    from helpers.core import Detector, QLoRA
    from tests.core.recipes import recipe

    own = {
        "start": start,
        "asker": Detector(QLoRA(task, recipe(tiny_llama))),
        "language": "it",
        "run_id": "<b>mine",
        "task": "t",
    }
    exec(code_cells("04_bias_evaluation")[-1], own)
    sentence, button, answer = own["box"].children
    sentence.value = "Cercasi un cuoco"
    button.click()
    assert "Detector of run &lt;b&gt;mine, task t." in answer.value and "“un cuoco”" in answer.value
    sentence.value = ""
    sentence._handle_custom_msg({"event": "submit"}, [])  # Enter
    assert "Type a sentence first." in answer.value


def test_the_box_names_the_kinds_of_exclusion_that_the_detector_sees(task, rows, tiny_llama):
    from helpers.core import Detector, QLoRA
    from tests.core.recipes import recipe
    from tests.core.test_kinds import labelled

    learner = QLoRA(task, recipe(tiny_llama, max_length=64, epochs=2, learning_rate=3e-3))
    learner.fit(labelled(rows)[:80])
    learner.fit_kinds(labelled(rows)[:80])
    detector, texts = Detector(learner), [r["text"] for r in labelled(rows)]
    seen = dict(zip(texts, detector.predict(texts)["kinds"], strict=True))
    assert any(seen.values())
    for text in (max(seen, key=lambda text: len(seen[text])), next(text for text in texts if not seen[text])):
        said = start.answer_html(text, lambda: (detector, "en", ""))
        assert ("Kinds of exclusion that it sees: " in said) == bool(seen[text])
        assert seen[text].replace("; ", ", ") in said
