"""Could a car drive what is learned from? Counted over the whole data set, before anything else is looked at."""

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from v2x_teacher.data.labels import implausible
from v2x_teacher.diagnose.sample import Sample, Section


def measure_labels(sample: Sample) -> Section:
    """Share of trajectories that no car can drive, by what is wrong with them."""
    samples = sample.trained.inputs.samples
    counts = {what: int(which.sum()) for what, which in implausible(samples).items()}
    rows = [Row(what, "samples [%]", 100.0 * count / len(samples)) for what, count in counts.items()]
    kind = "rows, whenever they were taken" if samples.row_labels else "time"
    table = sample.table("labels", f"Labels, made by {kind}", rows)

    def show(report: Report) -> None:
        report.text("What is wrong with a data set, and where, is check-data's to say.")

    return Section(table, show, {"impossible": counts, "num_samples": len(samples)})
