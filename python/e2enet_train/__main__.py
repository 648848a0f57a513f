"""Command line: `python3 -m e2enet_train {plan,train,export,evaluate} ...` with `python/` on PYTHONPATH."""
import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

# A thread that waits spins only for a moment: on a shared machine it would take time from those it waits for. PyTorch
# reads this when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import torch  # noqa: E402

from . import dataset, evaluate, files, machine, mirroring, planning, results, threads, trainer, volumes  # noqa: E402
from .settings import DEFAULT_DENSITY, ITERATIONS_FOR_SGD, OPTIMIZER_DEFAULTS, Settings  # noqa: E402


def add_data(parser):
    parser.add_argument("data", type=Path, help="folder with imagesTr and labelsTr (or images and labels)")
    parser.add_argument("output", type=Path, help="folder of the run; an existing one is continued")
    parser.add_argument("--dataset-json", type=Path, help="default: DATA/dataset.json")
    parser.add_argument("--base-features", type=int, default=48)
    parser.add_argument("--max-features", type=int, default=320)
    parser.add_argument("--groups", type=int, default=5, help="depth-shift groups")
    parser.add_argument("--patch", help="D,H,W; default: planned from the data")
    parser.add_argument("--poolings", type=int, help="at most so many pooling steps; default: planned")
    parser.add_argument("--max-patch-voxels", type=int, default=planning.DEFAULT_PATCH_VOXELS)
    parser.add_argument("--force", action="store_true", help="take spacings that are not plausible")


def triple(text: str):
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or min(values) < 1:
        raise ValueError(f"--patch: expected D,H,W, found {text!r}")
    return values


def parse(arguments):
    parser = argparse.ArgumentParser(prog="e2enet_train", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser("plan", help="look at the data and write OUTPUT/plan.json")
    add_data(plan)
    train = commands.add_parser("train", help="plan, train (or continue) and write OUTPUT/model.safetensors")
    add_data(train)
    train.add_argument("--from", dest="initial_model", type=Path, metavar="MODEL",
                       help="start from this model file's weights and masks; a layer of which --density or "
                            "--layer-density asks more gets kernels that begin at zero, one of which they ask less "
                            "loses its smallest")
    length = train.add_mutually_exclusive_group(required=True)
    length.add_argument("--iterations", type=int, help="250000 in the paper's schedule")
    length.add_argument("--hours", type=float, help="schedules follow the time spent training, whatever the speed")
    defaults = Settings(iterations=1)
    train.add_argument("--seed", type=int, default=defaults.seed)
    train.add_argument("--batch", type=int, default=defaults.batch)
    train.add_argument("--density", type=float, help="of every sparse layer; 1 is dense; default: as in the model "
                                                     f"given by --from, else {DEFAULT_DENSITY}")
    train.add_argument("--layer-density", action="append", default=[], metavar="LAYER=DENSITY",
                       help="instead for a layer (fusion.0.1.0, up.0.1) or a family (fusion.0); may be repeated")
    train.add_argument("--optimizer", choices=["adamw", "sgd"],
                       help=f"default: adamw, and from {ITERATIONS_FOR_SGD} iterations on the paper's sgd; the "
                            "options with two defaults follow it")
    for option, kind, text in (("update-interval", int, "iterations between drop-and-grow updates"),
                               ("drop-first", float, "share of the kept kernels dropped at first"),
                               ("learning-rate", float, "at the beginning"),
                               ("momentum", float, "of the gradient"),
                               ("weight-decay", float, "a step"),
                               ("average", float, "decay of the running average of the weights, which is validated and "
                                                  "exported; 0 for the weights themselves")):
        values = [OPTIMIZER_DEFAULTS[name][option.replace("-", "_")] for name in ("adamw", "sgd")]
        train.add_argument("--" + option, type=kind, help=f"{text}; default {values[0]} with adamw, {values[1]} with sgd")
    train.add_argument("--drop-last", type=float, default=defaults.drop_last, help="share dropped at the end")
    train.add_argument("--mirror-axes",
                       help="axes to flip, of 0,1,2 (depth, height, width); '' for none; default: the left-right axis "
                            "where the data set has mirrored_labels, all where no label has a side")
    train.add_argument("--augmentation", choices=["standard", "wide"], default=defaults.augmentation,
                       help="standard: nnU-Net's; wide: other scanners, contrasts, sizes, crops and stripped skulls")
    train.add_argument("--validation-cases", type=int, default=defaults.validation_cases)
    train.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto",
                       help="of the activations; auto: bfloat16 where the processor multiplies it")
    train.add_argument("--threads", type=int, help="default: as many cores as other programs leave free, all the time")
    train.add_argument("--workers", type=int, default=1, help="processes that prepare batches")
    train.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train.add_argument("--validate-every", type=int, default=500, help="iterations")
    train.add_argument("--checkpoint-minutes", type=float, default=2.0)
    export = commands.add_parser("export", help="write the model file of a run's best validation so far")
    export.add_argument("run", type=Path, help="folder of the run, which may be going on")
    export.add_argument("model", type=Path, help="the file to write, NAME.safetensors")
    export.add_argument("--dataset-json", type=Path, required=True, help="the one that the run was started with")
    evaluate.add_arguments(commands.add_parser("evaluate", help="Dice of a model file over a folder of cases"))
    return parser.parse_args(arguments)


def plan_of(options, description):
    path = options.output / "plan.json"
    cases = dataset.find_cases(options.data, len(description.channels))
    if path.exists():
        print(f"using {path}")
        plan = json.loads(path.read_text(encoding="utf-8"))
        if not options.force:
            volumes.require_plausible_spacings(cases, plan["preprocessing"])
        return plan
    if not options.force:
        volumes.require_plausible_spacings(cases)
    plan = planning.make_plan(cases, description, options.base_features, options.groups, options.max_features,
                              triple(options.patch) if options.patch else None, options.poolings,
                              options.max_patch_voxels)
    if not options.force:
        volumes.require_plausible_spacings(cases, plan["preprocessing"])
    files.write_json(path, plan)
    return plan


def mirror_axes_of(options, description, network_plan):
    if options.mirror_axes is None:
        return mirroring.default_axes(description.mirrored_labels, description.labels, network_plan["preprocessing"])
    parts = [part for part in options.mirror_axes.split(",") if part != ""]
    if not set(parts) <= {"0", "1", "2"} or len(set(parts)) != len(parts):
        raise ValueError(f"--mirror-axes: expected some of 0,1,2, found {options.mirror_axes!r}")
    return sorted(int(part) for part in parts)


def settings_of(options, device, description, network_plan) -> Settings:
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if machine.has_fast_bfloat16(device) else "float32"
    layers = {}
    for item in options.layer_density:
        name, _, value = item.partition("=")
        try:
            layers[name] = float(value)
        except ValueError:
            raise ValueError(f"--layer-density: expected LAYER=DENSITY, found {item!r}") from None
    return Settings(
        seed=options.seed, iterations=options.iterations, hours=options.hours, batch=options.batch,
        density=options.density, layer_density=layers, optimizer=options.optimizer,
        update_interval=options.update_interval, drop_first=options.drop_first, drop_last=options.drop_last,
        learning_rate=options.learning_rate, momentum=options.momentum, weight_decay=options.weight_decay,
        average=options.average, mirror_axes=mirror_axes_of(options, description, network_plan),
        augmentation=options.augmentation, validation_cases=options.validation_cases, precision=precision,
        initial_model=str(options.initial_model) if options.initial_model else None)


def plan(options) -> int:
    options.output.mkdir(parents=True, exist_ok=True)
    plan_of(options, dataset.read_description(options.dataset_json or options.data / "dataset.json"))
    return 0


def train(options) -> int:
    cores = threads.FreeCores(options.threads)
    machine.keep_freed_memory()
    device = torch.device(options.device)
    if device.type == "cpu":
        machine.remark_on_slow_products(lambda text: print(text, file=sys.stderr, flush=True))
    description = dataset.read_description(options.dataset_json or options.data / "dataset.json")
    options.output.mkdir(parents=True, exist_ok=True)
    network_plan = plan_of(options, description)
    settings = settings_of(options, device, description, network_plan)
    settings_path = options.output / "settings.json"
    values = json.loads(json.dumps(asdict(settings)))
    if settings_path.exists():
        old = json.loads(settings_path.read_text(encoding="utf-8"))
        changed = [key for key in values if key in old and old[key] != values[key]]
        if changed:
            raise ValueError(f"{settings_path}: {changed[0]}: this run began with {old[changed[0]]!r}, now asked for "
                             f"{values[changed[0]]!r}; use the same value or another folder")
    else:
        files.write_json(settings_path, values)
    run = trainer.Run(options.output, options.data, description, network_plan, settings, device, options.workers,
                      before_iteration=cores.follow)
    parameters = sum(p.numel() for p in run.training.network.parameters())
    print(f"{parameters} parameters dense, {len(run.training_names)} training and {len(run.validation_names)} "
          f"validation cases, {settings.precision}, {'up to ' if cores.adaptive else ''}{cores.most} threads on {device}",
          flush=True)
    run.report = lambda text: print(text, flush=True)
    if not run.run(validate_every=options.validate_every, checkpoint_minutes=options.checkpoint_minutes):
        return 1
    path = options.output / "model.safetensors"
    scores = run.write_model(path)
    print(f"wrote {path}: {json.dumps(scores)}")
    return 0


def export(options) -> int:
    scores = results.export_best(options.run, options.model, dataset.read_description(options.dataset_json))
    print(f"wrote {options.model}: {json.dumps(scores)}")
    return 0


def main(arguments=None) -> int:
    # Names that are not UTF-8 are written as far as they are, not refused.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parse(arguments)
    try:
        if options.command == "evaluate":
            return evaluate.run(options)
        return {"plan": plan, "train": train, "export": export}[options.command](options)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"e2enet_train: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
