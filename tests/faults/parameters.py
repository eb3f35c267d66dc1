"""Faults of params.yaml, dvc.yaml and profiles, which every command meets before it does anything."""

from tests.faults.fault import Fault, edited, removed, written

CHECK = "python -m stages.check"

FAULTS = [
    Fault("params.yaml is not there", CHECK, "", removed("params.yaml")),
    Fault("params.yaml is no YAML", CHECK, "", written("params.yaml", "threads: 2\nbase: {name: builtin\n")),
    Fault("params.yaml is empty", CHECK, "", written("params.yaml", "")),
    Fault("params.yaml is a list", CHECK, "", written("params.yaml", "- threads\n")),
    Fault("params.yaml is in UTF-16", CHECK, "", written("params.yaml", "threads: 2\n".encode("utf-16"))),
    Fault("params.yaml is in Latin-1", CHECK, "", written("params.yaml", "threads: 2 # é\n".encode("latin-1"))),
    Fault("params.yaml is indented by tabs", CHECK, "", written("params.yaml", "base:\n\tname: builtin\n")),
    Fault(
        "params.yaml is a folder",
        CHECK,
        "",
        lambda place: ((place.root / "params.yaml").unlink(), (place.root / "params.yaml").mkdir()),
    ),
    Fault(
        "a key is there twice",
        CHECK,
        "",
        lambda place: place.replace("params.yaml", "threads: 1\n", "threads: 1\nthreads: 2\n"),
    ),
    Fault(
        "a key is misspelt", CHECK, "", lambda place: place.replace("params.yaml", "learning_rate:", "lerning_rate:")
    ),
    Fault(
        "a key is unknown",
        CHECK,
        "",
        lambda place: place.replace("params.yaml", "threads: 1\n", "threads: 1\nworkers: 8\n"),
    ),
    Fault(
        "a section is missing",
        CHECK,
        "",
        lambda place: place.replace("params.yaml", "tracking:\n  experiment: taca\n", ""),
    ),
    Fault("a section has no keys", CHECK, "", edited({"report": None})),
    Fault("a number is out of range", CHECK, "", edited({"arms.baseline.gamma": -1.0})),
    Fault("a number is text", CHECK, "", edited({"train.steps": "16"})),
    Fault("a number is not finite", CHECK, "", edited({"train.learning_rate": float("nan")})),
    Fault("a choice is none", CHECK, "", edited({"generate.dtype": "float8"})),
    Fault("an arm names no adapter", CHECK, "", edited({"arms.baseline.adapter": "taca-r61"})),
    Fault(
        "an arm's name is no file's",
        CHECK,
        "",
        lambda place: place.replace("params.yaml", "  baseline:", "  Base/line:"),
    ),
    Fault("the report's baseline is no arm", CHECK, "", edited({"report.baseline": "none"})),
    Fault(
        "a folder of images is named that is not there",
        CHECK,
        "",
        edited({"sample.source": "folder", "sample.folder": "my images"}),
    ),
    Fault("a folder is named that nothing reads", CHECK, "", edited({"prompts.folder": "mine"})),
    Fault("a height without a width", CHECK, "", edited({"generate.height": 64})),
    Fault(
        "a base's folder that is none",
        CHECK,
        "",
        edited(
            {
                "base": {"name": "own", "source": "folder", "folder": "stages", "dtype": "float32"},
                "generate.dtype": "float32",
                "score.attribute": "blip-vqa",
                "score.spatial": "unidet",
                "score.clip": "openai",
                "score.weights": "weights",
            }
        ),
    ),
    Fault("a rank is wider than the base", CHECK, "", edited({"adapters.taca-r16.rank": 4096})),
    Fault("published scorers without a folder of weights", CHECK, "", edited({"score.attribute": "blip-vqa"})),
    Fault("dvc repro with a wrong number", "dvc repro -q", "", edited({"arms.baseline.gamma": -1.0})),
    Fault(
        "a stage program without its key",
        "python -m stages.generate",
        "",
    ),
    Fault("a stage program with a key that is none", "python -m stages.generate nothing", ""),
    Fault("a stage program with a key too many", "python -m stages.sample 2", ""),
    Fault("dvc.yaml is not there", CHECK, "", removed("dvc.yaml")),
    Fault("dvc.yaml is no YAML", CHECK, "", written("dvc.yaml", "stages: [\n")),
    Fault("dvc.yaml has no stages", CHECK, "", written("dvc.yaml", "plots: []\n")),
    Fault(
        "dvc.yaml uses a parameter that is none",
        CHECK,
        "",
        lambda place: place.replace("dvc.yaml", "${base.name}", "${base.nam}"),
    ),
    Fault("dvc.lock is no YAML", CHECK, "", written("dvc.lock", "stages: [\n")),
    Fault("dvc.lock is empty", CHECK, "", written("dvc.lock", "")),
    Fault("make profile with a name that is none", "python -m lab.params.profile nothing", ""),
    Fault("make profile without a name", "python -m lab.params.profile", ""),
    Fault(
        "make profile of a file with an unknown key",
        "python -m lab.params.profile mine",
        "",
        written("experiments/profiles/mine.yaml", "trian: {steps: 2}\n"),
    ),
    Fault(
        "make profile of a file with a wrong value",
        "python -m lab.params.profile mine",
        "",
        written("experiments/profiles/mine.yaml", "train: {steps: 0}\n"),
    ),
    Fault(
        "make profile of a file that is no YAML",
        "python -m lab.params.profile mine",
        "",
        written("experiments/profiles/mine.yaml", "train: {steps\n"),
    ),
    Fault(
        "make profile of a file that removes what is not there",
        "python -m lab.params.profile mine",
        "",
        written("experiments/profiles/mine.yaml", "arms: {nobody: null}\n"),
    ),
    Fault(
        "make profile without the defaults",
        "python -m lab.params.profile quick",
        "",
        removed("experiments/defaults.yaml"),
    ),
    Fault(
        "make profile of an empty file",
        "python -m lab.params.profile mine",
        "",
        written("experiments/profiles/mine.yaml", ""),
    ),
    Fault("make estimate of a profile that is none", "python -m lab.estimate nothing", ""),
    Fault("make estimate with wrong parameters", "python -m lab.estimate", "", edited({"train.steps": 0})),
]
