"""Diagnose: where does a bad picture come from: the VAE, the predictor, its own feedback, the actions, the training?"""

import sys

from drivelab_shared import engine, results, runs
from drivelab_shared.report import Report
from latent_predictor.config import DiagnoseSettings
from latent_predictor.diagnose.actions import measure_actions
from latent_predictor.diagnose.contract import violations
from latent_predictor.diagnose.growth import measure_growth
from latent_predictor.diagnose.latent_space import measure_latent_space
from latent_predictor.diagnose.reconstruction import measure_reconstruction
from latent_predictor.diagnose.resemblance import measure_resemblance
from latent_predictor.diagnose.sample import Sample
from latent_predictor.diagnose.stability import measure_stability
from latent_predictor.trained import open_trained

PACKAGE = "latent-predictor"

SECTIONS = (
    measure_reconstruction,
    measure_latent_space,
    measure_growth,
    measure_resemblance,
    measure_actions,
    measure_stability,
)
"""In the order of the pipeline: what the VAE loses, what the predictor adds, how it was trained."""


def diagnose(settings: DiagnoseSettings) -> int:
    """Write results.json and report.html, and print the conclusions.

    Returns:
        1 if something is broken that no training can excuse (see contract.py), else 0.

    Raises:
        UserError: there is no such run, or the data do not fit it.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    sample = Sample.of(open_trained(run, device, settings), settings)
    broken = violations(sample)
    sections = [section for measure in SECTIONS if (section := measure(sample)) is not None]

    output = settings.output_dir or run / "diagnose"
    output.mkdir(parents=True, exist_ok=True)
    results.write(output / "results.json", [section.table for section in sections])
    num_drives = sample.windows.num_groups
    report = Report("Diagnosis", f"{run.name}: {len(sample.windows.starts)} windows of {num_drives} drives")
    report.conclude(*(f"**Broken: {sentence}**" for sentence in broken))
    for section in sections:
        report.conclude(*section.table.conclusions[:1])
        report.results(section.table)
        section.show(report)
    report.write(output / "report.html")

    for section in sections:
        print(results.plain(section.table), end="\n\n")
    print(f"report: {output / 'report.html'}")
    for sentence in broken:
        print(f"{run}: {sentence}", file=sys.stderr)
    return 1 if broken else 0
