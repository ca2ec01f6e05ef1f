"""Can imagined latents be told from real ones? t-SNE for the eye, a linear classifier for the number.

scikit-learn's TSNE cannot place new points, and two separate fits are not comparable, so real and imagined latents are
embedded together, once.
"""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifier
from sklearn.manifold import TSNE
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drivelab_shared.report import Report
from drivelab_shared.results import Row
from drivelab_shared.stats import Interval
from latent_predictor.diagnose.sample import Sample, Section

NUM_COMPONENTS = 50
"""Of the PCA before t-SNE, as its authors advise."""
PERPLEXITY = 30.0
NUM_FOLDS = 5
OURS, CONTROL = "real against imagined", "control: real against real"
TOLD = "told apart [%]"
COLOURS = {"real": "#0072B2", "imagined": "#D55E00"}


def measure_resemblance(sample: Sample) -> Section:
    """Accuracy of a real-or-imagined classifier on drives it has not seen, and the spread, by step."""
    steps = sorted({1, (sample.steps + 1) // 2, sample.steps})
    real = {step: sample.real[:, step - 1].cpu().numpy() for step in steps}
    imagined = {step: sample.imagined[:, step - 1].cpu().numpy() for step in steps}
    rows = []
    if sample.windows.num_groups > 1:
        windows = np.arange(len(sample.windows.starts))
        for step in steps:
            both = np.concatenate([real[step], imagined[step]])
            told = _told_apart(sample, both, np.repeat([1, 0], len(windows)), np.tile(windows, 2))
            rows.append(Row(OURS, TOLD, at=step, **vars(told)))
            rows.append(Row(CONTROL, TOLD, at=step, **vars(_told_apart(sample, real[step], windows % 2, windows))))
    rows += [
        Row(
            OURS,
            "spread of imagined / spread of real",
            float(imagined[step].std(0).mean() / real[step].std(0).mean()),
            step,
        )
        for step in steps
    ]
    title = "Do imagined latents look like real ones?"
    table = sample.table("resemblance", title, rows, _conclusions(rows, steps))

    def show(report: Report) -> None:
        caption = (
            "t-SNE of real and imagined latents, fitted once on all of them together; a panel per imagined step, the "
            "other steps in grey. Overlap means something, the distance between far-apart clouds does not."
        )
        report.figure(_map(sample, real, imagined), caption, "Scatter plots of real and imagined latents")

    return Section(table, show)


def _told_apart(
    sample: Sample,
    latents: Float[np.ndarray, "samples latent"],
    names: Int[np.ndarray, " samples"],
    windows: Int[np.ndarray, " samples"],
) -> Interval:
    """Percent right of a linear classifier on trajectories that it was not fitted on; 50 is guessing."""
    groups, num_folds = sample.windows.groups[windows], min(NUM_FOLDS, sample.windows.num_groups)
    right = np.zeros(len(latents))
    for fitted, held_out in GroupKFold(num_folds).split(latents, names, groups):
        model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=latents.shape[1]))
        model.fit(latents[fitted], names[fitted])
        right[held_out] = 100.0 * (model.predict(latents[held_out]) == names[held_out])
    return sample.mean_of(np.bincount(windows, right) / np.bincount(windows))


def _conclusions(rows: list[Row], steps: list[int]) -> list[str]:
    told = {row.at: row for row in rows if row.metric == TOLD and row.row == OURS}
    spread = {row.at: row.value for row in rows if row.metric != TOLD}
    last = steps[-1]
    width = f"their spread is {spread[last]:.2f} times that of real ones"
    if not told:
        return [f"With one drive nothing can be held out, so no classifier was fitted; after {last} steps {width}."]
    found = " / ".join(f"{told[step].value:.0f} %" for step in steps)
    at = " / ".join(map(str, steps))
    apart = told[last].low is not None and told[last].low > 50
    return [
        f"**A linear classifier tells imagined latents from real ones in {found} of cases** after {at} steps (50 % is "
        f"guessing), on drives that it has not seen; after {last} steps {width}. "
        + (
            "Imagined latents leave a mark that a discriminator would find."
            if apart
            else "Nothing linear gives them away; a smaller spread alone is invisible to a linear classifier."
        )
    ]


def _map(sample: Sample, real: dict[int, np.ndarray], imagined: dict[int, np.ndarray]) -> Figure:
    sets = {
        (name, step): latents for name, by in (("real", real), ("imagined", imagined)) for step, latents in by.items()
    }
    points = _embedded(np.concatenate(list(sets.values())), sample.settings.seed)
    ends = np.cumsum([len(latents) for latents in sets.values()])[:-1]
    parts = dict(zip(sets, np.split(points, ends), strict=True))
    figure = Figure(figsize=(4.0 * len(real), 3.9), layout="constrained")
    panels = figure.subplots(1, len(real), sharex=True, sharey=True, squeeze=False)[0]
    for axes, step in zip(panels, real, strict=True):
        axes.scatter(*points.T, s=4, color="#e3e3e3", linewidths=0)
        for name, colour in COLOURS.items():
            axes.scatter(*parts[name, step].T, s=9, color=colour, alpha=0.75, linewidths=0, label=name)
        axes.set_title(
            f"{step} steps ahead ({sample.seconds(step)})" if step > 1 else f"1 step ahead ({sample.seconds(1)})"
        )
        axes.set(xticks=[], yticks=[])
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, markerscale=2.5
    )
    return figure


def _embedded(latents: Float[np.ndarray, "samples latent"], seed: int) -> Float[np.ndarray, "samples 2"]:
    """In two dimensions, by way of the principal components."""
    num_components = min(NUM_COMPONENTS, *latents.shape)
    reduced = PCA(num_components, random_state=seed).fit_transform(latents)
    perplexity = min(PERPLEXITY, (len(latents) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)
