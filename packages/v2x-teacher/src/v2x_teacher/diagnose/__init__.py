"""Diagnose: has a training collapsed, what is the cause, and which layer loses the difference between samples?"""

from collections.abc import Mapping

from drivelab_shared import engine, results, runs
from drivelab_shared.report import Report
from drivelab_shared.results import Row, Table
from v2x_teacher.config import DiagnoseSettings
from v2x_teacher.diagnose.causes import RULES, Evidence, causes
from v2x_teacher.diagnose.drawing import bundle_plot
from v2x_teacher.diagnose.labels import measure_labels
from v2x_teacher.diagnose.layers import measure_layers
from v2x_teacher.diagnose.learning import measure_learning
from v2x_teacher.diagnose.loss_in_metres import measure_loss_in_metres, measure_own_losses
from v2x_teacher.diagnose.noise import measure_noise
from v2x_teacher.diagnose.predictions import measure_predictions
from v2x_teacher.diagnose.rehearsal import measure_rehearsals
from v2x_teacher.diagnose.resemblance import measure_resemblance
from v2x_teacher.diagnose.sample import Sample
from v2x_teacher.diagnose.start import measure_start
from v2x_teacher.trained import open_trained

PACKAGE = "v2x-teacher"

SECTIONS = (
    measure_predictions,
    measure_labels,
    measure_resemblance,
    measure_layers,
    measure_noise,
    measure_learning,
    measure_rehearsals,
    measure_start,
    measure_loss_in_metres,
    measure_own_losses,
)
"""The symptom, then what may cause it, from the labels to the last layer."""


def diagnose(settings: DiagnoseSettings) -> None:
    """Write results.json and report.html, and print the causes in words.

    Raises:
        UserError: there is no such run, or the data do not fit it.
    """
    run = runs.find(PACKAGE, settings.run_dir)
    device = engine.start(settings.device, threads=settings.threads).device
    sample = Sample.of(open_trained(run, device, settings), settings)
    sections = [measure(sample) for measure in SECTIONS]
    found = causes(Evidence(**{name: value for section in sections for name, value in section.facts.items()}))

    output = settings.output_dir or run / "diagnose"
    output.mkdir(parents=True, exist_ok=True)
    verdict = _verdict(sample, found)
    results.write(output / "results.json", [verdict, *(section.table for section in sections)])
    parts = " and ".join(f"{len(part.rows)} of {part.split}" for part in sample.parts)
    report = Report("Diagnosis", f"{run.name}: {parts} samples")
    report.conclude(*verdict.conclusions)
    caption = (
        "All predicted trajectories over all driven ones, and the mean of the training split. After a collapse the "
        "predictions are one line, whose range still looks right."
    )
    bundle = bundle_plot(sample.parts, sample.train_mean)
    report.figure(bundle, caption, "Predicted trajectories in colour over driven ones in grey, seen from above")
    for section in sections:
        report.results(section.table)
        section.show(report)
    report.write(output / "report.html")

    print(results.plain(verdict), end="\n\n")
    for section in sections:
        print(results.plain(section.table), end="\n\n")
    print(f"report: {output / 'report.html'}")


def _verdict(sample: Sample, found: Mapping[str, str]) -> Table:
    """Which rules applied, and what they say."""
    rows = [Row(rule.__name__.replace("_", " "), "applies", int(rule.__name__ in found)) for rule in RULES]
    sentences = []
    for sentence in found.values():
        head, colon, rest = sentence.partition(":")
        sentences.append(f"**{head[0].upper()}{head[1:]}{colon}**{rest}.")
    return sample.table("causes", "Causes", rows, sentences)
