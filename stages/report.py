"""Writes the report on all arms: `python -m stages.report`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from lab.params import settings as named
from lab.summaries import GAINS, write_summary
from runtime.execution import stage

ANALYSIS = "results/analysis"


def main() -> None:
    with stage("report", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        report(run)


def report(run) -> None:
    """Reads scores, thumbnails and loss histories of the arms in the parameters; writes the report and the gains."""
    from lab.report.analysed import read_analysis
    from lab.report.contrasts import ask
    from lab.report.questions import read_questions
    from lab.report.results import compare, load_arm
    from lab.report.runs import result_runs, view
    from lab.report.write import write_report

    params, folder = run.params, run.fresh("results/report")
    score_paths = {name: f"results/scores/{name}.parquet" for name in params.arms}
    arms = [load_arm(name, arm_settings(params, name), Path(score_paths[name])) for name in params.arms]
    results = compare(arms, params.report.baseline, params.report.bootstrap, params.report.seed)
    contrasts = ask(read_questions(), results, params.report.bootstrap, params.report.seed)
    analysed = read_analysis(Path(ANALYSIS), run.dep_hash(ANALYSIS))
    write_report(
        folder,
        results,
        protocol=protocol(params),
        thumbnails={name: Path("results/thumbnails") / name for name in params.arms},
        score_paths=score_paths,
        histories=loss_histories(params),
        grid_prompts=params.report.grid_prompts,
        contrasts=contrasts,
        analysed=analysed,
        doses={name: analysed.dose(arm) for name, arm in params.arms.items()},
    )
    write_gains(run.fresh(GAINS), results)
    run.log_metrics(
        {
            f"{arm.name}/{category}": results.of(arm, category).mean.mean
            for arm in results.arms
            for category in results.categories
        }
    )
    for result in result_runs(results, {name: named.arm_settings(params, name) for name in params.arms}):
        run.log_result(**result)
    run.present(description(folder), view(results))


def write_gains(folder: Path, results) -> None:
    """Writes each arm's paired differences to the baseline, which has a file too: git keeps no empty folder."""
    folder.mkdir(exist_ok=True)
    for arm in results.arms:
        categories = results.categories if arm in results.compared else []
        write_summary(folder / arm.name, {name: results.of(arm, name).difference.mean for name in categories})


def description(folder: Path) -> str:
    """The run's, in Markdown: the picture and the main table."""
    return f"![Prompts against arms](artifact:outs/results/report/grid.png)\n\n{(folder / 'table1.md').read_text()}"


def arm_settings(params, name: str) -> dict[str, object]:
    """What makes an arm, as the report prints it: all arms the same, so methods where one has another than TACA's."""
    arm = params.arms[name]
    told = any(method_told(other) != "temperature" for other in params.arms.values())
    return {
        "gamma": arm.gamma,
        "threshold": threshold_of(arm),
        "guidance": guidance_told(arm),
        **({"method": method_told(arm)} if told else {}),
        "adapter": arm.adapter,
        "rank": rank_of(params, arm.adapter),
        "adapter scope": arm.adapter_scope,
    }


def guidance_told(arm) -> object:
    """The scale, with the noise levels in which it holds where these are not all."""
    window = arm.guidance_window
    if arm.guider is not None:
        return f"{arm.guidance:g} by {arm.guider}"
    return arm.guidance if window is None else f"{arm.guidance:g} from {window[0]:g} to {window[1]:g}"


def method_told(arm) -> str:
    """What acts in an arm, with the numbers that are the method's own."""
    own = {"seed": arm.method_seed, "share": arm.share, "until": arm.until}
    blocks = [] if arm.blocks is None else [f"blocks {' '.join(map(str, arm.blocks))}"]
    numbers = [f"{name} {value:g}" for name, value in own.items() if value is not None]
    return ", ".join([arm.method, *numbers, *blocks])


def threshold_of(arm) -> object:
    """With the number of image tokens that it was chosen at, if the arm says so."""
    if arm.threshold_tokens is None:
        return arm.threshold
    return f"{arm.threshold:g} at {arm.threshold_tokens:,} tokens"


def rank_of(params, adapter: str) -> object:
    """Of an adapter that someone else trained, what its keys say."""
    if adapter in params.adapters:
        return params.adapters[adapter].rank
    ranks = published_facts(adapter)["rank"]
    return ranks[0] if len(ranks) == 1 else ranks


def published_facts(adapter: str) -> dict:
    """What stage `fetch` wrote beside the weights."""
    return json.loads((Path("models/adapters") / adapter / "adapter.json").read_text())


def protocol(params) -> dict[str, object]:
    """What the arms share; how they were scored stands in their manifests."""
    prompts, generate, train = params.prompts, params.generate, params.train
    used = {arm.adapter for arm in params.arms.values()}
    return {
        "base": params.base.name,
        "prompt source": prompt_source(prompts),
        "images per prompt": images_line(params),
        "seed of the images": generate.seed,
        "steps": generate.num_inference_steps,
        "number type": generate.dtype,
        "training": f"{train.steps} steps, batch {train.batch_size}, learning rate {train.learning_rate:g}, "
        f"seed {train.seed}",
        "intervals": f"95 %, {params.report.bootstrap} bootstrap resamples of prompts, seed {params.report.seed}",
        **kernels(generate),
        **{f"adapter {name}": published_line(name) for name in params.published_adapters if name in used},
    }


def prompt_source(prompts) -> str:
    """Where the prompts are from; the benchmark's own have editions, and no seed."""
    if prompts.source == "compbench":
        return f"compbench, edition {prompts.edition}, split {prompts.split}"
    return f"{prompts.source}, split {prompts.split}, seed {prompts.seed}"


def images_line(params) -> str:
    """Images of each prompt, with the arms that draw fewer."""
    numbers = {name: named.images_of(params, name) for name in params.arms}
    most = params.generate.images_per_prompt
    fewer = [f"{name} {number}" for name, number in numbers.items() if number < most]
    return f"{most}; {', '.join(fewer)}" if fewer else str(most)


def kernels(generate) -> dict[str, object]:
    """What of the drawing departs from plain diffusers; each of it changes pixels."""
    found = {}
    if generate.height is not None:
        found["size"] = f"{generate.width} x {generate.height}"
    if generate.quantization != "none":
        found["base drawn in"] = generate.quantization
    if generate.compile:
        found["compiled"] = "the transformer's blocks"
    return found


def published_line(adapter: str) -> str:
    """Where an adapter that someone else trained comes from, and how it differs from one's own."""
    facts = published_facts(adapter)
    origin = facts["file"] if facts["repo"] is None else f"{facts['repo']} {facts['file']} at {facts['commit'][:8]}"
    rank, alpha = (", ".join(f"{value:g}" for value in facts[key]) for key in ("rank", "alpha"))
    difference = "" if facts["difference"] is None else f". {facts['difference']}"
    return f"{origin}, sha256 {facts['sha256']}, rank {rank}, alpha {alpha}, {facts['layers']} layers{difference}"


def loss_histories(params) -> Mapping[str, Path]:
    """The loss history of each trained adapter that an arm uses, in the order of the parameters."""
    used = {arm.adapter for arm in params.arms.values()}
    return {
        name: Path("models/adapters") / name / "history.csv"
        for name, adapter in params.adapters.items()
        if name in used and adapter.rank > 0
    }


if __name__ == "__main__":
    main()
