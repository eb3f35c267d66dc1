"""Faults of flows, sweeps, rebuilds, garbage, services, of MLflow's store, and of publishing."""

from tests.faults.fault import Fault, Place, both, cut, edited, removed, written

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
    Fault("an MLflow server that does not answer", WRITE, "", place="toy", environment={"MLFLOW_TRACKING_URI": NOBODY}),
    Fault(
        "a database that does not answer",
        WRITE,
        "",
        place="toy",
        environment={"MLFLOW_TRACKING_URI": "postgresql://me:secret@127.0.0.1:9/mlflow"},
    ),
    Fault("a store that is no database", WRITE, "", written("mlflow.db", "not a database" * 99), place="toy"),
    Fault("a store of another version of MLflow", WRITE, "", schema, place="toy"),
    Fault("a full disk", WRITE, "", place="toy", environment={"TOY_FAULT": "disk"}, recorded=True),
    Fault(
        "a program that forgets an output", WRITE, "", place="toy", environment={"TOY_FAULT": "forgets"}, recorded=True
    ),
    Fault("a fault that a stage knows", WRITE, "", place="toy", environment={"TOY_FAULT": "known"}, recorded=True),
    Fault(
        "dvc repro with such a fault",
        "dvc repro -q -s write@b",
        "",
        place="toy",
        environment={"TOY_FAULT": "known"},
        recorded=True,
    ),
    Fault("a plan of a stage that is none", PLAN + " nothing", "", place="toy"),
    Fault("a plan of wrong parameters", PLAN, "", edited({"train.steps": 0}), place="toy"),
    Fault("a machine.yaml with an unknown key", PLAN, "", written("machine.yaml", "gpu: 2\n"), place="toy"),
    Fault("a machine.yaml that is no YAML", PLAN, "", written("machine.yaml", "{"), place="toy"),
    Fault("a setting of the machine that is no number", PLAN, "", place="toy", environment={"TACA_WORKERS": "many"}),
    Fault(
        "a dvc.yaml with a cycle",
        PLAN,
        "",
        lambda place: place.replace("dvc.yaml", "deps: [stages/write.py,", "deps: [stages/write.py, out/joined.txt,"),
        place="toy",
    ),
    Fault(
        "two stages that write the same",
        PLAN,
        "",
        lambda place: place.replace("dvc.yaml", "out/joined.txt]\n", "out/a]\n"),
        place="toy",
    ),
    Fault(
        "a Prefect server that does not answer",
        "python -m flows.pipeline",
        "",
        place="toy",
        environment={"PREFECT_API_URL": NOBODY + "/api"},
    ),
    Fault("a flow of a stage that is none", "python -m flows.pipeline nothing", "", place="toy"),
    Fault("a sweep that is none", "python -m flows.sweep nothing", "", place="sweep"),
    Fault("a sweep that is no YAML", "python -m flows.sweep mine", "", sweep("title: {\n"), place="sweep"),
    Fault(
        "a sweep with an unknown key",
        "python -m flows.sweep mine",
        "",
        sweep("title: x\nlike: taca\nsells: {}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep of a parameter that is none",
        "python -m flows.sweep mine",
        "",
        sweep("title: x\nlike: taca\ncompare_with: a\ncells: {a: {gama: 1.1}, b: {gamma: 1.3}}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep like an arm that is none",
        "python -m flows.sweep mine",
        "",
        sweep("title: x\nlike: takka\ncompare_with: a\ncells: {a: {gamma: 1.1}, b: {gamma: 1.3}}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep with a value out of range",
        "python -m flows.sweep mine",
        "",
        sweep("title: x\nlike: taca\ncompare_with: a\ncells: {a: {gamma: -1.1}, b: {gamma: 1.3}}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep that compares with no cell",
        "python -m flows.sweep mine",
        "",
        sweep("title: x\nlike: taca\ncompare_with: c\ncells: {a: {gamma: 1.1}, b: {gamma: 1.3}}\n"),
        place="sweep",
    ),
    Fault(
        "a sweep of code that git does not know",
        "python -m flows.sweep gamma",
        "",
        written("stages/mine.py", "x = 1\n"),
        place="sweep",
    ),
    Fault("a sweep on wrong parameters", "python -m flows.sweep gamma", "", edited({"train.steps": 0}), place="sweep"),
    Fault(
        "a rebuild of a run that is none", "python -m flows.rebuild 0123456789abcdef0123456789abcdef", "", place="toy"
    ),
    Fault(
        "a rebuild with a tolerance that is none",
        "python -m flows.rebuild --tolerance nan 0123456789abcdef0123456789abcdef",
        "",
        place="toy",
    ),
    Fault(
        "a rebuild without a store",
        "python -m flows.rebuild 0123456789abcdef0123456789abcdef",
        "",
        removed("mlflow.db"),
        place="toy",
    ),
    Fault(
        "a rebuild where MLflow does not answer",
        "python -m flows.rebuild 0123456789abcdef0123456789abcdef",
        "",
        place="toy",
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "make gc where MLflow does not answer",
        "python -m flows.gc",
        "",
        place="toy",
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "make gc with a store that is no database",
        "python -m flows.gc",
        "",
        written("mlflow.db", "not a database" * 99),
        place="toy",
    ),
    Fault("make gc with a negative age", "python -m flows.gc --days -1", "", place="toy"),
    Fault("make gc with an age that is no number", "python -m flows.gc --days nan", "", place="toy"),
    Fault(
        "make gc with a dvc.lock that is damaged",
        "python -m flows.gc",
        "",
        written("dvc.lock", "stages: [\n"),
        place="toy",
    ),
    Fault("make serve on a port that is taken", "python -m flows.serve --port {port}", "", place="toy"),
    Fault("make serve on a port that is none", "python -m flows.serve --port 70000", "", place="toy"),
    Fault(
        "make serve beside another Prefect server",
        "python -m flows.serve",
        "",
        place="toy",
        environment={"PREFECT_API_URL": NOBODY + "/api"},
    ),
    Fault(
        "make doctor with a store that is no database",
        "python -m flows.doctor",
        "",
        written("mlflow.db", "not a database" * 99),
        place="toy",
        among=True,
    ),
    Fault(
        "make doctor with a dvc.lock that is damaged",
        "python -m flows.doctor",
        "",
        written("dvc.lock", "stages: [\n"),
        place="toy",
        among=True,
    ),
    Fault(
        "make doctor with a machine.yaml that is wrong",
        "python -m flows.doctor",
        "",
        written("machine.yaml", "gpu: 2\n"),
        place="toy",
        among=True,
    ),
    Fault(
        "make doctor where MLflow does not answer",
        "python -m flows.doctor",
        "",
        place="toy",
        among=True,
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault(
        "make doctor with DVC's locks cut off",
        "python -m flows.doctor",
        "",
        written(".dvc/tmp/rwlock", "{"),
        place="toy",
        among=True,
    ),
    Fault(
        "make doctor with a remote that is not there",
        "python -m flows.doctor",
        "",
        written(".dvc/config.local", "['remote \"storage\"']\n    url = /nowhere/data\n[core]\n    remote = storage\n"),
        place="toy",
        among=True,
    ),
    Fault("make run without a hash", "python -m runtime.tracking.find", "", place="toy"),
    Fault("make run with a hash that nothing has", "python -m runtime.tracking.find 0123456789abcdef", "", place="toy"),
    Fault(
        "make run with a store that is no database",
        "python -m runtime.tracking.find 0123456789abcdef",
        "",
        written("mlflow.db", "not a database" * 99),
        place="toy",
    ),
    Fault(
        "make run where MLflow does not answer",
        "python -m runtime.tracking.find 0123456789abcdef",
        "",
        place="toy",
        environment={"MLFLOW_TRACKING_URI": NOBODY},
    ),
    Fault("make publish without a name", "python -m lab.publish", ""),
    Fault("make publish of an adapter that is none", "python -m lab.publish nothing folder", ""),
    Fault("make publish of rank 0", "python -m lab.publish none folder", ""),
    Fault("make publish to a folder that is not empty", "python -m lab.publish taca-r16 stages", ""),
    Fault(
        "make publish with a dvc.lock that is damaged",
        "python -m lab.publish taca-r16 folder",
        "",
        written("dvc.lock", "stages: [\n"),
    ),
]
