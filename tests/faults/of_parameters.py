"""Faults of params.yaml, dvc.yaml and profiles, which every command meets before it does anything."""

from tests.faults.fault import Fault, edited, removed, written

CHECK = "python -m stages.check"

FAULTS = [
    Fault(
        "params.yaml is not there",
        CHECK,
        "check: params.yaml: there is no such file; run from the repository's root.",
        removed("params.yaml"),
        place="toy",
        quick=True,
    ),
    Fault(
        "params.yaml is no YAML",
        CHECK,
        (
            "check: params.yaml: not valid YAML at line 3 (expected ',' or '}', but got '<stream end>'); correct "
            "it there."
        ),
        written("params.yaml", "threads: 2\nbase: {name: builtin\n"),
    ),
    Fault(
        "params.yaml is empty",
        CHECK,
        "check: params.yaml: must be a mapping of keys to values, but is None.",
        written("params.yaml", ""),
    ),
    Fault(
        "params.yaml is a list",
        CHECK,
        "check: params.yaml: must be a mapping of keys to values, but is ['threads'].",
        written("params.yaml", "- threads\n"),
    ),
    Fault(
        "params.yaml is in UTF-16",
        CHECK,
        (
            "check: params.yaml: not valid YAML ('utf-8' codec can't decode byte 0xff in position 0: invalid "
            "start byte); correct it there."
        ),
        written("params.yaml", "threads: 2\n".encode("utf-16")),
    ),
    Fault(
        "params.yaml is in Latin-1",
        CHECK,
        (
            "check: params.yaml: not valid YAML ('utf-8' codec can't decode byte 0xe9 in position 13: invalid "
            "continuation byte); correct it there."
        ),
        written("params.yaml", "threads: 2 # é\n".encode("latin-1")),
    ),
    Fault(
        "params.yaml is indented by tabs",
        CHECK,
        (
            "check: params.yaml: not valid YAML at line 2 (found character '\\t' that cannot start any token); "
            "correct it there."
        ),
        written("params.yaml", "base:\n\tname: builtin\n"),
    ),
    Fault(
        "params.yaml is a folder",
        CHECK,
        "check: params.yaml: cannot be read (Is a directory); put a file there that can.",
        lambda place: ((place.root / "params.yaml").unlink(), (place.root / "params.yaml").mkdir()),
    ),
    Fault(
        "a key is there twice",
        CHECK,
        "check: params.yaml: line 2 repeats the key `threads`; keep one of the two.",
        lambda place: place.replace("params.yaml", "threads: 1\n", "threads: 1\nthreads: 2\n"),
    ),
    Fault(
        "a key is misspelt",
        CHECK,
        (
            "check: params.yaml: `train.lerning_rate` (0.0002) is not a known key (did you mean `learning_rate`?);"
            " `train` takes steps, batch_size, …"
        ),
        lambda place: place.replace("params.yaml", "learning_rate:", "lerning_rate:"),
        place="toy",
        quick=True,
    ),
    Fault(
        "a key is unknown",
        CHECK,
        "check: params.yaml: `workers` (8) is not a known key; the file takes threads, base, …",
        lambda place: place.replace("params.yaml", "threads: 1\n", "threads: 1\nworkers: 8\n"),
    ),
    Fault(
        "a section is missing",
        CHECK,
        "check: params.yaml: `tracking` is missing; it must be a mapping with the keys experiment.",
        lambda place: place.replace("params.yaml", "tracking:\n  experiment: taca\n", ""),
    ),
    Fault(
        "a section has no keys",
        CHECK,
        (
            "check: params.yaml: `report` is null, but must be a mapping with the keys baseline, bootstrap, seed,"
            " grid_prompts."
        ),
        edited({"report": None}),
    ),
    Fault(
        "a number is out of range",
        CHECK,
        ("check: params.yaml: `arms.baseline.gamma` is -1.0, but must be a finite number above 0 (1 changes nothing)."),
        edited({"arms.baseline.gamma": -1.0}),
        place="toy",
        quick=True,
    ),
    Fault(
        "a number is text",
        CHECK,
        "check: params.yaml: `train.steps` is '16', but must be an integer of at least 1.",
        edited({"train.steps": "16"}),
    ),
    Fault(
        "a number is not finite",
        CHECK,
        "check: params.yaml: `train.learning_rate` is nan, but must be a finite number above 0.",
        edited({"train.learning_rate": float("nan")}),
    ),
    Fault(
        "a choice is none",
        CHECK,
        "check: params.yaml: `generate.dtype` is 'float8', but must be one of float32, bfloat16, float16.",
        edited({"generate.dtype": "float8"}),
    ),
    Fault(
        "an arm names no adapter",
        CHECK,
        (
            "check: params.yaml: `arms.baseline.adapter` is 'taca-r61', but must be one of `adapters`: none, "
            "taca-r16 (did you mean `taca-r16`?)."
        ),
        edited({"arms.baseline.adapter": "taca-r61"}),
    ),
    Fault(
        "an arm's name is no file's",
        CHECK,
        (
            "check: params.yaml: `arms` has the name 'Base/line', but a name must be lower-case letters, digits, "
            "- and _, a letter or digit first."
        ),
        lambda place: place.replace("params.yaml", "  baseline:", "  Base/line:"),
    ),
    Fault(
        "the report's baseline is no arm",
        CHECK,
        "check: params.yaml: `report.baseline` is 'none', but must be one of `arms`: baseline, taca-r16.",
        edited({"report.baseline": "none"}),
    ),
    Fault(
        "a folder of images is named that is not there",
        CHECK,
        (
            "check: params.yaml: `sample.folder` is 'my images', but must be a folder that exists (there is none "
            "of that path)."
        ),
        edited({"sample.source": "folder", "sample.folder": "my images"}),
    ),
    Fault(
        "a folder is named that nothing reads",
        CHECK,
        "check: params.yaml: `prompts.folder` is 'mine', but must be null, since `prompts.source` is world.",
        edited({"prompts.folder": "mine"}),
    ),
    Fault(
        "a height without a width",
        CHECK,
        ("check: params.yaml: `generate.width` is null, but must be given with `generate.height`, or both be null."),
        edited({"generate.height": 64}),
    ),
    Fault(
        "a base's folder that is none",
        CHECK,
        (
            "check: params.yaml: `base.folder` is 'stages', but must be a diffusers pipeline's folder, as "
            "`save_pretrained` writes it (it has no model_index.json)."
        ),
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
    Fault(
        "a rank is wider than the base",
        CHECK,
        (
            "check: params.yaml: `adapters.taca-r16.rank` is 4096, but must be at most 128, the width of the "
            "layers (`base.width`)."
        ),
        edited({"adapters.taca-r16.rank": 4096}),
    ),
    Fault(
        "published scorers without a folder of weights",
        CHECK,
        (
            "check: params.yaml: `score.weights` is null, but must be the folder that `python -m "
            "compbench.weights` fills, since `score.attribute` is blip-vqa."
        ),
        edited({"score.attribute": "blip-vqa"}),
    ),
    Fault(
        "dvc repro with a wrong number",
        "dvc repro -q",
        ("check: params.yaml: `arms.baseline.gamma` is -1.0, but must be a finite number above 0 (1 changes nothing)."),
        edited({"arms.baseline.gamma": -1.0}),
        status=255,
        changes=("data/params-checked.txt",),
    ),
    Fault(
        "a stage program without its key",
        "python -m stages.generate",
        (
            "generate: run it as `python -m stages.generate KEY` with KEY one of baseline, taca-r16, or as `dvc "
            "repro generate`, which also runs what it depends on."
        ),
    ),
    Fault(
        "a stage program with a key that is none",
        "python -m stages.generate nothing",
        (
            "generate@nothing: run it as `python -m stages.generate KEY` with KEY one of baseline, taca-r16, or "
            "as `dvc repro generate`, which also runs what it depends on."
        ),
    ),
    Fault(
        "a stage program with a key too many",
        "python -m stages.sample 2",
        (
            "sample@2: run it as `python -m stages.sample`, or as `dvc repro sample`, which also runs what it "
            "depends on."
        ),
    ),
    Fault(
        "dvc.yaml is not there",
        CHECK,
        "check: …dvc.yaml: there is no such file; run from the repository's root.",
        removed("dvc.yaml"),
    ),
    Fault(
        "dvc.yaml is no YAML",
        CHECK,
        (
            "check: …dvc.yaml: not valid YAML at line 2 (expected the node content, but found '<stream end>'); "
            "correct it there."
        ),
        written("dvc.yaml", "stages: [\n"),
    ),
    Fault(
        "dvc.yaml has no stages",
        CHECK,
        "check: dvc.yaml has no mapping `stages`: take it from git (`git restore dvc.yaml`).",
        written("dvc.yaml", "plots: []\n"),
    ),
    Fault(
        "dvc.yaml uses a parameter that is none",
        CHECK,
        "check: dvc.yaml uses `base.nam`, which params.yaml does not have; add it there or correct dvc.yaml.",
        lambda place: place.replace("dvc.yaml", "${base.name}", "${base.nam}"),
    ),
    Fault(
        "dvc.lock is no YAML",
        CHECK,
        ("check: …dvc.lock: not valid YAML at line 2 (…); correct it there."),
        written("dvc.lock", "stages: [\n"),
    ),
    Fault(
        "dvc.lock is empty",
        CHECK,
        "check: …dvc.lock: must be a mapping of keys to values, but is None.",
        written("dvc.lock", ""),
    ),
    Fault(
        "make profile with a name that is none",
        "python -m lab.params.profile nothing",
        "There is no profile 'nothing'; say `make profile PROFILE=...` with default, …",
    ),
    Fault(
        "make profile without a name",
        "python -m lab.params.profile",
        "There is no profile ''; say `make profile PROFILE=...` with default, …",
    ),
    Fault(
        "make profile of a file with an unknown key",
        "python -m lab.params.profile mine",
        (
            "experiments/profiles/mine.yaml: `trian` ({'steps': 2}) is not a known key (did you mean `train`?); "
            "the file takes threads, base, …"
        ),
        written("experiments/profiles/mine.yaml", "trian: {steps: 2}\n"),
    ),
    Fault(
        "make profile of a file with a wrong value",
        "python -m lab.params.profile mine",
        "experiments/profiles/mine.yaml: `train.steps` is 0, but must be an integer of at least 1.",
        written("experiments/profiles/mine.yaml", "train: {steps: 0}\n"),
    ),
    Fault(
        "make profile of a file that is no YAML",
        "python -m lab.params.profile mine",
        (
            "experiments/profiles/mine.yaml: not valid YAML at line 2 (expected ',' or '}', but got '<stream "
            "end>'); correct it there."
        ),
        written("experiments/profiles/mine.yaml", "train: {steps\n"),
    ),
    Fault(
        "make profile of a file that removes what is not there",
        "python -m lab.params.profile mine",
        "experiments/profiles/mine.yaml: `arms.nobody` is null, but the defaults have none to remove.",
        written("experiments/profiles/mine.yaml", "arms: {nobody: null}\n"),
    ),
    Fault(
        "make profile without the defaults",
        "python -m lab.params.profile quick",
        "experiments/defaults.yaml: there is no such file; run from the repository's root.",
        removed("experiments/defaults.yaml"),
    ),
    Fault(
        "make profile of an empty file",
        "python -m lab.params.profile mine",
        "experiments/profiles/mine.yaml: must be a mapping of keys to values, but is None.",
        written("experiments/profiles/mine.yaml", ""),
    ),
    Fault(
        "make estimate of a profile that is none",
        "python -m lab.estimate nothing",
        "There is no profile 'nothing'; say `make profile PROFILE=...` with default, …",
    ),
    Fault(
        "make estimate with wrong parameters",
        "python -m lab.estimate",
        "params.yaml: `train.steps` is 0, but must be an integer of at least 1.",
        edited({"train.steps": 0}),
    ),
]
