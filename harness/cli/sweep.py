"""The verbs that plan and run: each takes its parsed arguments, calls one function, and prints the answer."""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console

from harness.cli.arguments import call
from harness.cli.console import print_dry_run, print_left_out, print_record, print_sweep_end
from harness.cli.launchers import check_card, launcher_of, machine_of
from harness.cli.present_data import of_present_data
from harness.cli.report_stamp import PAGE, is_current, stamp
from harness.cli.run_live import shown_live
from harness.config.resolve import Resolver
from harness.config.settings import Settings, settings_from
from harness.data.hub import require
from harness.execution.jobs import note_launcher
from harness.execution.launcher import Launcher, ShowsDryRun
from harness.execution.queue import do, is_settled
from harness.execution.runner import run as do_run
from harness.execution.sweep_state import holder_of
from harness.ledger.errors import PlanError, SpecError
from harness.ledger.parse import parse
from harness.ledger.plan import Plan, Planned, lineage, plan_to_json, write_plan
from harness.ledger.record import record_to_json
from harness.ledger.spec import RunSpec
from harness.ledger.store import Store
from harness.models.extras import require_packages
from harness.planning.fit import gpus_of
from harness.planning.order import work_order
from harness.planning.plan import plan_one, plan_sweep, request_of
from harness.planning.together import check_together


def run(given: Namespace) -> int:
    """`peftlab run …`: a run that has a record is answered from it, without loading torch."""
    request = request_of(given.overrides)
    check_card(request.config["cluster"])
    settings = settings_from(request.config)
    store = Store(settings.runs)
    runs = lineage(plan_one(request, Resolver()))
    check_together(runs, settings)
    planned = of_present_data(runs, store, settings)[-1]
    if not is_settled(store, planned.id):
        _do(planned, store, settings)
    record = store.read(planned.id)
    if given.json:
        print(json.dumps(record_to_json(record), indent=2))
    else:
        print_record(record, store)
    return 0 if record.status == "done" else 1


def sweep(given: Namespace) -> int:
    """`peftlab sweep …`: reconcile the plan with the store, run what is missing, show the answer."""
    request = request_of(given.overrides)
    cluster = request.config["cluster"]
    check_card(cluster)  # before anything is planned
    launcher = launcher_of(cluster)
    plan = plan_sweep(request, Resolver())
    settings = settings_from(request.config, plan.name)
    check_together(plan.runs, settings)
    plan = replace(plan, runs=of_present_data(plan.runs, Store(settings.runs), settings))
    plan = _possible(plan, settings, cluster)
    print_left_out(plan)
    if given.dry_run:
        return _dry_run(launcher, work_order(plan), settings, cluster, given.json)
    write_plan(settings.runs, plan)
    if cluster["kind"] != "local":  # whose workers are found by their leases
        note_launcher(settings.runs, cluster["kind"])
    code = launcher.launch(work_order(plan), Store(settings.runs), settings, cluster)
    diagnoses = plan.about.get("diagnose")
    if launcher.waits:
        if diagnoses:
            from harness.cli.diagnose import after_sweep

            after_sweep(plan, settings, cluster)
        _report(plan, settings, given.json)
        print_sweep_end(plan, Store(settings.runs))
        if plan.about["tune"]:
            from harness.planning.tuning import finish

            finish(plan, Store(settings.runs))
    elif diagnoses:
        words = " ".join(
            f"{key}={value}" for key, value in (diagnoses | {"kinds": ",".join(diagnoses["kinds"])}).items()
        )
        print(f"When they have ended: peftlab diagnose sweep={plan.name} {words}", file=sys.stderr)
    return code


def _possible(plan: Plan, settings: Settings, cluster: Mapping[str, Any]) -> Plan:
    """Without the cells that do not fit the cluster's GPUs, where its card says what they hold."""
    if (gpus := gpus_of(cluster)).memory_gb is None:
        return plan
    from harness.planning.estimate import estimates
    from harness.planning.possible import undone, without_impossible

    store = Store(settings.runs)
    cells = estimates(undone(plan, store), store, settings.cache, machine_of(cluster), gpus)
    return without_impossible(plan, cells, gpus)


def _report(plan: Plan, settings: Settings, as_json: bool) -> None:
    """The report, made again only when something that it is made of has changed."""
    folder = settings.report / plan.name
    where = ["--runs", str(settings.runs), "--out", str(settings.report)]
    if not as_json and is_current(plan, settings.runs, folder):
        print(f"Report: {folder / PAGE} (nothing has changed since; tables: peftlab report sweep={plan.name})")
        return
    call("report", [f"sweep={plan.name}", *where, "--partial", "--allow-mixed", *["--json"] * as_json])
    stamp(plan, settings.runs, folder)


def _dry_run(launcher: Launcher, plan: Plan, settings: Settings, cluster: Mapping[str, Any], as_json: bool) -> int:
    """What would be started, from the launcher. Raises SpecError for one that cannot say."""
    if not isinstance(launcher, ShowsDryRun):
        raise SpecError(f"--dry-run: {launcher.name} cannot say what it would start; peftlab plan shows the runs.")
    shown = launcher.dry_run(plan, Store(settings.runs), settings, cluster)
    if as_json:
        print(json.dumps(vars(shown)))
    else:
        print_dry_run(shown)
    return 0


def plan(given: Namespace) -> int:
    """`peftlab plan …`: what `sweep` would run and what it would need; no run is written or started.

    --no-estimate leaves the needs out: shapes that were never counted on this machine then load no torch.
    """
    request = request_of(given.overrides)
    check_card(request.config["cluster"])
    plan = plan_sweep(request, Resolver())
    settings = settings_from(request.config)
    check_together(plan.runs, settings)
    store = Store(settings.runs)
    plan = replace(plan, runs=of_present_data(plan.runs, store, settings))
    needs, machine, gpus = [], machine_of(request.config["cluster"]), gpus_of(request.config["cluster"])
    if not given.no_estimate:
        from harness.planning.estimate import estimates

        plan = _possible(plan, settings, request.config["cluster"])
        needs = estimates(plan, store, settings.cache, machine, gpus)
    if given.json:
        from harness.planning.estimate import estimate_to_json

        print(json.dumps(plan_to_json(plan) | {"estimates": [estimate_to_json(estimate) for estimate in needs]}))
    else:
        from harness.cli.plan_view import print_plan

        print_plan(plan, store, needs, machine, gpus.price)
    return 0


def _do(planned: Planned, store: Store, settings: Settings) -> None:
    """The run, under its lease: a second shell that asks for it does not do it twice."""
    spec = parse(RunSpec, planned.spec, "run")
    require_packages(spec.model)
    require(spec.model, spec.dataset, settings.cache)  # seconds, before torch is loaded
    with shown_live(planned.id, store.paths(planned.id).events, Console(stderr=True, highlight=False, soft_wrap=True)):
        runs = {run.id: run for run in lineage(planned)}
        outcome = do(planned, runs, store, lambda run, leased: do_run(run, leased, settings))
    if outcome in ("held", "later"):
        where = holder_of(store, planned.id) or "it has just ended"
        raise PlanError(
            f"run {planned.id} is being done by another process ({where}); follow: peftlab logs {planned.id} -f"
        )
