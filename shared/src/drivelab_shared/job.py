"""A training from its first line to its last status: what is the same around the stages of every package."""

from collections.abc import Callable
from pathlib import Path

from drivelab_shared import engine
from drivelab_shared.engine import Stopped, StopSignal
from drivelab_shared.runs import Run, open_run
from drivelab_shared.settings import EngineSettings


def run_job(
    package: str,
    settings: EngineSettings,
    run_dir: Path | None,
    prepare: Callable[[], None],
    stages: Callable[[Run, StopSignal], None],
    *,
    find_unused_parameters: bool = False,
) -> None:
    """Start the engine, open the run, do the work, and note how it ended.

    Args:
        package: name of the distribution.
        settings: saved with the run.
        run_dir: folder of the run; None makes one named by the time.
        prepare: makes the default data; the first process does it before the others look.
        stages: the work. It raises `Stopped` when a signal asked for it and everything is saved.
        find_unused_parameters: only for losses that do not touch every parameter.

    Raises:
        UserError: a setting, or what `prepare` or `stages` found.
    """
    accelerator = engine.start(
        settings.device,
        precision=settings.precision,
        threads=settings.threads,
        deterministic=settings.deterministic,
        tracker=settings.tracker,
        find_unused_parameters=find_unused_parameters,
    )
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            prepare()
    run = open_run(package, settings, accelerator, run_dir=run_dir, resume=settings.resume)
    accelerator.print(f"run: {run.folder}")
    with StopSignal() as stop:
        try:
            stages(run, stop)
        except Stopped:
            run.finish("preempted")
            accelerator.print(f"stopped; `{package} train --resume {run.folder}` goes on")
            return
        except BaseException:
            run.finish("failed")
            raise
    run.finish("finished")
