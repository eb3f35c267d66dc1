"""Faults of flows, sweeps, rebuilds, garbage, services, of MLflow's store, and of publishing."""

from tests.faults.fault import Fault, Place, edited, removed, written

WRITE, PLAN = "python -m stages.write b", "python -m flows.pipeline --plan"
NOBODY = "http://127.0.0.1:9"
SWEEP = "experiments/sweeps/mine.yaml"


def schema(place: Place) -> None:
    import sqlite3

    with sqlite3.connect(place.root / "mlflow.db") as database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")


def sweep(text: str):
    return written(SWEEP, text)


FAULTS = [
    Fault(
        "an MLflow server that does not answer",
        WRITE,
        (
            "write@b: MLflow at http://127.0.0.1:9 does not answer ([Errno …] Connection refused); start that "
            "server or correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ),
        place="toy",
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "a database that does not answer",
        WRITE,
        (
            "write@b: MLflow at postgresql://127.0.0.1:9/mlflow does not answer ([Errno …] Connection refused); "
            "start that server or correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ),
        place="toy",
        environment={"MLFLOW_TRACKING_URI": "postgresql://me:secret@127.0.0.1:9/mlflow"},
    ),
    Fault(
        "a store that is no database",
        WRITE,
        ("write@b: …mlflow.db is no database of MLflow (no SQLite file): correct MLFLOW_TRACKING_URI."),
        written("mlflow.db", "not a database" * 99),
        place="toy",
        unreadable=True,
    ),
    Fault(
        "a store of another version of MLflow",
        WRITE,
        ("write@b: MLflow at sqlite:///…mlflow.db cannot be written (…); mend that or correct MLFLOW_TRACKING_URI."),
        schema,
        place="toy",
        unreadable=True,
    ),
    Fault(
        "a full disk",
        WRITE,
        "write@b: the disk is full; free some space and run `dvc repro`, which goes on from the work so far.",
        place="toy",
        environment={"TOY_FAULT": "disk"},
        recorded=True,
    ),
    Fault(
        "a program that forgets an output",
        WRITE,
        "write@b: the program did not write its output metrics-b.json; correct it, or `outs` in dvc.yaml.",
        place="toy",
        environment={"TOY_FAULT": "forgets"},
        recorded=True,
    ),
    Fault(
        "a fault that a stage knows",
        WRITE,
        "write@b: the loss is nan at step 1; lower `train.learning_rate`.",
        place="toy",
        environment={"TOY_FAULT": "known"},
        recorded=True,
    ),
    Fault(
        "dvc repro with such a fault",
        "dvc repro -q -s write@b",
        "write@b: the loss is nan at step 1; lower `train.learning_rate`.",
        place="toy",
        environment={"TOY_FAULT": "known"},
        recorded=True,
        status=255,
    ),
    Fault(
        "a plan of a stage that is none",
        PLAN + " nothing",
        "dvc.yaml has no stage 'nothing'; its stages are check, write@a, write@b, join.",
        place="toy",
    ),
    Fault(
        "a plan of wrong parameters",
        PLAN,
        "params.yaml: `train.steps` is 0, but must be an integer of at least 1.",
        edited({"train.steps": 0}),
        place="toy",
    ),
    Fault(
        "a machine.yaml with an unknown key",
        PLAN,
        "machine.yaml: `gpu` (2) is not a known key (did you mean `gpus`?); the file takes workers, gpus, …",
        written("machine.yaml", "gpu: 2\n"),
        place="toy",
    ),
    Fault(
        "a machine.yaml that is no YAML",
        PLAN,
        (
            "…machine.yaml: not valid YAML at line 1 (expected the node content, but found '<stream end>'); "
            "correct it there."
        ),
        written("machine.yaml", "{"),
        place="toy",
    ),
    Fault(
        "a setting of the machine that is no number",
        PLAN,
        "machine.yaml with TACA_WORKERS: `workers` is 'many', but must be an integer of at least 1.",
        place="toy",
        environment={"TACA_WORKERS": "many"},
    ),
    Fault(
        "a dvc.yaml with a cycle",
        PLAN,
        "These stages of dvc.yaml need each other: join, write@a.",
        lambda place: place.replace("dvc.yaml", "deps: [stages/write.py,", "deps: [stages/write.py, out/joined.txt,"),
        place="toy",
    ),
    Fault(
        "a Prefect server that does not answer",
        "python -m flows.pipeline",
        (
            "Prefect at http://127.0.0.1:9/api does not answer ([Errno …] Connection refused): start that server,"
            " or unset PREFECT_API_URL to have one for this flow."
        ),
        place="toy",
        environment={"PREFECT_API_URL": NOBODY + "/api"},
    ),
    Fault(
        "a flow of a stage that is none",
        "python -m flows.pipeline nothing",
        "dvc.yaml has no stage 'nothing'; its stages are check, write@a, write@b, join.",
        place="toy",
    ),
    Fault(
        "a sweep that is none",
        "python -m flows.sweep nothing",
        "There is no sweep 'nothing': take one of gamma, or write experiments/sweeps/nothing.yaml.",
        place="sweep",
    ),
    Fault(
        "a sweep that is no YAML",
        "python -m flows.sweep mine",
        (
            "…experiments/sweeps/mine.yaml: not valid YAML at line 2 (expected the node content, but found "
            "'<stream end>'); correct it there."
        ),
        sweep("title: {\n"),
        place="sweep",
    ),
    Fault(
        "a sweep of a parameter that is none",
        "python -m flows.sweep mine",
        "Cell a: there is no parameter 'gama' in params.yaml (did you mean `gamma`?).",
        sweep("title: x\nlike: taca\ncompare_with: a\ncells: {a: {gama: 1.1}, b: {gamma: 1.3}}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep like an arm that is none",
        "python -m flows.sweep mine",
        "The sweep's `like` is 'takka', but must be one of `arms` in params.yaml.",
        sweep("title: x\nlike: takka\ncompare_with: a\ncells: {a: {gamma: 1.1}, b: {gamma: 1.3}}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep that compares with no cell",
        "python -m flows.sweep mine",
        "experiments/sweeps/mine.yaml: `compare_with` is 'c', but must be one of its cells: a, b.",
        sweep("title: x\nlike: taca\ncompare_with: c\ncells: {a: {gamma: 1.1}, b: {gamma: 1.3}}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep on wrong parameters",
        "python -m flows.sweep gamma",
        "params.yaml: `train.steps` is 0, but must be an integer of at least 1.",
        edited({"train.steps": 0}),
        place="sweep",
    ),
    Fault(
        "a rebuild of a run that is none",
        "python -m flows.rebuild 0123456789abcdef0123456789abcdef",
        (
            "sqlite:///…mlflow.db has no run 0123456789abcdef0123456789abcdef: take an id from `make ui` or `make"
            " run HASH=...`, or set MLFLOW_TRACKING_URI to the store that has it, and MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD to a user who may read it. …"
        ),
        place="toy",
    ),
    Fault(
        "a rebuild with a tolerance that is none",
        "python -m flows.rebuild --tolerance nan 0123456789abcdef0123456789abcdef",
        "--tolerance is nan: it must be a finite number of at least 0, such as 1e-06.",
        place="toy",
    ),
    Fault(
        "a rebuild without a store",
        "python -m flows.rebuild 0123456789abcdef0123456789abcdef",
        "There is no MLflow store …mlflow.db: run from the repository's root or set MLFLOW_TRACKING_URI.",
        removed("mlflow.db"),
        place="toy",
    ),
    Fault(
        "a rebuild where MLflow does not answer",
        "python -m flows.rebuild 0123456789abcdef0123456789abcdef",
        (
            "MLflow at http://127.0.0.1:9 does not answer ([Errno …] Connection refused); start that server or "
            "correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ),
        place="toy",
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "make gc where MLflow does not answer",
        "python -m flows.gc",
        (
            "MLflow at http://127.0.0.1:9 does not answer ([Errno …] Connection refused); start that server or "
            "correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ),
        place="toy",
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "make gc with a store that is no database",
        "python -m flows.gc",
        "…mlflow.db is no database of MLflow (no SQLite file): correct MLFLOW_TRACKING_URI.",
        written("mlflow.db", "not a database" * 99),
        place="toy",
        unreadable=True,
    ),
    Fault(
        "make gc with a negative age",
        "python -m flows.gc --days -1",
        "--days is -1: it must be a finite number of at least 0, such as 30.",
        place="toy",
    ),
    Fault(
        "make gc with an age that is no number",
        "python -m flows.gc --days nan",
        "--days is nan: it must be a finite number of at least 0, such as 30.",
        place="toy",
    ),
    Fault(
        "make gc with a dvc.lock that is damaged",
        "python -m flows.gc",
        ("…dvc.lock: not valid YAML at line 2 (…); correct it there."),
        written("dvc.lock", "stages: [\n"),
        place="toy",
    ),
    Fault(
        "make serve on a port that is taken",
        "python -m flows.serve --port {port}",
        (
            "Port … is taken: stop what has it, or choose another (`make serve PORT=...` for MLflow, `python "
            "-m flows.serve --prefect-port ...` for Prefect)."
        ),
        place="toy",
    ),
    Fault(
        "make serve on a port that is none",
        "python -m flows.serve --port 70000",
        (
            "There is no port 70000: choose one from 1 to 65535 (`make serve PORT=...` for MLflow, `python -m "
            "flows.serve --prefect-port ...` for Prefect)."
        ),
        place="toy",
    ),
    Fault(
        "make serve beside another Prefect server",
        "python -m flows.serve",
        "PREFECT_API_URL names a Prefect server already: unset it to have one here.",
        place="toy",
        environment={"PREFECT_API_URL": NOBODY + "/api"},
    ),
    Fault(
        "make doctor with a store that is no database",
        "python -m flows.doctor",
        "wrong  MLflow …is no database of MLflow…",
        written("mlflow.db", "not a database" * 99),
        place="toy",
        among=True,
        unreadable=True,
    ),
    Fault(
        "make doctor where MLflow does not answer",
        "python -m flows.doctor",
        (
            "wrong  MLflow           MLflow at http://127.0.0.1:9 does not answer (…)… -> mend that, or unset "
            "MLFLOW_TRACKING_URI"
        ),
        place="toy",
        among=True,
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "make doctor with DVC's locks cut off",
        "python -m flows.doctor",
        "wrong  DVC's locks      the file is cut off; every command of DVC fails -> the next flow mends it",
        written(".dvc/tmp/rwlock", "{"),
        place="toy",
        among=True,
    ),
    Fault(
        "make run without a hash",
        "python -m runtime.tracking.find",
        "Say `make run HASH=...` with the first 6 or more digits of an md5 in dvc.lock.",
        place="toy",
        quick=True,
    ),
    Fault(
        "make run with a hash that nothing has",
        "python -m runtime.tracking.find 0123456789abcdef",
        (
            "No run in sqlite:///…mlflow.db made an output with hash 0123456789abcdef: take the hash from "
            "dvc.lock or the report, or set MLFLOW_TRACKING_URI to the store of the machine that made it."
        ),
        place="toy",
    ),
    Fault(
        "make run with a store that is no database",
        "python -m runtime.tracking.find 0123456789abcdef",
        "…mlflow.db is no database of MLflow (no SQLite file): correct MLFLOW_TRACKING_URI.",
        written("mlflow.db", "not a database" * 99),
        place="toy",
        unreadable=True,
    ),
    Fault(
        "make run where MLflow does not answer",
        "python -m runtime.tracking.find 0123456789abcdef",
        (
            "MLflow at http://127.0.0.1:9 does not answer ([Errno …] Connection refused); start that server or "
            "correct MLFLOW_TRACKING_URI (unset, runs go to mlflow.db here)."
        ),
        place="toy",
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "make publish without a name",
        "python -m lab.publish",
        "Say which adapter and where to: make publish ADAPTER=taca-r16 TO=folder.",
    ),
    Fault(
        "make publish of an adapter that is none",
        "python -m lab.publish nothing folder",
        (
            "There is no trained adapter nothing here: take one of section `adapters` with a rank above 0, and "
            "run `dvc repro train@nothing` or `dvc pull` first."
        ),
    ),
    Fault(
        "make publish of rank 0",
        "python -m lab.publish none folder",
        (
            "There is no trained adapter none here: take one of section `adapters` with a rank above 0, and run "
            "`dvc repro train@none` or `dvc pull` first."
        ),
    ),
    Fault(
        "make publish to a folder that is not empty",
        "python -m lab.publish taca-r16 stages",
        "stages is there already and not an empty folder: name another.",
    ),
    Fault(
        "make publish with a dvc.lock that is damaged",
        "python -m lab.publish taca-r16 folder",
        ("dvc.lock: not valid YAML at line 2 (…); correct it there."),
        written("dvc.lock", "stages: [\n"),
    ),
]
